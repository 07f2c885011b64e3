// A training run from settings to model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/dataset.h"
#include "train/run_steps.h"
#include "train/settings.h"
#include "train/train_plan.h"

namespace convnext {

struct EvaluationResult {
  double top1 = 0.0;  // percent
  double top5 = 0.0;
  double loss = 0.0;
};

struct EpochReport : EpochProgress {
  std::optional<EvaluationResult> model;    // on val or test, when there is such a folder
  std::optional<EvaluationResult> average;  // of the moving average
};

// What a run tells while it goes; any of them may be empty.
struct TrainCallbacks {
  std::function<void(const std::string& line)> message{};
  std::function<void(const StepReport&)> step{};
  std::function<void(const EpochReport&)> epoch{};
  std::function<bool()> should_stop{};  // asked after each step: true writes a checkpoint and ends the run
};

// Where the pictures lie that are held out; nothing where they can only be taken out of train.
std::optional<Split> held_out_split(const TrainSettings& settings);

// Trains as the settings say and leaves the result in the run folder. `settings_text` is what goes into settings.toml.
// Throws Error; a loss that is not finite stops the run with where it came from.
RunEnd train(const TrainSettings& settings, const std::string& settings_text, const TrainCallbacks& callbacks);

// What a run would do. Nothing is written; the data is looked through, and a few steps are taken and timed.
TrainPlan plan_training(const TrainSettings& settings, const TrainCallbacks& callbacks);

}  // namespace convnext
