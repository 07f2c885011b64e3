#include "nn/libtorch_backend.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "convnext/error.h"
#include "engine/network.h"
#include "model/description.h"
#include "nn/network.h"

namespace convnext {
namespace {

// libtorch's threads for what this thread does, for as long as the object lives.
// A thread that is new to libtorch starts with the number that any thread set last, so one that begins during a run of
// another is left with that run's. No run minds, for each sets its own; nor is there another way, since libtorch keeps
// the number that it gives to new threads to itself.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(at::get_num_threads()) { set(threads); }
  ~ThreadCount() { set(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  static void set(int threads) {
    if (threads != at::get_num_threads()) at::set_num_threads(threads);
  }

  int before_;
};

// Runs it; what libtorch refuses becomes an Error, without the backtrace that its messages end with.
template <typename Run>
auto without_torch_errors(std::string_view what, const Run& run) try {
  return run();
} catch (const c10::Error& error) {
  throw Error(ErrorCode::kUnsupported, fmt::format("libtorch cannot {}: {}", what, error.what_without_backtrace()));
}

// Of the pictures from `first` on.
void copy_output(const torch::Tensor& values, std::int64_t first, const TensorView& view, std::string_view name) {
  if (view.data == nullptr) return;
  torch::Tensor out = torch::from_blob(view.data, view.shape, torch::kFloat32).narrow(0, first, values.size(0));
  if (values.sizes() != out.sizes()) {
    throw Error(ErrorCode::kMismatch, fmt::format("the network's output '{}' is {}, and its description says {}", name,
                                                  to_string(Shape(values.sizes().begin(), values.sizes().end())),
                                                  to_string(Shape(out.sizes().begin(), out.sizes().end()))));
  }
  out.copy_(values);
}

class LibtorchExecutable : public Executable {
 public:
  LibtorchExecutable(const NetworkConfig& config, const WeightStore& weights, std::uint64_t map_bytes)
      : config_(config), map_bytes_(map_bytes), network_(make_network(config)) {
    load_weights(*network_, weights);
    network_->eval();
    torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : network_->parameters()) {
      parameter.requires_grad_(false);
      // The order of the maps: a convolution then finds both as it wants them.
      if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
    }
  }

  void run(const ConstTensorView& input, const OutputViews& outputs, Workspace& workspace) const override {
    const MapSize size = input_size(input_channels(config_), input);
    const OutputShapes shapes = output_shapes(config_, input.shape[0], size.height, size.width);
    const std::int64_t n = check_views(shapes, input, outputs);
    if (n == 0) return;
    const std::int64_t slice = pictures_at_once(n, size);
    without_torch_errors("run this network on this input", [&] {
      const ThreadCount threads(workspace.pool == nullptr ? 1 : workspace.pool->threads());
      const torch::InferenceMode inference;
      // Only read: libtorch has no tensors of constants.
      const torch::Tensor pictures =
          torch::from_blob(const_cast<float*>(input.values<float>().data()), input.shape, torch::kFloat32);
      for (std::int64_t first = 0; first < n; first += slice) {
        const torch::Tensor some = pictures.narrow(0, first, std::min(slice, n - first));
        write(network_->forward(some.contiguous(torch::MemoryFormat::ChannelsLast)), first, outputs);
      }
    });
  }

  std::uint64_t weight_bytes() const override {
    std::uint64_t bytes = 0;
    for (const torch::Tensor& parameter : network_->parameters()) bytes += parameter.nbytes();
    for (const torch::Tensor& buffer : network_->buffers()) {
      if (buffer.is_floating_point()) bytes += buffer.nbytes();  // the others count batches, or places
    }
    return bytes;
  }

 private:
  std::int64_t pictures_at_once(std::int64_t n, const MapSize& size) const {
    if (n == 1) return 1;
    const std::uint64_t of_one = count_cost(config_, size.height, size.width).peak_activation_bytes;
    const auto fitting = static_cast<std::int64_t>(map_bytes_ / std::max<std::uint64_t>(of_one, 1));
    return std::clamp<std::int64_t>(fitting, 1, n);
  }

  static void write(const NetworkOutputs& results, std::int64_t first, const OutputViews& outputs) {
    copy_output(results.logits, first, outputs.logits, "logits");
    copy_output(results.pooled, first, outputs.pooled, "pooled");
    for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
      copy_output(results.stages.at(i), first, outputs.stages[i], fmt::format("stages.{}", i));
    }
  }

  NetworkConfig config_;
  std::uint64_t map_bytes_;
  std::shared_ptr<Network> network_;  // never changed after the constructor: forward() has no state
};

class LibtorchBackend : public Backend {
 public:
  explicit LibtorchBackend(std::uint64_t map_bytes) : map_bytes_(map_bytes) {}
  std::string_view name() const override { return "libtorch"; }
  bool computes_in(Precision precision) const override { return precision == Precision::kFp32; }

  // Weights are copied as they are: quick, and without a progress of its own.
  std::unique_ptr<Executable> compile(const NetworkConfig& config, const WeightStore& weights, Precision precision,
                                      const CompileOptions& /*options*/) const override {
    if (!computes_in(precision)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("libtorch computes in fp32 here, not in {0}: {0} is the engine's, which runs ConvNeXt",
                              name_of(precision)));
    }
    validate(config);
    check_weights(weights, config, "weights");
    return without_torch_errors("make this network",
                                [&] { return std::make_unique<LibtorchExecutable>(config, weights, map_bytes_); });
  }

 private:
  std::uint64_t map_bytes_;
};

}  // namespace

std::unique_ptr<Backend> make_libtorch_backend(std::uint64_t map_bytes) {
  return std::make_unique<LibtorchBackend>(map_bytes);
}

}  // namespace convnext
