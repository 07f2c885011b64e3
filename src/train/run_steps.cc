#include "train/run_steps.h"

#include <nlohmann/json.hpp>

namespace convnext {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

std::string progress_to_json(const EpochProgress& progress) {
  nlohmann::ordered_json json = {{"epoch", progress.epoch},
                                 {"epochs", progress.epochs},
                                 {"steps", progress.steps},
                                 {"steps_an_epoch", progress.steps_an_epoch},
                                 {"effective_batch", progress.effective_batch},
                                 {"ema_decay", progress.ema_decay},
                                 {"lr", progress.lr},
                                 {"train_loss", progress.train_loss},
                                 {"seconds", progress.seconds},
                                 {"pictures_per_second", progress.pictures_per_second},
                                 {"waited", progress.waited}};
  if (progress.gradient_norm > 0) json["gradient_norm"] = progress.gradient_norm;
  return json.dump();
}

void chart_progress(const EpochProgress& progress, TensorBoardWriter& tensorboard) {
  tensorboard.scalar("epoch/train_loss", progress.steps, progress.train_loss);
  tensorboard.scalar("epoch/pictures_per_second", progress.steps, progress.pictures_per_second);
  tensorboard.scalar("epoch/waited", progress.steps, progress.waited);
}

bool take_steps(const RunSettings& settings, const RunStepsOptions& options, const TrainStep& step, RunFolder& folder,
                TensorBoardWriter& tensorboard, RunPosition& position, EpochProgress& progress) {
  const Clock::time_point start = Clock::now();
  Clock::time_point saved = start;
  progress.epoch = position.epochs_done + 1;
  progress.epochs = settings.epochs;
  progress.steps_an_epoch = options.steps_an_epoch;
  progress.effective_batch = settings.effective_batch();
  progress.ema_decay = settings.ema_decay;
  const std::int64_t first = position.steps_of_epoch;
  StepContext context;
  while (position.steps_of_epoch < options.steps_an_epoch) {
    const StepResult result = step(context);
    ++position.steps;
    ++position.steps_of_epoch;
    position.loss_sum += result.loss;
    progress.gradient_norm = result.gradient_norm;
    progress.lr = result.lr;
    tensorboard.scalar("train/loss", position.steps, result.loss);
    tensorboard.scalar("train/lr", position.steps, result.lr);
    if (result.gradient_norm > 0) tensorboard.scalar("train/gradient_norm", position.steps, result.gradient_norm);
    if (options.taken) {
      options.taken({progress.epoch, position.steps_of_epoch, options.steps_an_epoch, progress.effective_batch,
                     result.loss, result.lr});
    }
    const bool stop = options.should_stop && options.should_stop();
    const bool epoch_ends = position.steps_of_epoch == options.steps_an_epoch;
    if (stop || (!epoch_ends && seconds_since(saved) >= 60 * settings.checkpoint_minutes)) {
      folder.save(position, options.parts);
      saved = Clock::now();
    }
    if (stop) return false;
  }
  progress.steps = position.steps;
  progress.train_loss = position.loss_sum / static_cast<double>(options.steps_an_epoch);
  progress.seconds = seconds_since(start);
  progress.pictures_per_second =
      static_cast<double>((options.steps_an_epoch - first) * settings.effective_batch()) / progress.seconds;
  progress.waited = context.waited() / progress.seconds;
  return true;
}

}  // namespace convnext
