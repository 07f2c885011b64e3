#include "model/tensors.h"

#include "model/layers.h"

namespace convnext {
namespace {

Shape weight_shape(const LayerSpec& layer) {
  if (layer.kind == LayerKind::kConvolution) {
    return {layer.out_channels, layer.in_channels / layer.groups, layer.kernel, layer.kernel};
  }
  if (layer.as_convolution) return {layer.out_channels, layer.in_channels, 1, 1};
  return {layer.out_channels, layer.in_channels};
}

}  // namespace

std::vector<TensorSpec> tensor_specs(const NetworkConfig& config) {
  std::vector<TensorSpec> specs;
  const auto add = [&specs](std::string name, Shape shape, TensorRole role) {
    specs.push_back({std::move(name), std::move(shape), role});
  };
  for (const LayerSpec& layer : layer_specs(config)) {
    const Shape channels = {layer.out_channels};
    switch (layer.kind) {
      case LayerKind::kConvolution:
      case LayerKind::kLinear:
        add(layer.name + ".weight", weight_shape(layer), TensorRole::kWeight);
        add(layer.name + ".bias", channels, TensorRole::kBias);
        break;
      case LayerKind::kNorm:
        add(layer.name + ".weight", channels, TensorRole::kNormWeight);
        if (layer.bias) add(layer.name + ".bias", channels, TensorRole::kNormBias);
        break;
      case LayerKind::kGrn:
        add(layer.name + ".weight", channels, TensorRole::kGrnWeight);
        add(layer.name + ".bias", channels, TensorRole::kGrnBias);
        break;
      case LayerKind::kLayerScale:
        add(layer.name, channels, TensorRole::kLayerScale);
        break;
      case LayerKind::kActivation:
      case LayerKind::kAdd:
      case LayerKind::kPool:
        break;
    }
  }
  return specs;
}

bool have_same_tensors(const ConvNextConfig& a, const ConvNextConfig& b) {
  ConvNextConfig like_b = a;
  like_b.classes = b.classes;
  like_b.input_channels = b.input_channels;
  like_b.norm_eps = b.norm_eps;
  like_b.head_norm_eps = b.head_norm_eps;
  like_b.activation = b.activation;
  like_b.conv_mlp = b.conv_mlp;
  if (a.norm != Norm::kLayerNorm && b.norm != Norm::kLayerNorm) like_b.norm = b.norm;
  return like_b == b;
}

std::int64_t fan_in(const Shape& shape) { return element_count(Shape(shape.begin() + 1, shape.end())); }

}  // namespace convnext
