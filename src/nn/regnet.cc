#include "nn/layer_network.h"

namespace convnext {

std::shared_ptr<Network> make_network(const RegNetConfig& config, double drop_path_rate) {
  LayerNetworkOptions options;
  options.drop_path_rates = drop_path_rates(config.depths, drop_path_rate);
  return std::make_shared<LayerNetwork>(layer_specs(config), std::move(options));
}

}  // namespace convnext
