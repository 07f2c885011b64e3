#include "model/layers.h"

#include <fmt/format.h>

#include "model/layer_list.h"

namespace convnext {
namespace {

class ConvNextLayers : private LayerList {
 public:
  explicit ConvNextLayers(const ConvNextConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    stem();
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) {
      if (part_.stage > 0) downsample();
      for (part_.block = 0; part_.block < config_.depths[index()]; ++part_.block) block();
      part_.block = -1;
    }
    part_.stage = config_.stages() - 1;
    head();
    return std::move(layers_);
  }

 private:
  std::size_t index() const { return static_cast<std::size_t>(part_.stage); }

  void norm(std::string name, int channels) {
    add(std::move(name), LayerKind::kNorm, channels, channels).bias = config_.norm == Norm::kLayerNorm;
  }

  void stem() {
    part_.place = LayerPlace::kStem;
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
    part_.place = LayerPlace::kDownsample;
    const std::string prefix = fmt::format("stages.{}.downsample.", part_.stage);
    norm(prefix + "0", config_.dims[index() - 1]);
    convolution(prefix + "1", config_.dims[index() - 1], config_.dims[index()], 2, 2, 0);
  }

  void block() {
    part_.place = LayerPlace::kBlock;
    const std::string prefix = fmt::format("stages.{}.blocks.{}.", part_.stage, part_.block);
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
    part_.place = LayerPlace::kHead;
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
};

}  // namespace

std::vector<LayerSpec> layer_specs(const ConvNextConfig& config) { return ConvNextLayers(config).all(); }

std::vector<LayerSpec> layer_specs(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return layer_specs(network); }, config);
}

}  // namespace convnext
