// What `info` and `list` say of detectors.
#pragma once

#include <nlohmann/json.hpp>

#include "apps/options.h"
#include "model/detector_registry.h"

namespace convnext::apps {

// The input that papers count detectors for.
inline constexpr InputSize kCountedDetectorInput{.width = 1280, .height = 800};

// For an entry of `list`.
nlohmann::ordered_json detector_row(const DetectorEntry& entry);

// All that `info` says, as JSON or for a person. Throws Error when the input is too small.
nlohmann::ordered_json detector_info(const DetectorEntry& entry, const InputSize& input);
void print_detector_info(const DetectorEntry& entry, const InputSize& input);

}  // namespace convnext::apps
