#include "model/layers.h"

#include <fmt/format.h>

namespace convnext {
namespace {

// Collects the layers of one ConvNeXt; `place` and `stage` are those of the part being described.
class ConvNextLayers {
 public:
  explicit ConvNextLayers(const ConvNextConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    stem();
    for (stage_ = 0; stage_ < config_.stages(); ++stage_) {
      if (stage_ > 0) downsample();
      for (block_ = 0; block_ < config_.depths[index()]; ++block_) block();
      block_ = -1;
    }
    stage_ = config_.stages() - 1;
    head();
    return std::move(layers_);
  }

 private:
  std::size_t index() const { return static_cast<std::size_t>(stage_); }

  LayerSpec& add(std::string name, LayerKind kind, int in, int out) {
    LayerSpec& layer = layers_.emplace_back();
    layer.name = std::move(name);
    layer.kind = kind;
    layer.place = place_;
    layer.stage = stage_;
    layer.block = block_;
    layer.in_channels = in;
    layer.out_channels = out;
    return layer;
  }

  void convolution(std::string name, int in, int out, int kernel, int stride, int padding, int groups = 1) {
    LayerSpec& layer = add(std::move(name), LayerKind::kConvolution, in, out);
    layer.kernel = kernel;
    layer.stride = stride;
    layer.padding = padding;
    layer.groups = groups;
  }

  void norm(std::string name, int channels) {
    add(std::move(name), LayerKind::kNorm, channels, channels).bias = config_.norm == Norm::kLayerNorm;
  }

  void stem() {
    place_ = LayerPlace::kStem;
    const int width = config_.dims[0];
    int next = 0;  // timm numbers the members of the stem, the activation included
    const auto name = [&next] { return fmt::format("stem.{}", next++); };
    if (config_.stem == Stem::kPatch) {
      convolution(name(), config_.input_channels, width, config_.patch_size, config_.patch_size, 0);
    } else {
      const int middle = stem_width(config_);
      convolution(name(), config_.input_channels, middle, 3, 2, 1);
      if (config_.stem == Stem::kOverlapAct) add(name(), LayerKind::kActivation, middle, middle);
      convolution(name(), middle, width, 3, 2, 1);
    }
    if (config_.stem_norm) norm(name(), width);
  }

  void downsample() {
    place_ = LayerPlace::kDownsample;
    const std::string prefix = fmt::format("stages.{}.downsample.", stage_);
    norm(prefix + "0", config_.dims[index() - 1]);
    convolution(prefix + "1", config_.dims[index() - 1], config_.dims[index()], 2, 2, 0);
  }

  void block() {
    place_ = LayerPlace::kBlock;
    const std::string prefix = fmt::format("stages.{}.blocks.{}.", stage_, block_);
    const int width = config_.dims[index()];
    const int hidden = 4 * width;
    const int kernel = config_.kernel_sizes[index()];
    convolution(prefix + "conv_dw", width, width, kernel, 1, kernel / 2, width);
    norm(prefix + "norm", width);
    add(prefix + "mlp.fc1", LayerKind::kLinear, width, hidden).as_convolution = config_.conv_mlp;
    add(prefix + "mlp.act", LayerKind::kActivation, hidden, hidden);
    if (config_.grn) add(prefix + "mlp.grn", LayerKind::kGrn, hidden, hidden);
    add(prefix + "mlp.fc2", LayerKind::kLinear, hidden, width).as_convolution = config_.conv_mlp;
    if (config_.layer_scale) add(prefix + "gamma", LayerKind::kLayerScale, width, width);
    add(prefix + "shortcut", LayerKind::kAdd, width, width);
  }

  void head() {
    place_ = LayerPlace::kHead;
    const int width = config_.dims.back();
    if (config_.head == Head::kNormPool) {
      norm("norm_pre", width);
      add("head.global_pool", LayerKind::kPool, width, width);
    } else {
      add("head.global_pool", LayerKind::kPool, width, width);
      norm("head.norm", width);
    }
    int features = width;
    if (config_.head == Head::kMlp) {
      features = config_.head_hidden;
      add("head.pre_logits.fc", LayerKind::kLinear, width, features);
      add("head.pre_logits.act", LayerKind::kActivation, features, features);
    }
    if (config_.classes > 0) add("head.fc", LayerKind::kLinear, features, config_.classes);
  }

  const ConvNextConfig& config_;
  std::vector<LayerSpec> layers_;
  LayerPlace place_ = LayerPlace::kStem;
  int stage_ = 0;
  int block_ = -1;
};

}  // namespace

std::vector<LayerSpec> layer_specs(const ConvNextConfig& config) { return ConvNextLayers(config).all(); }

std::vector<LayerSpec> layer_specs(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return layer_specs(network); }, config);
}

}  // namespace convnext
