#include "nn/layer_network.h"

namespace convnext {

std::shared_ptr<Network> make_network(const EfficientNetConfig& config, double drop_path_rate) {
  LayerNetworkOptions options;
  options.norm_eps = config.norm_eps;
  options.activation = torch::silu;
  int blocks = 0;
  for (const int depth : config.depths) blocks += depth;
  // The authors' drop connect, where no block reaches the whole rate.
  for (int i = 0; i < blocks; ++i) options.drop_path_rates.push_back(drop_path_rate * i / blocks);
  return std::make_shared<LayerNetwork>(layer_specs(config), std::move(options));
}

}  // namespace convnext
