// The options of `convnext train`, which are also what a recipe holds and what `convnext roadmap` gives to its runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/settings.h"

namespace convnext::apps {

struct TrainRequest {
  TrainSettings settings;
  std::string recipe;  // the options in effect, as `--config` takes them back: settings.toml
  bool dry_run = false;
  bool json = false;
};

// `argv[0]` is the command's name. Nothing where the line only asked for help, which then has been printed. Throws
// UsageError.
std::optional<TrainRequest> read_train_request(int argc, char** argv);
// The same for arguments without the command's name.
std::optional<TrainRequest> read_train_request(const std::vector<std::string>& arguments);

}  // namespace convnext::apps
