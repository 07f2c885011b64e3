// A convolutional network that is the list of its layers (model/layers.h): ResNet, RegNet and EfficientNet have no
// module of their own, so what is counted, what is stored and what is computed cannot differ.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/layers.h"
#include "nn/network.h"

namespace convnext {

struct LayerNetworkOptions {
  double norm_eps = 1e-5;
  torch::Tensor (*activation)(const torch::Tensor&) = torch::relu;
  // Of every block, counted through the stages: how often its branch is left out. Only blocks that add a shortcut can.
  std::vector<double> drop_path_rates{};
  double dropout = 0.0;  // how often the classifier misses a feature
};

// drop_path_rate_of_block() of every block of stages of those depths.
std::vector<double> drop_path_rates(const std::vector<int>& depths, double rate);

class LayerNetwork : public Network {
 public:
  // Knows convolutions without dilation, batch norms, LayerNorm over channels, max pools, squeeze and excitation,
  // shortcuts with and without layers of their own, and a head that pools and ends in at most one linear, or none. An
  // activation called "*.gate" is a sigmoid.
  LayerNetwork(std::vector<LayerSpec> layers, LayerNetworkOptions options);
  NetworkOutputs forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) override;

 private:
  struct Layer {
    LayerSpec spec;
    torch::Tensor weight, bias;  // of convolutions, linears and LayerNorm; undefined where there is none
    torch::nn::BatchNorm2d norm{nullptr};
  };
  // What the layers of a block pass on to one another.
  struct Maps {
    torch::Tensor main, shortcut, squeezed;
    torch::Tensor keep;  // multiplies the branch where it meets the shortcut; undefined: kept
    torch::Tensor& of(LayerBranch branch);
  };
  void add(LayerSpec spec);
  torch::Tensor drop_path(std::uint64_t key, int block, const torch::Tensor& x) const;
  void compute(Layer& layer, Maps& maps) const;

  LayerNetworkOptions options_;
  std::vector<Layer> layers_;
};

}  // namespace convnext
