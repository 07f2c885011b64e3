// What `info` and `list` say of detectors.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "apps/options.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"

namespace convnext::apps {

// The input that papers count detectors for.
inline constexpr InputSize kCountedDetectorInput{.width = 1280, .height = 800};

// A registered detector, or one of a file, with what is to be said of it.
struct DetectorSubject {
  explicit DetectorSubject(DetectorEntry registered) : entry(std::move(registered)) {}
  explicit DetectorSubject(DetectorCheckpoint file);

  DetectorEntry entry;  // of a file without what was published of the registered one
  std::optional<DetectorCheckpoint> checkpoint{};

  // That papers count for where pictures are as large as there, else the largest that its card makes.
  InputSize usual_input() const;
};

// For an entry of `list`.
nlohmann::ordered_json detector_row(const DetectorEntry& entry);

// All that `info` says, as JSON or for a person, of pictures of that size, filled up as the detector does it.
nlohmann::ordered_json detector_info(const DetectorSubject& subject, const InputSize& picture);
void print_detector_info(const DetectorSubject& subject, const InputSize& picture);

}  // namespace convnext::apps
