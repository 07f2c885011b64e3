// The options of `convnext train` for a detector.
#pragma once

#include <optional>
#include <string>

#include "detect/detection_settings.h"

namespace convnext::apps {

struct DetectionRequest {
  DetectionSettings settings;
  std::string recipe;  // the options in effect, as `--config` takes them back: settings.toml
  bool dry_run = false;
  bool json = false;
};

// Whether a command line of `train` is about a detector: by --model, which may stand in the recipe, or without one by
// what --init holds.
bool is_about_detector(int argc, char** argv);

// `argv[0]` is the command's name. Nothing where the line only asked for help, which then has been printed. Throws
// UsageError.
std::optional<DetectionRequest> read_detection_request(int argc, char** argv);

}  // namespace convnext::apps
