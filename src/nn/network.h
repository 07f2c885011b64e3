// The networks as libtorch modules: what is trained, and a second opinion on what the engine computes.
//
//   auto network = make_network(config, /*drop_path_rate=*/0.1);
//   load_weights(*network, checkpoint.weights);
//   torch::Tensor logits = network->forward(pictures).logits;  // pictures (n, 3, h, w), best in channels_last
//
// Parameters are named as in tensor_specs(): weights move to and from the runtime by name, bit for bit.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace convnext {

struct NetworkOutputs {
  torch::Tensor logits;               // (n, classes); pooled again where there is no classifier; none of a backbone
  torch::Tensor pooled;               // (n, channels); none of a backbone
  std::vector<torch::Tensor> stages;  // (n, dim, h, w) of each stage
};

// Where a module ends.
enum class NetworkEnd {
  kHead,
  kStages,  // a backbone's, which has no head
};

// How often a network that learns leaves out parts of itself.
struct DropRates {
  double drop_path = 0.0;  // the branch of the last block, for a picture; blocks before it in proportion
  double dropout = 0.0;    // a feature that the classifier reads
};

class Network : public torch::nn::Module {
 public:
  // `drop_key`: draws which branches and features are dropped, the same for the same key; none: nothing is dropped,
  // whatever the mode of the module.
  virtual NetworkOutputs forward(const torch::Tensor& pictures,
                                 std::optional<std::uint64_t> drop_key = std::nullopt) = 0;
};

std::shared_ptr<Network> make_network(const NetworkConfig& config, DropRates rates = {});

// Of one family each.
std::shared_ptr<Network> make_network(const ConvNextConfig& config, DropRates rates);
std::shared_ptr<Network> make_network(const ResNetConfig& config, DropRates rates);
std::shared_ptr<Network> make_network(const RegNetConfig& config, DropRates rates);
std::shared_ptr<Network> make_network(const EfficientNetConfig& config, DropRates rates);
std::shared_ptr<Network> make_network(const VisionTransformerConfig& config, DropRates rates);
std::shared_ptr<Network> make_network(const SwinConfig& config, DropRates rates);

// Without a head: no parameters of one, and no outputs but the stages. For detectors. Throws Error (kUnsupported) for
// families other than ConvNeXt, ResNet and Swin.
std::shared_ptr<Network> make_backbone(const NetworkConfig& config, double drop_path_rate = 0.0);
std::shared_ptr<Network> make_backbone(const ConvNextConfig& config, double drop_path_rate);
std::shared_ptr<Network> make_backbone(const ResNetConfig& config, double drop_path_rate);
std::shared_ptr<Network> make_backbone(const SwinConfig& config, double drop_path_rate);

// Stochastic depth (Huang et al. 2016; paper appendix): the rate of block j of all N, counted through the stages.
double drop_path_rate_of_block(double rate, int block, int blocks);
// (n, 1, 1, 1): 1 / (1 - rate) where picture b keeps the branch of `block`, else 0. Kept when
// unit_float(mix(mix(key + block) + b)) >= rate.
torch::Tensor drop_path_mask(std::uint64_t key, int block, double rate, std::int64_t n,
                             const torch::TensorOptions& options);
// Dropout (Srivastava et al. 2014): each value of `features` (n, ...) is 0 with probability `rate` and otherwise
// divided by 1 - rate, so that its expectation stays. Value i of picture b is kept when
// unit_float(mix(mix(mix(key ^ hash_name("dropout")) + b) + i)) >= rate. Without a key they are left as they are.
torch::Tensor keyed_dropout(const torch::Tensor& features, double rate, std::optional<std::uint64_t> key);

// Copies weights into a network's parameters and running statistics. Throws Error (kMismatch) at the first that is
// missing or has another shape.
void load_weights(torch::nn::Module& network, const WeightStore& weights);
// A float32 copy of a network's parameters and running statistics, on the CPU.
WeightStore copy_weights(const torch::nn::Module& network);

}  // namespace convnext
