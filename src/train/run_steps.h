// The steps of an epoch, whatever is learned in them: position, checkpoints, curves, and the wish to stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "train/run_folder.h"
#include "train/run_settings.h"
#include "train/tensorboard.h"

namespace convnext {

struct StepResult {
  double loss = 0.0;  // the mean over the step's pictures, as it was optimised
  double lr = 0.0;
  double gradient_norm = 0.0;  // before clipping; 0 when there is none
};

struct StepReport {
  int epoch = 0;
  std::int64_t step = 0;    // within the epoch, 1 for the first
  std::int64_t steps = 0;   // an epoch
  int effective_batch = 0;  // pictures a step
  double loss = 0.0;
  double lr = 0.0;
};

struct EpochProgress {
  int epoch = 0;  // 1 for the first
  int epochs = 0;
  std::int64_t steps = 0;  // of the whole run so far
  std::int64_t steps_an_epoch = 0;
  int effective_batch = 0;  // pictures a step
  double ema_decay = 0.0;
  double lr = 0.0;  // of the last step
  double train_loss = 0.0;
  double gradient_norm = 0.0;  // of the last step, before clipping
  double seconds = 0.0;
  double pictures_per_second = 0.0;
  double waited = 0.0;  // the part of the time that steps waited for pictures, 0 to 1
};

// As the log has it.
std::string progress_to_json(const EpochProgress& progress);
// Into the charts of TensorBoard, after the epoch.
void chart_progress(const EpochProgress& progress, TensorBoardWriter& tensorboard);

enum class RunEnd { kFinished, kStopped };

// What a step tells of itself.
class StepContext {
 public:
  // Calls `wait`, and counts its time as waiting for pictures.
  template <typename Function>
  auto waiting(const Function& wait) {
    const auto asked = std::chrono::steady_clock::now();
    auto result = wait();
    waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
    return result;
  }
  double waited() const { return waited_; }

 private:
  double waited_ = 0.0;  // seconds
};

// Takes the step that the position stands before.
using TrainStep = std::function<StepResult(StepContext& context)>;

struct RunStepsOptions {
  std::int64_t steps_an_epoch = 0;
  RunParts parts;
  std::function<void(const StepReport&)> taken;  // may be empty
  std::function<bool()> should_stop;             // may be empty
};

// The steps left of the epoch at `position`, which moves with them. Checkpoints are written as often as the settings
// say; where `should_stop` says so after a step there is one more, and the result is false: the epoch has not ended.
bool take_steps(const RunSettings& settings, const RunStepsOptions& options, const TrainStep& step, RunFolder& folder,
                TensorBoardWriter& tensorboard, RunPosition& position, EpochProgress& progress);

}  // namespace convnext
