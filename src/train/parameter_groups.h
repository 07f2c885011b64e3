// Which parameters are trained, which are decayed, and how fast each learns (optim_factory.py of the authors).
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/tensors.h"
#include "nn/network.h"
#include "train/layer_decay.h"

namespace convnext {

struct ParameterGroup {
  std::string name;  // "decay", "no_decay"; with layer-wise decay "layer_3_decay", "layer_3_no_decay"
  double weight_decay = 0.0;
  double lr_scale = 1.0;  // the group's learning rate is the schedule's times this
  std::vector<std::string> names;
  std::vector<torch::Tensor> parameters;
};

struct GroupOptions {
  double weight_decay = 0.05;
  bool decay_everything = false;  // biases, norms and layer scale too, as plain recipes for ResNets do
  double layer_decay = 1.0;       // lr_scale = layer_decay ^ (layers between the parameter and the head)
  LayerGrouping grouping = LayerGrouping::kGrouped;
};

// Weights of convolutions and linears are decayed; biases, norms, layer scale and GRN are not. Without layer-wise decay
// that makes two groups, with it up to two a layer, the stem's first. A group without parameters is left out, and so is
// every parameter that does not require a gradient.
std::vector<ParameterGroup> parameter_groups(const Network& network, const NetworkConfig& config,
                                             const GroupOptions& options);

// The same of any module whose parameters are those of `specs`. Layer-wise decay asks `layer_of` in which layer each
// lies, 0 to `head`; without it that is not called.
std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& module, const std::vector<TensorSpec>& specs,
                                             const std::function<int(const std::string& name)>& layer_of, int head,
                                             const GroupOptions& options);

// Takes parameters out of training: with `stages` = 1 the stem and the first stage, with 2 the second with the
// downsample before it as well, and so on; with one more than the network has stages all but the classifier. 0: none.
// To be called before the groups are made. Throws Error (kInvalidArgument) when there are not so many stages.
void freeze_stages(Network& network, const NetworkConfig& config, int stages);

// network.train(), but for the batch norms of frozen stages, whose statistics stand still like their weights.
void train_but_frozen(Network& network, const NetworkConfig& config, int stages);

}  // namespace convnext
