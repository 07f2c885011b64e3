// Preprocessing in the JSON that commands print.
#pragma once

#include <nlohmann/json.hpp>

#include "convnext/image.h"

namespace convnext::apps {

inline nlohmann::ordered_json preprocessing_json(const Preprocessing& preprocessing) {
  return {{"resolution", preprocessing.resolution},
          {"mean", preprocessing.mean},
          {"std", preprocessing.std},
          {"interpolation", name_of(preprocessing.interpolation)},
          {"crop_fraction", preprocessing.crop_fraction},
          {"crop_mode", name_of(preprocessing.crop_mode)},
          {"pipeline", name_of(preprocessing.pipeline)}};
}

}  // namespace convnext::apps
