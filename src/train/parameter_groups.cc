#include "train/parameter_groups.h"

#include <fmt/format.h>

#include <algorithm>
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
  std::optional<LayerMap> layers;
  if (options.layer_decay != 1.0) layers.emplace(config, options.grouping);
  return parameter_groups(
      network, tensor_specs(config), [&layers](const std::string& name) { return layers->of(name); },
      layers ? layers->head() : 0, options);
}

std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& module, const std::vector<TensorSpec>& specs,
                                             const std::function<int(const std::string& name)>& layer_of, int head,
                                             const GroupOptions& options) {
  std::map<std::string, TensorRole> roles;
  for (const TensorSpec& spec : specs) roles[spec.name] = spec.role;
  const bool by_layer = options.layer_decay != 1.0;

  std::map<std::pair<int, bool>, ParameterGroup> groups;  // by layer, then decayed before not decayed
  for (const auto& parameter : module.named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    const bool decayed = options.decay_everything || roles.at(parameter.key()) == TensorRole::kWeight;
    const int layer = by_layer ? layer_of(parameter.key()) : 0;
    ParameterGroup& group = groups[{layer, !decayed}];
    if (group.name.empty()) {
      group.name = decayed ? "decay" : "no_decay";
      if (by_layer) {
        group.name = fmt::format("layer_{}_{}", layer, group.name);
        group.lr_scale = std::pow(options.layer_decay, head - layer);
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

namespace {

// Whether `layer`, one of `layers`, is trained when that many stages are frozen.
bool is_trained(const std::vector<LayerSpec>& layers, const LayerSpec& layer, int frozen) {
  const int stages = layers.back().stage + 1;
  // Then the classifier alone: the linears that nothing follows.
  if (frozen > stages) {
    return std::all_of(layers.data() + (&layer - layers.data()), layers.data() + layers.size(),
                       [](const LayerSpec& one) { return one.kind == LayerKind::kLinear; });
  }
  return layer.place == LayerPlace::kHead || layer.stage >= frozen;
}

}  // namespace

void train_but_frozen(Network& network, const NetworkConfig& config, int stages) {
  network.train();
  if (stages == 0) return;
  const auto modules = network.named_modules({}, /*include_self=*/false);
  const std::vector<LayerSpec> layers = layer_specs(config);
  for (const LayerSpec& layer : layers) {
    if (layer.kind != LayerKind::kBatchNorm || is_trained(layers, layer, stages)) continue;
    if (const auto* module = modules.find(layer.name)) (*module)->eval();
  }
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
    if (is_trained(layers, layer, stages)) continue;
    for (const char* part : {"", ".weight", ".bias"}) {
      if (const torch::Tensor* parameter = parameters.find(layer.name + part)) parameter->requires_grad_(false);
    }
  }
}

}  // namespace convnext
