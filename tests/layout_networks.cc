#include "tests/layout_networks.h"

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {

ConvNextConfig registered_convnext(std::string_view name) {
  return std::get<ConvNextConfig>(architecture(name).network);
}

WeightLayout own_layout(const NetworkConfig& network) {
  return *std::ranges::find_if(weight_layouts(),
                               [&network](WeightLayout layout) { return family_of(layout) == family_of(network); });
}

TensorViews shapes_of(const NetworkConfig& network, WeightLayout layout) {
  TensorViews views;
  if (layout == WeightLayout::kTimm) layout = own_layout(network);
  for (const TensorSpec& spec : tensor_specs(network)) {
    const TensorName name = name_in(layout, spec.name).value();
    Shape shape = spec.shape;
    if (name.form == TensorForm::kLinear) shape = {shape[0], shape[1]};
    if (name.form == TensorForm::kChannelMap) shape = {shape[0], 1, 1};
    if (name.form == TensorForm::kChannelsLast) shape = {1, 1, 1, shape[0]};
    views[name.name].shape = shape;
  }
  return views;
}

NetworkConfig inferred_as(std::string_view name, WeightLayout layout,
                          const std::function<void(NetworkConfig&)>& change) {
  NetworkConfig network = architecture(name).network;
  if (change) change(network);
  std::vector<std::string> notes;
  return infer_network(recognize(shapes_of(network, layout)), "file", notes);
}

Card small_card(std::string_view name) {
  Card card;
  card.architecture = name;
  ConvNextConfig network = registered_convnext(name);
  if (network.stages() == 4) {
    network.depths = {1, 1, 2, 1};
    network.dims = {8, 12, 16, 20};
  } else {
    network.depths = {2};
    network.dims = {12};
  }
  if (network.classes > 0) network.classes = 5;
  if (network.head == Head::kMlp) network.head_hidden = 9;
  card.network = network;
  card.preprocessing = architecture(name).preprocessing;
  return card;
}

}  // namespace convnext
