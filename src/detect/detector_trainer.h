// A detector's training run, from settings to model.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "detect/detection_settings.h"
#include "metrics/coco_evaluation.h"
#include "train/run_steps.h"
#include "train/train_plan.h"

namespace convnext {

// COCO's figures, in the order of coco_stat_names().
struct DetectorResult {
  std::array<double, kCocoStats> boxes{};
  std::array<double, kCocoStats> masks{};
};

struct DetectionEpochReport : EpochProgress {
  std::map<std::string, double> losses;   // as NamedLosses: means over the epoch, together train_loss
  std::optional<DetectorResult> model;    // on the pictures held out, after epochs that have an evaluation
  std::optional<DetectorResult> average;  // of the moving average
  double evaluation_seconds = 0.0;
};

// What a run tells while it goes; any of them may be empty.
struct DetectionCallbacks {
  std::function<void(const std::string& line)> message{};
  std::function<void(const StepReport&)> step{};
  std::function<void(std::int64_t pictures, std::int64_t all)> evaluated{};  // of an evaluation, so far
  std::function<void(const DetectionEpochReport&)> epoch{};
  std::function<bool()> should_stop{};  // asked after each step: true writes a checkpoint and ends the run
};

// Trains as the settings say and leaves the result in the run folder (train/run_folder.h). `settings_text` is what goes
// into settings.toml. Throws Error; a loss that is not finite stops the run with where it came from.
RunEnd train_detector(const DetectionSettings& settings, const std::string& settings_text,
                      const DetectionCallbacks& callbacks);

// What a run would do. Nothing is written; the annotations are read, and a few steps are taken and timed.
TrainPlan plan_training(const DetectionSettings& settings, const DetectionCallbacks& callbacks);

}  // namespace convnext
