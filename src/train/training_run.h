// A training run, whatever is learned in it: its folder, where it begins, its epochs, and how it ends.
#pragma once

#include <functional>
#include <string>

#include "train/run_folder.h"
#include "train/run_settings.h"
#include "train/run_steps.h"
#include "train/tensorboard.h"

namespace convnext {

// What a run has at hand while it goes.
struct OpenRun {
  RunFolder& folder;
  TensorBoardWriter& tensorboard;
  RunPosition& position;
};

// What a task brings to its run.
struct TrainingTask {
  // Must be the same where a run goes on, as JSON objects.
  std::string settings;
  std::string card;
  RunParts parts;
  std::function<void(const std::string& line)> message;  // may be empty
  // Before the first step of a run that begins at the beginning.
  std::function<void(OpenRun& run)> draw_samples{};
  // The steps left of an epoch, and its evaluation. False when it was asked to stop and has saved where it is.
  std::function<bool(OpenRun& run)> train_epoch{};
  // Log, model and checkpoint of the epoch, after which `position` stands.
  std::function<void(OpenRun& run)> keep_results{};
  // After the last epoch.
  std::function<void(const RunFolder& folder)> draw_curves{};
};

// `settings_text` is what goes into settings.toml. With `settings.resume` a checkpoint is taken back into the task's
// parts, and the log cut to it. The task's `message` hears where the run goes on, which checkpoint was passed over, and
// what keeps the end from being that of the unbroken run bit for bit: other threads, instruction set, libtorch or
// device. Throws Error as RunFolder, and what the task throws.
RunEnd run_training(const RunSettings& settings, const std::string& settings_text, int threads,
                    const TrainingTask& task);

// The same for a trainer whose epochs are told of by a Report, and `epoch`, which may be empty, hears of each. `task`
// has its first four fields; the others are the trainer's draw_samples(run), train_epoch(run, report), which is false
// when it was stopped, evaluate_epoch(report), keep_results(run, report) and draw_curves(folder).
template <class Report, class Trainer>
RunEnd run_training(const RunSettings& settings, const std::string& settings_text, int threads, TrainingTask task,
                    Trainer& trainer, const std::function<void(const Report&)>& epoch) {
  Report report;
  task.draw_samples = [&](OpenRun& run) { trainer.draw_samples(run); };
  task.train_epoch = [&](OpenRun& run) {
    report = {};
    if (!trainer.train_epoch(run, report)) return false;
    trainer.evaluate_epoch(report);
    return true;
  };
  task.keep_results = [&](OpenRun& run) {
    trainer.keep_results(run, report);
    if (epoch) epoch(report);
  };
  task.draw_curves = [&](const RunFolder& folder) { trainer.draw_curves(folder); };
  return run_training(settings, settings_text, threads, task);
}

}  // namespace convnext
