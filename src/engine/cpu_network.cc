#include "engine/cpu_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "engine/network.h"
#include "kernels/aligned_floats.h"
#include "kernels/padding.h"
#include "model/description.h"

namespace convnext {
namespace {

using namespace cpu;

// A tensor as float32: the store's own memory where it is that, a copy otherwise. Gives the store's memory back at the
// end.
class Values {
 public:
  explicit Values(const WeightStore& weights, const std::string& name) : weights_(weights), name_(name) {
    const ConstTensorView& view = weights.at(name);
    const bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % alignof(float) == 0;
    if (view.dtype == DType::kF32 && aligned && view.is_contiguous()) {
      values_ = view.values<float>();
    } else {
      copy_ = AlignedFloats(static_cast<std::size_t>(view.count()));
      if (const ConstTensorView* scales = weights.scales(name)) {
        to_float32(view, *scales, copy_.values());
      } else {
        to_float32(view, copy_.values());
      }
      values_ = copy_.values();
    }
  }
  ~Values() { weights_.release(name_); }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  operator std::span<const float>() const { return values_; }

 private:
  const WeightStore& weights_;
  const std::string name_;
  AlignedFloats copy_;  // goes back to the system once it is packed; a heap keeps what was freed
  std::span<const float> values_;
};

// How many threads pack at once. A few are as fast as the memory is, and for each there is a tensor of the source in
// memory beside what is packed.
int packing_threads(const WeightStore& weights) {
  constexpr std::uint64_t kBytesOfAThread = std::uint64_t{4} << 20;
  return static_cast<int>(std::clamp<std::uint64_t>(weights.bytes() / kBytesOfAThread, 1, 4));
}

class Packer {
 public:
  Packer(Isa isa, const ConvNextConfig& config, const WeightStore& weights, Precision precision)
      : isa_(isa), config_(config), weights_(weights), precision_(precision) {}

  WeightFormat block_format() const {
    if (precision_ == Precision::kInt8) return WeightFormat::kInt8;
    return head_format();
  }
  WeightFormat head_format() const {
    return precision_ == Precision::kFp32 ? WeightFormat::kFloat32 : WeightFormat::kBfloat16;
  }

  PackedNorm norm(const std::string& name, int channels) const { return norm(name, channels, config_.norm_eps); }

  PackedNorm norm(const std::string& name, int channels, double eps) const {
    const Values weight(weights_, name + ".weight");
    if (config_.norm != Norm::kLayerNorm) return pack_norm(isa_, config_.norm, eps, channels, weight, {});
    return pack_norm(isa_, config_.norm, eps, channels, weight, Values(weights_, name + ".bias"));
  }

  PackedLinear linear(const std::string& name, int inputs, int outputs, WeightFormat format,
                      std::span<const float> scale = {}) const {
    return pack_linear(isa_, inputs, outputs, Values(weights_, name + ".weight"), Values(weights_, name + ".bias"),
                       scale, format);
  }

  PackedConvolution convolution(const std::string& name, const ConvolutionShape& shape, const WindowLayout& windows,
                                WeightFormat format) const {
    const std::vector<float> matrix = window_matrix(shape, windows, Values(weights_, name + ".weight"));
    return {shape, windows,
            pack_linear(isa_, static_cast<int>(windows.size), shape.out_channels, matrix,
                        Values(weights_, name + ".bias"), {}, format)};
  }

  // Of a map whose pixels have all of their channels.
  PackedConvolution map_convolution(const std::string& name, const ConvolutionShape& shape, WeightFormat format) const {
    return convolution(name, shape, pixel_windows(shape, row_stride(shape.in_channels, isa_)), format);
  }

  PackedBlock block(const std::string& name, int kernel, int channels) const {
    const int hidden = 4 * channels;
    PackedBlock block;
    block.depthwise = pack_depthwise(isa_, kernel, channels, Values(weights_, name + "conv_dw.weight"),
                                     Values(weights_, name + "conv_dw.bias"));
    block.norm = norm(name + "norm", channels);
    block.expand = linear(name + "mlp.fc1", channels, hidden, block_format());
    if (config_.grn) {
      block.grn =
          pack_grn(isa_, hidden, Values(weights_, name + "mlp.grn.weight"), Values(weights_, name + "mlp.grn.bias"));
    }
    const std::vector<float> scale = config_.layer_scale ? weights_.floats(name + "gamma") : std::vector<float>();
    block.project = linear(name + "mlp.fc2", hidden, channels, block_format(), scale);
    return block;
  }

 private:
  Isa isa_;
  const ConvNextConfig& config_;
  const WeightStore& weights_;
  Precision precision_;
};

}  // namespace

PackedNetwork pack_network(Isa isa, const ConvNextConfig& config, const WeightStore& weights, Precision precision,
                           const CompileOptions& options) {
  const Packer packer(isa, config, weights, precision);
  PackedNetwork network;
  network.isa = isa;
  network.config = config;
  network.block_products = linear_layout(isa, packer.block_format()).products;
  network.head_products = linear_layout(isa, packer.head_format()).products;
  network.stages.resize(config.dims.size());

  // Each fills a place of its own. The last stage, whose blocks are the largest, comes first: so threads end together.
  std::vector<std::function<void()>> pieces;
  for (std::size_t i = network.stages.size(); i-- > 0;) {
    PackedStage& stage = network.stages[i];
    const std::string prefix = fmt::format("stages.{}.", i);
    stage.blocks.resize(static_cast<std::size_t>(config.depths[i]));
    for (std::size_t j = 0; j < stage.blocks.size(); ++j) {
      pieces.emplace_back([&packer, &config, &block = stage.blocks[j], name = fmt::format("{}blocks.{}.", prefix, j),
                           i] { block = packer.block(name, config.kernel_sizes[i], config.dims[i]); });
    }
    if (i == 0) continue;
    pieces.emplace_back([&packer, &config, &stage, prefix, i] {
      const ConvolutionShape shape = downsample_shape(config, static_cast<int>(i));
      stage.downsample_norm = packer.norm(prefix + "downsample.0", shape.in_channels);
      stage.downsample = packer.map_convolution(prefix + "downsample.1", shape, packer.block_format());
    });
  }
  pieces.emplace_back([&] {
    const int channels = config.dims.back();
    network.head_norm =
        packer.norm(config.head == Head::kNormPool ? "norm_pre" : "head.norm", channels, config.head_eps());
    if (config.head == Head::kMlp) {
      network.head_hidden = packer.linear("head.pre_logits.fc", channels, config.head_hidden, packer.head_format());
    }
    if (config.classes > 0) {
      network.classifier = packer.linear("head.fc", embedding_channels(config), config.classes, packer.head_format());
    }
  });
  pieces.emplace_back([&] {
    const StemShape stem = stem_shape(config);
    const StemNames names = stem_names(config);
    network.stem.push_back(packer.convolution(names.convolutions[0], stem.convolutions[0],
                                              planar_windows(stem.convolutions[0]), WeightFormat::kFloat32));
    if (stem.count == 2) {
      network.stem.push_back(
          packer.map_convolution(names.convolutions[1], stem.convolutions[1], WeightFormat::kFloat32));
    }
    if (config.stem_norm) network.stem_norm = packer.norm(names.norm, config.dims.front());
  });

  const int threads = packing_threads(weights);
  std::optional<ThreadPool> own;
  ThreadPool* pool = options.pool;
  if (pool == nullptr) pool = &own.emplace(std::min(threads, available_threads()));
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> done = 0;
  pool->run(threads, [&](int, int thread) {
    try {
      for (std::size_t i = next++; i < pieces.size(); i = next++) {
        pieces[i]();
        const std::size_t packed = ++done;
        if (thread == 0 && options.progress) {
          options.progress(static_cast<double>(packed) / static_cast<double>(pieces.size()));
        }
      }
    } catch (...) {
      next = pieces.size();  // nobody begins another
      throw;
    }
  });
  return network;
}

std::uint64_t PackedNetwork::bytes() const {
  std::uint64_t sum = head_norm.bytes();
  for (const PackedConvolution& convolution : stem) sum += convolution.matrix.bytes();
  if (stem_norm) sum += stem_norm->bytes();
  for (const PackedStage& stage : stages) {
    if (stage.downsample) sum += stage.downsample_norm->bytes() + stage.downsample->matrix.bytes();
    for (const PackedBlock& block : stage.blocks) {
      sum += block.depthwise.bytes() + block.norm.bytes() + block.expand.bytes() + block.project.bytes();
      if (block.grn) sum += block.grn->bytes();
    }
  }
  if (head_hidden) sum += head_hidden->bytes();
  if (classifier) sum += classifier->bytes();
  return sum;
}

}  // namespace convnext
