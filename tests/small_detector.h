// A detector that is small enough to be written and read in a moment; no registered network is like its backbone.
#pragma once

#include <string_view>

#include "model/detector_registry.h"
#include "model/formula.h"

namespace convnext {

// `name`: of a registered one over a ConvNeXt.
inline DetectorConfig small_detector(std::string_view name, int classes = 80) {
  DetectorConfig config = find_detector(name).value().config;
  auto& backbone = std::get<ConvNextConfig>(config.backbone);
  backbone.depths = {1, 1, 2, 1};
  backbone.dims = {8, 16, 24, 32};
  config.classes = classes;
  config.pyramid_channels = 8;
  config.box_hidden = 12;
  return config;
}

inline WeightStore formula_weights(const DetectorConfig& config) { return formula_weights(tensor_specs(config), 3); }

}  // namespace convnext
