// Networks and tensors that the tests of layouts speak of.
#pragma once

#include <functional>
#include <string_view>

#include "model/card.h"
#include "model/layouts.h"

namespace convnext {

// The registered ConvNeXt of that name.
ConvNextConfig registered_convnext(std::string_view name);

// The layout of our own names for a network of that family.
WeightLayout own_layout(const NetworkConfig& network);

// Views of the right shapes without numbers; kTimm stands for the names of a family's own layout.
TensorViews shapes_of(const NetworkConfig& network, WeightLayout layout = WeightLayout::kTimm);

// What is inferred of a registered network, changed first, from its shapes alone.
NetworkConfig inferred_as(std::string_view name, WeightLayout layout,
                          const std::function<void(NetworkConfig&)>& change = {});

// The card of a registered ConvNeXt, its widths and depths replaced by small ones, its classes by 5.
Card small_card(std::string_view name);

}  // namespace convnext
