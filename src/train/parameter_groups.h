// Which parameters are decayed (optim_factory.py of the authors).
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "model/config.h"
#include "nn/network.h"

namespace convnext {

struct ParameterGroup {
  std::string name;  // "decay", "no_decay"
  double weight_decay = 0.0;
  double lr_scale = 1.0;  // the group's learning rate is the schedule's times this
  std::vector<std::string> names;
  std::vector<torch::Tensor> parameters;
};

// Two groups: weights of convolutions and linears are decayed; biases, norms, layer scale and GRN are not.
std::vector<ParameterGroup> parameter_groups(const Network& network, const NetworkConfig& config, double weight_decay);

}  // namespace convnext
