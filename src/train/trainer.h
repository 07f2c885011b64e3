// A training run from settings to model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "train/settings.h"

namespace convnext {

struct EvaluationResult {
  double top1 = 0.0;  // percent
  double top5 = 0.0;
  double loss = 0.0;
};

struct EpochReport {
  int epoch = 0;  // 1 for the first
  int epochs = 0;
  std::int64_t steps = 0;  // of the whole run so far
  double lr = 0.0;         // of the last step
  double train_loss = 0.0;
  std::optional<EvaluationResult> model;    // on val or test, when there is such a folder
  std::optional<EvaluationResult> average;  // of the moving average
  double seconds = 0.0;
  double pictures_per_second = 0.0;
  double waited = 0.0;  // the part of the time that steps waited for pictures, 0 to 1
};

struct StepReport {
  int epoch = 0;
  std::int64_t step = 0;   // within the epoch, 1 for the first
  std::int64_t steps = 0;  // an epoch
  double loss = 0.0;
  double lr = 0.0;
};

// What a run tells while it goes; any of them may be empty.
struct TrainCallbacks {
  std::function<void(const std::string& line)> message;
  std::function<void(const StepReport&)> step;
  std::function<void(const EpochReport&)> epoch;
};

// Trains as the settings say and leaves the result in the run folder. `settings_text` is what goes into settings.toml.
// Throws Error; a loss that is not finite stops the run with the step and the learning rate.
void train(const TrainSettings& settings, const std::string& settings_text, const TrainCallbacks& callbacks);

}  // namespace convnext
