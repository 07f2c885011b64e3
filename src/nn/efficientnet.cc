#include "nn/layer_network.h"

namespace convnext {

std::shared_ptr<Network> make_network(const EfficientNetConfig& config, DropRates rates) {
  LayerNetworkOptions options;
  options.norm_eps = config.norm_eps;
  options.activation = torch::silu;
  int blocks = 0;
  for (const int depth : config.depths) blocks += depth;
  // The authors' drop connect, where no block reaches the whole rate.
  for (int i = 0; i < blocks; ++i) options.drop_path_rates.push_back(rates.drop_path * i / blocks);
  options.dropout = rates.dropout;
  return std::make_shared<LayerNetwork>(layer_specs(config), std::move(options));
}

}  // namespace convnext
