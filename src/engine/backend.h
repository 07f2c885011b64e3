// The seam between networks and machines: a backend is given the whole network and its weights at once, and fuses,
// packs and schedules inside as it likes. There is no virtual call an operation.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/model.h"
#include "convnext/tensor.h"
#include "convnext/thread_pool.h"
#include "core/arena.h"
#include "core/thread_speeds.h"
#include "model/config.h"
#include "model/weights.h"

namespace convnext {

class Profile;

// What one thread of inference owns: scratch memory, and the threads that may help.
struct Workspace {
  Arena arena;
  ThreadPool* pool = nullptr;  // null: the calling thread only
  Profile* profile = nullptr;  // where times go (engine/profile.h); null: nowhere
  ThreadSpeeds speeds{};       // of the pool's threads, learned from run to run; outputs do not depend on them
};

// Shapes for a batch of n pictures of height x width; all tensors are float32, contiguous.
struct OutputShapes {
  Shape logits;               // (n, classes); (n, 0) without a classifier
  Shape pooled;               // (n, channels): after the pool, norm and pre-logits layers
  std::vector<Shape> stages;  // (n, dims, height, width) of each stage, NCHW
};
// Throws Error (kInvalidArgument) when the picture is too small for the network to leave a pixel at the last stage.
OutputShapes output_shapes(const NetworkConfig& config, std::int64_t n, std::int64_t height, std::int64_t width);

// Where results go. A view whose data is null is not wanted, and costs nothing.
struct OutputViews {
  TensorView logits;
  TensorView pooled;
  std::vector<TensorView> stages;  // empty, or one a stage
};

// A network made ready for one machine. Immutable: any number of threads may run it, each with its own workspace.
class Executable {
 public:
  virtual ~Executable() = default;
  // `input` is (n, channels, height, width), float32, NCHW, contiguous.
  virtual void run(const ConstTensorView& input, const OutputViews& outputs, Workspace& workspace) const = 0;
  // Weights as this backend keeps them.
  virtual std::uint64_t weight_bytes() const = 0;
};

// What compiling may use, and whom it tells.
struct CompileOptions {
  ThreadPool* pool = nullptr;  // null: threads that end with it
  // Told by the calling thread, what part of the weights is packed, in [0, 1]. What it throws ends the compiling.
  std::function<void(double part)> progress = {};
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "scalar", "avx2", "avx512", "avx512_bf16", "amx", "neon", "libtorch"
  // Whether compile() takes that precision.
  virtual bool computes_in(Precision precision) const = 0;
  // Throws Error (kUnsupported) for a precision or network that this backend does not run.
  virtual std::unique_ptr<Executable> compile(const NetworkConfig& config, const WeightStore& weights,
                                              Precision precision, const CompileOptions& options = {}) const = 0;
};

// The scalar reference: one loop nest an operation, float64 sums. Slow, and the judge of all others.
std::unique_ptr<Backend> make_reference_backend();

// The CPU's fastest instruction set, or the one that `isa` or else the environment variable CONVNEXT_ISA names: scalar,
// avx2, avx512, avx512_bf16, amx, neon. Throws Error (kUnsupported) with those there are, when it is not one of them.
std::unique_ptr<Backend> make_cpu_backend(std::string_view isa = {});

// The instruction sets that make_cpu_backend() accepts on this machine, best first; "scalar" is always there.
std::vector<std::string> available_isas();

}  // namespace convnext
