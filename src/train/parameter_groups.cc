#include "train/parameter_groups.h"

#include <map>

#include "model/tensors.h"

namespace convnext {

std::vector<ParameterGroup> parameter_groups(const Network& network, const NetworkConfig& config, double weight_decay) {
  std::map<std::string, TensorRole> roles;
  for (const TensorSpec& spec : tensor_specs(config)) roles[spec.name] = spec.role;
  std::vector<ParameterGroup> groups(2);
  groups[0].name = "decay";
  groups[0].weight_decay = weight_decay;
  groups[1].name = "no_decay";
  for (const auto& parameter : network.named_parameters()) {
    ParameterGroup& group = groups[roles.at(parameter.key()) == TensorRole::kWeight ? 0 : 1];
    group.names.push_back(parameter.key());
    group.parameters.push_back(parameter.value());
  }
  return groups;
}

}  // namespace convnext
