#include "nn/layer_network.h"

namespace convnext {

namespace {

LayerNetworkOptions resnet_options(const ResNetConfig& config, DropRates rates) {
  LayerNetworkOptions options;
  options.norm_eps = config.norm_eps;
  // Nothing else reads what an activation of a ResNet is given: ReLU writes over it.
  if (config.activation == ResNetConfig::Activation::kRelu) {
    options.activation = [](const torch::Tensor& x) -> torch::Tensor { return x.relu_(); };
  } else {
    options.activation = [](const torch::Tensor& x) { return torch::gelu(x, "none"); };
  }
  options.drop_path_rates = drop_path_rates(config.depths, rates.drop_path);
  options.dropout = rates.dropout;
  return options;
}

}  // namespace

std::shared_ptr<Network> make_network(const ResNetConfig& config, DropRates rates) {
  return std::make_shared<LayerNetwork>(layer_specs(config), resnet_options(config, rates));
}

std::shared_ptr<Network> make_backbone(const ResNetConfig& config, double drop_path_rate) {
  std::vector<LayerSpec> layers = layer_specs(config);
  std::erase_if(layers, [](const LayerSpec& layer) { return layer.place == LayerPlace::kHead; });
  return std::make_shared<LayerNetwork>(std::move(layers), resnet_options(config, {.drop_path = drop_path_rate}));
}

}  // namespace convnext
