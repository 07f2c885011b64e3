// convnext/model.h: load a network and ask it questions.
//
//   auto model = convnext::Model::load("model.safetensors");
//   auto best = model.classify(convnext::Image::open("cat.jpg")).front();
//   std::printf("%s %.1f %%\n", best.label.c_str(), 100 * best.probability);
//
// A Model is immutable and cheap to copy: one for the whole process. Each thread that runs it owns a Context (scratch
// memory, reused between calls); the forms without one make it anew for each call.
//
//   convnext::Context context(model);
//   for (const auto& frame : camera) {
//     auto best = model.classify(frame, context, 1);
//   }
//
// Thread safety: all const member functions of a Model, and of its copies, may be called from any number of threads at
// once. A Context is one thread's at a time. A ThreadPool may be shared: calls that need it at the same time take
// turns, a layer each, so a server that answers many requests at once gives each of its threads a Context(model, 1)
// instead. The callbacks of LoadOptions are called before load() returns, by the thread that called it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "convnext/image.h"
#include "convnext/tensor.h"
#include "convnext/thread_pool.h"

#pragma GCC visibility push(default)
namespace convnext {

// What the network computes in. Inputs and outputs are float32 in any case.
//   kFp32  the weights' own float32; within 5e-6 of float64, relative
//   kBf16  the weights of linears in bfloat16, the arithmetic float32's: half the memory
//   kInt8  weights of blocks and what they multiply as 8-bit integers: faster, and a quarter of the memory
enum class Precision { kFp32, kBf16, kInt8 };

// "fp32", "bf16", "int8". Parsing throws Error with the known names.
std::string_view name_of(Precision precision);
Precision precision_from_name(std::string_view name);

struct Prediction {
  int index = 0;             // class index: position in the logits
  std::string label;         // "class 281" when the model has no labels
  float probability = 0.0f;  // softmax over all classes
};

struct LoadOptions {
  std::string architecture = {};  // registered name, for weights without a card; an error when a card contradicts it
  std::string isa = {};  // scalar, avx2, avx512, avx512_bf16, amx, neon; empty: CONVNEXT_ISA, then the best there is
  // Empty: int8 if the file holds integers and what it runs on computes in them (scalar does not), else fp32.
  std::optional<Precision> precision = {};

  FileLimits file_limits = {};  // beyond them a file is refused

  // Threads for loading and for contexts that bring none: a pool of `threads` (0: as many as the process may use), or
  // this one, which the model then shares.
  int threads = 0;
  std::shared_ptr<ThreadPool> pool = {};

  // Lines for a person: which weights were taken of several, what was passed over, what was assumed.
  std::function<void(std::string_view line)> log = {};
  // The part that is done: 0 first, never less than before, 1 last. What it throws ends the loading and comes out of
  // load().
  std::function<void(double part)> progress = {};
};

// What run() is asked for.
struct Wanted {
  bool logits = true;
  bool pooled = false;
  bool stages = false;
};

struct Outputs {
  Tensor logits;               // (n, classes)
  Tensor pooled;               // (n, channels)
  std::vector<Tensor> stages;  // (n, channels, height, width) of each stage
};

class Context;

class Model {
 public:
  // Reads weights and card. `path`: a file of weights as anybody publishes them (.safetensors, .pth, .bin), a folder as
  // the hubs lay it out, a run folder, or else a name that is looked for, with and without ".safetensors", in
  // $CONVNEXT_MODELS, ./models and the folder of installed models.
  // Throws Error when there is nothing of that name, the file is damaged, or its tensors do not make the network that
  // card or options name (the message names the first key that does not fit, with both shapes).
  static Model load(const std::filesystem::path& path, const LoadOptions& options = {});

  // The same weights, nothing copied, for pictures prepared in another way, or with other names for the classes (one a
  // class, or none). Throws Error: a value out of range, or another number of labels.
  Model with_preprocessing(const Preprocessing& preprocessing) const;
  Model with_labels(std::vector<std::string> labels) const;

  // The `top_k` most probable classes, best first. Resizes, crops and normalises as the card says. Throws Error
  // (kUnsupported) for a network without a classifier.
  std::vector<Prediction> classify(const Image& image, int top_k = 5) const;
  std::vector<Prediction> classify(const Image& image, Context& context, int top_k = 5) const;
  // Pooled features after the final norm, (channels,): timm's forward_head(pre_logits=True).
  std::vector<float> embed(const Image& image) const;
  std::vector<float> embed(const Image& image, Context& context) const;
  // The raw output of each stage, (1, channels, height, width), finest first: what a detector builds on.
  std::vector<Tensor> features(const Image& image) const;
  std::vector<Tensor> features(const Image& image, Context& context) const;

  // The same of many pictures in their order, prepared and run in batches on all threads of the context; one without
  // pictures is fine. An answer does not depend on what shares its batch.
  std::vector<std::vector<Prediction>> classify(std::span<const Image> images, int top_k = 5) const;
  std::vector<std::vector<Prediction>> classify(std::span<const Image> images, Context& context, int top_k = 5) const;
  Tensor embed(std::span<const Image> images) const;  // (n, channels)
  Tensor embed(std::span<const Image> images, Context& context) const;
  std::vector<Tensor> features(std::span<const Image> images) const;  // (n, channels, height, width)
  std::vector<Tensor> features(std::span<const Image> images, Context& context) const;

  // The steps these are made of. `input` is float32, contiguous, (n, channels, height, width) or one picture without
  // the n, of any size that leaves the last stage a pixel. preprocess() throws Error (kUnsupported) for a network that
  // does not take the three channels of a picture.
  Tensor preprocess(const Image& image) const;  // (3, resolution, resolution)
  Outputs run(const ConstTensorView& input, Context& context, const Wanted& wanted = {}) const;
  std::vector<Prediction> predictions(std::span<const float> logits, int top_k) const;

  const std::string& architecture() const;  // "convnext_tiny"
  const Preprocessing& preprocessing() const;
  const std::vector<std::string>& labels() const;  // empty when the file has none
  int classes() const;                             // 0: no classifier
  int input_channels() const;
  int embedding_channels() const;  // length of what embed() gives
  int stages() const;              // how many maps features() gives
  // (channels, height, width) of what features() gives of each stage, for an input of that size. Throws Error
  // (kInvalidArgument) for one too small to leave the last stage a pixel.
  std::vector<Shape> feature_shapes(std::int64_t height, std::int64_t width) const;
  std::string_view isa() const;  // what it runs on: "avx2"
  Precision precision() const;
  std::uint64_t weight_bytes() const;  // as kept for running
  ThreadPool& pool() const;            // of loading; anybody may use it

 private:
  friend class Context;
  friend class ModelLoading;
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// Scratch memory and threads for running a model: one thread's at a time. It grows to what the largest call needed and
// keeps that, so that later runs allocate nothing but inputs and results.
class Context {
 public:
  // With the model's threads.
  explicit Context(const Model& model);
  // With threads of its own: `threads` 0 for as many as the process may use.
  Context(const Model& model, int threads);
  // With somebody's pool, which must outlive the context.
  Context(const Model& model, ThreadPool& pool);
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  ThreadPool& pool() const;

 private:
  friend class Model;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace convnext
#pragma GCC visibility pop
