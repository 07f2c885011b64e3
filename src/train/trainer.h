// A training run from settings to model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/dataset.h"
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
  std::int64_t steps_an_epoch = 0;
  int effective_batch = 0;  // pictures a step
  double ema_decay = 0.0;
  double lr = 0.0;  // of the last step
  double train_loss = 0.0;
  double gradient_norm = 0.0;               // of the last step, before clipping
  std::optional<EvaluationResult> model;    // on val or test, when there is such a folder
  std::optional<EvaluationResult> average;  // of the moving average
  double seconds = 0.0;
  double pictures_per_second = 0.0;
  double waited = 0.0;  // the part of the time that steps waited for pictures, 0 to 1
};

struct StepReport {
  int epoch = 0;
  std::int64_t step = 0;    // within the epoch, 1 for the first
  std::int64_t steps = 0;   // an epoch
  int effective_batch = 0;  // pictures a step
  double loss = 0.0;
  double lr = 0.0;
};

// What a run tells while it goes; any of them may be empty.
struct TrainCallbacks {
  std::function<void(const std::string& line)> message{};
  std::function<void(const StepReport&)> step{};
  std::function<void(const EpochReport&)> epoch{};
  std::function<bool()> should_stop{};  // asked after each step: true writes a checkpoint and ends the run
};

enum class RunEnd { kFinished, kStopped };

// Where the pictures lie that are held out; nothing where they can only be taken out of train.
std::optional<Split> held_out_split(const TrainSettings& settings);

// Trains as the settings say and leaves the result in the run folder. `settings_text` is what goes into settings.toml.
// Throws Error; a loss that is not finite stops the run with where it came from.
RunEnd train(const TrainSettings& settings, const std::string& settings_text, const TrainCallbacks& callbacks);

// What a run would do. Nothing is written; the data is looked through, and a few steps are taken and timed.
struct TrainPlan {
  struct Group {
    std::string name;
    double weight_decay = 0.0;
    double lr_scale = 1.0;
    std::int64_t tensors = 0;
    std::int64_t params = 0;
  };
  std::string architecture;
  std::int64_t classes = 0;
  int resolution = 0;
  std::int64_t params = 0;
  std::int64_t frozen_params = 0;
  double gmac = 0.0;  // forward, a picture
  std::int64_t train_pictures = 0;
  std::int64_t held_out_pictures = 0;
  int batch_size = 0;
  int accumulate = 1;
  std::int64_t steps_an_epoch = 0;
  std::int64_t steps = 0;
  std::vector<double> lr;  // at the first step of each epoch
  std::vector<Group> groups;
  std::uint64_t state_bytes = 0;     // weights, gradients, optimiser and moving average
  std::uint64_t resident_bytes = 0;  // the most that this process held after the measured steps
  double seconds_a_step = 0.0;       // measured; without waiting for data and without evaluation
  double estimated_seconds() const { return seconds_a_step * static_cast<double>(steps); }
};
TrainPlan plan_training(const TrainSettings& settings, const TrainCallbacks& callbacks);

}  // namespace convnext
