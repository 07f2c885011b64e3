#include "train/parameter_groups.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "convnext/error.h"
#include "model/layers.h"
#include "model/tensors.h"

namespace convnext {

std::vector<ParameterGroup> parameter_groups(const Network& network, const NetworkConfig& config,
                                             const GroupOptions& options) {
  std::map<std::string, TensorRole> roles;
  for (const TensorSpec& spec : tensor_specs(config)) roles[spec.name] = spec.role;
  std::optional<LayerMap> layers;
  if (options.layer_decay != 1.0) layers.emplace(config, options.grouping);

  std::map<std::pair<int, bool>, ParameterGroup> groups;  // by layer, then decayed before not decayed
  for (const auto& parameter : network.named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    const bool decayed = options.decay_everything || roles.at(parameter.key()) == TensorRole::kWeight;
    const int layer = layers ? layers->of(parameter.key()) : 0;
    ParameterGroup& group = groups[{layer, !decayed}];
    if (group.name.empty()) {
      group.name = decayed ? "decay" : "no_decay";
      if (layers) {
        group.name = fmt::format("layer_{}_{}", layer, group.name);
        group.lr_scale = std::pow(options.layer_decay, layers->head() - layer);
      }
      group.weight_decay = decayed ? options.weight_decay : 0.0;
    }
    group.names.push_back(parameter.key());
    group.parameters.push_back(parameter.value());
  }
  std::vector<ParameterGroup> ordered;
  for (auto& [key, group] : groups) ordered.push_back(std::move(group));
  return ordered;
}

void freeze_stages(Network& network, const NetworkConfig& config, int stages) {
  if (stages == 0) return;
  const std::vector<LayerSpec> layers = layer_specs(config);
  const int all = layers.back().stage + 1;
  const bool classifier = class_count(config) > 0;
  if (stages < 0 || stages > all + (classifier ? 1 : 0)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot freeze {} stages: this network has {}{}", stages, all,
                            classifier ? ", and one more freezes all but the classifier" : ""));
  }
  const auto parameters = network.named_parameters();
  for (const LayerSpec& layer : layers) {
    const bool trained =
        stages > all ? &layer == &layers.back() : layer.place == LayerPlace::kHead || layer.stage >= stages;
    if (trained) continue;
    for (const char* part : {"", ".weight", ".bias"}) {
      if (const torch::Tensor* parameter = parameters.find(layer.name + part)) parameter->requires_grad_(false);
    }
  }
}

}  // namespace convnext
