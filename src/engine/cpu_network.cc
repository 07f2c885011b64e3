#include "engine/cpu_network.h"

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>

#include "engine/network.h"
#include "kernels/padding.h"

namespace convnext {
namespace {

using namespace cpu;

// A tensor as float32: the store's own memory where it is that, a copy otherwise.
class Values {
 public:
  explicit Values(const WeightStore& weights, const std::string& name) {
    const ConstTensorView& view = weights.at(name);
    const bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % alignof(float) == 0;
    if (view.dtype == DType::kF32 && aligned && view.is_contiguous()) {
      values_ = view.values<float>();
    } else {
      copy_ = weights.floats(name);
      values_ = copy_;
    }
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  operator std::span<const float>() const { return values_; }

 private:
  std::vector<float> copy_;
  std::span<const float> values_;
};

class Packer {
 public:
  Packer(Isa isa, const ConvNextConfig& config, const WeightStore& weights)
      : isa_(isa), config_(config), weights_(weights) {}

  PackedNorm norm(const std::string& name, int channels) const { return norm(name, channels, config_.norm_eps); }

  PackedNorm norm(const std::string& name, int channels, double eps) const {
    const Values weight(weights_, name + ".weight");
    if (config_.norm != Norm::kLayerNorm) return pack_norm(isa_, config_.norm, eps, channels, weight, {});
    return pack_norm(isa_, config_.norm, eps, channels, weight, Values(weights_, name + ".bias"));
  }

  PackedLinear linear(const std::string& name, int inputs, int outputs, std::span<const float> scale = {}) const {
    return pack_linear(isa_, inputs, outputs, Values(weights_, name + ".weight"), Values(weights_, name + ".bias"),
                       scale);
  }

  PackedConvolution convolution(const std::string& name, const ConvolutionShape& shape,
                                std::ptrdiff_t tap_stride) const {
    const std::vector<float> matrix = window_matrix(shape, tap_stride, Values(weights_, name + ".weight"));
    return {shape, tap_stride,
            pack_linear(isa_, static_cast<int>(window_size(shape, tap_stride)), shape.out_channels, matrix,
                        Values(weights_, name + ".bias"))};
  }

  PackedBlock block(const std::string& name, int kernel, int channels) const {
    const int hidden = 4 * channels;
    PackedBlock block;
    block.depthwise = pack_depthwise(isa_, kernel, channels, Values(weights_, name + "conv_dw.weight"),
                                     Values(weights_, name + "conv_dw.bias"));
    block.norm = norm(name + "norm", channels);
    block.expand = linear(name + "mlp.fc1", channels, hidden);
    if (config_.grn) {
      block.grn =
          pack_grn(isa_, hidden, Values(weights_, name + "mlp.grn.weight"), Values(weights_, name + "mlp.grn.bias"));
    }
    const std::vector<float> scale = config_.layer_scale ? weights_.floats(name + "gamma") : std::vector<float>();
    block.project = linear(name + "mlp.fc2", hidden, channels, scale);
    return block;
  }

  PackedStage stage(int index) const {
    const auto i = static_cast<std::size_t>(index);
    const std::string prefix = fmt::format("stages.{}.", index);
    PackedStage stage;
    if (index > 0) {
      const ConvolutionShape shape = downsample_shape(config_, index);
      stage.downsample_norm = norm(prefix + "downsample.0", shape.in_channels);
      stage.downsample = convolution(prefix + "downsample.1", shape, row_stride(shape.in_channels, isa_));
    }
    for (int j = 0; j < config_.depths[i]; ++j) {
      stage.blocks.push_back(block(fmt::format("{}blocks.{}.", prefix, j), config_.kernel_sizes[i], config_.dims[i]));
    }
    return stage;
  }

 private:
  Isa isa_;
  const ConvNextConfig& config_;
  const WeightStore& weights_;
};

}  // namespace

PackedNetwork pack_network(Isa isa, const ConvNextConfig& config, const WeightStore& weights) {
  const Packer packer(isa, config, weights);
  PackedNetwork network;
  network.isa = isa;
  network.config = config;
  const StemShape stem = stem_shape(config);
  const StemNames names = stem_names(config);
  network.stem.push_back(packer.convolution(names.convolutions[0], stem.convolutions[0], config.input_channels));
  if (stem.count == 2) {
    const ConvolutionShape& second = stem.convolutions[1];
    network.stem.push_back(packer.convolution(names.convolutions[1], second, row_stride(second.in_channels, isa)));
  }
  if (config.stem_norm) network.stem_norm = packer.norm(names.norm, config.dims.front());
  for (int i = 0; i < config.stages(); ++i) network.stages.push_back(packer.stage(i));

  const int channels = config.dims.back();
  network.head_norm =
      packer.norm(config.head == Head::kNormPool ? "norm_pre" : "head.norm", channels, config.head_eps());
  if (config.head == Head::kMlp) {
    network.head_hidden = packer.linear("head.pre_logits.fc", channels, config.head_hidden);
  }
  if (config.classes > 0) network.classifier = packer.linear("head.fc", pooled_channels(config), config.classes);
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
