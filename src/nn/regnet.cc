#include "nn/layer_network.h"

namespace convnext {

std::shared_ptr<Network> make_network(const RegNetConfig& config, DropRates rates) {
  LayerNetworkOptions options;
  options.drop_path_rates = drop_path_rates(config.depths, rates.drop_path);
  options.dropout = rates.dropout;
  return std::make_shared<LayerNetwork>(layer_specs(config), std::move(options));
}

}  // namespace convnext
