#include "model/tensors.h"

#include "model/layers.h"

namespace convnext {
namespace {

Shape weight_shape(const LayerSpec& layer) {
  if (layer.kind == LayerKind::kConvolution) {
    return {layer.out_channels, layer.in_channels / layer.groups, layer.kernel, layer.kernel};
  }
  if (layer.kind == LayerKind::kTransposedConvolution) {
    return {layer.in_channels, layer.out_channels, layer.kernel, layer.kernel};
  }
  if (layer.as_convolution) return {layer.out_channels, layer.in_channels, 1, 1};
  return {layer.out_channels, layer.in_channels};
}

// The linears that nothing follows.
std::size_t first_classifier(const std::vector<LayerSpec>& layers) {
  std::size_t first = layers.size();
  while (first > 0 && layers[first - 1].kind == LayerKind::kLinear) --first;
  return first;
}

}  // namespace

void add_tensor_specs(const LayerSpec& layer, std::vector<TensorSpec>& specs) {
  const auto add = [&specs](std::string name, Shape shape, TensorRole role) -> TensorSpec& {
    return specs.emplace_back(TensorSpec{.name = std::move(name), .shape = std::move(shape), .role = role});
  };
  const Shape channels = {layer.out_channels};
  switch (layer.kind) {
    case LayerKind::kConvolution:
    case LayerKind::kTransposedConvolution:
    case LayerKind::kLinear:
      add(layer.name + ".weight", weight_shape(layer), TensorRole::kWeight).fan_out =
          std::int64_t{layer.out_channels} / layer.groups * layer.kernel * layer.kernel;
      if (layer.bias) add(layer.name + ".bias", channels, TensorRole::kBias);
      break;
    case LayerKind::kNorm:
    case LayerKind::kBatchNorm:
      add(layer.name + ".weight", channels, TensorRole::kNormWeight).starts_at_zero = layer.starts_at_zero;
      if (layer.bias) add(layer.name + ".bias", channels, TensorRole::kNormBias);
      if (layer.kind == LayerKind::kNorm) break;
      add(layer.name + ".running_mean", channels, TensorRole::kRunningMean);
      add(layer.name + ".running_var", channels, TensorRole::kRunningVariance);
      break;
    case LayerKind::kParameter:
      add(layer.name, layer.shape, TensorRole::kEmbedding);
      break;
    case LayerKind::kGrn:
      add(layer.name + ".weight", channels, TensorRole::kGrnWeight);
      add(layer.name + ".bias", channels, TensorRole::kGrnBias);
      break;
    case LayerKind::kLayerScale:
      add(layer.name, channels, TensorRole::kLayerScale);
      break;
    case LayerKind::kActivation:
    case LayerKind::kScale:
    case LayerKind::kAdd:
    case LayerKind::kPool:
    case LayerKind::kMaxPool:
    case LayerKind::kMerge:
    case LayerKind::kAttention:
      break;
  }
}

std::vector<TensorSpec> tensor_specs(const NetworkConfig& config) {
  const std::vector<LayerSpec> layers = layer_specs(config);
  const std::size_t classifier = class_count(config) > 0 ? first_classifier(layers) : layers.size();
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::size_t first = specs.size();
    add_tensor_specs(layers[i], specs);
    for (std::size_t j = first; j < specs.size(); ++j) specs[j].is_classifier = i >= classifier;
  }
  return specs;
}

bool is_parameter(TensorRole role) { return role != TensorRole::kRunningMean && role != TensorRole::kRunningVariance; }

bool have_same_tensors(const ConvNextConfig& a, const ConvNextConfig& b) {
  ConvNextConfig like_b = a;
  like_b.classes = b.classes;
  like_b.input_channels = b.input_channels;
  like_b.norm_eps = b.norm_eps;
  like_b.head_norm_eps = b.head_norm_eps;
  like_b.activation = b.activation;
  like_b.conv_mlp = b.conv_mlp;
  // Half of a narrow stem's width is rounded up to the whole: then the tiers are one.
  const auto may_be_tiers = [](const ConvNextConfig& c) {
    return c.stem == Stem::kOverlap || c.stem == Stem::kOverlapTiered;
  };
  if (may_be_tiers(a) && may_be_tiers(b) && stem_width(a) == stem_width(b)) like_b.stem = b.stem;
  if (a.norm != Norm::kLayerNorm && b.norm != Norm::kLayerNorm) like_b.norm = b.norm;
  return like_b == b;
}

std::int64_t fan_in(const Shape& shape) { return element_count(Shape(shape.begin() + 1, shape.end())); }

}  // namespace convnext
