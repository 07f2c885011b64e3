#include "train/training_run.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include "io/file.h"
#include "kernels/isa.h"

namespace convnext {
namespace {

// What may make the last bits differ from those of the unbroken run; empty when nothing does.
std::string environment_change(const TrainEnvironment& before, const TrainEnvironment& now) {
  std::string changes;
  const auto compare = [&](const char* what, const std::string& old, const std::string& current) {
    if (old == current) return;
    changes += fmt::format("{}{} {} in place of {}", changes.empty() ? "" : ", ", what, current, old);
  };
  compare("threads:", std::to_string(before.threads), std::to_string(now.threads));
  compare("instruction set", before.isa, now.isa);
  compare("libtorch", before.libtorch, now.libtorch);
  compare("device", before.device, now.device);
  return changes;
}

void say(const TrainingTask& task, const std::string& line) {
  if (task.message) task.message(line);
}

// Where the run begins.
RunPosition begin(RunFolder& folder, const RunSettings& settings, int threads, const TrainingTask& task) {
  RunPosition position;
  position.settings = task.settings;
  position.card = task.card;
  position.environment = {.threads = threads,
                          .isa = std::string(name_of(supported_isas().front())),
                          .libtorch = TORCH_VERSION,
                          .device = settings.device};
  if (!settings.resume) return position;
  std::string skipped;
  const auto restored = folder.restore(settings.resume_from, position, task.parts, skipped, settings.file_limits);
  if (!skipped.empty()) say(task, "passed over a damaged checkpoint: " + skipped);
  if (!restored) {
    say(task, "no checkpoint yet: the run begins at the beginning");
    folder.cut_log(0);
    return position;
  }
  folder.cut_log(restored->steps);
  if (restored->epochs_done < settings.epochs) {
    say(task, restored->steps_of_epoch == 0 ? fmt::format("going on after epoch {}", restored->epochs_done)
                                            : fmt::format("going on after step {} of epoch {}",
                                                          restored->steps_of_epoch, restored->epochs_done + 1));
  }
  const std::string change = environment_change(restored->environment, position.environment);
  if (!change.empty()) say(task, "the run will not end bit for bit as it would have: it goes on with " + change);
  RunPosition result = *restored;
  result.environment = position.environment;
  return result;
}

}  // namespace

RunEnd run_training(const RunSettings& settings, const std::string& settings_text, int threads,
                    const TrainingTask& task) {
  RunFolder folder(settings.output, settings.resume, settings.keep_checkpoints);
  folder.make();
  RunPosition position = begin(folder, settings, threads, task);
  write_file_atomically(folder.settings_file(), settings_text);
  if (position.epochs_done >= settings.epochs) {
    say(task, fmt::format("this run has done its {} epochs: nothing is left to do", settings.epochs));
    return RunEnd::kFinished;
  }
  TensorBoardWriter tensorboard(folder.tensorboard_folder(), position.steps + 1);
  OpenRun run{folder, tensorboard, position};
  if (position.steps == 0) {
    tensorboard.text("settings", 0, settings_text);
    task.draw_samples(run);
  }
  while (position.epochs_done < settings.epochs) {
    if (!task.train_epoch(run)) {
      say(task, fmt::format("stopped after step {} of epoch {}, which is saved: --resume goes on from there",
                            position.steps_of_epoch, position.epochs_done + 1));
      return RunEnd::kStopped;
    }
    ++position.epochs_done;
    position.steps_of_epoch = 0;
    position.loss_sum = 0.0;
    position.loss_parts.clear();
    task.keep_results(run);
  }
  task.draw_curves(folder);
  return RunEnd::kFinished;
}

}  // namespace convnext
