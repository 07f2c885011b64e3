// The log of a training run, ours (log.jsonl) or that of the authors' code (log.txt of facebookresearch/ConvNeXt): a
// JSON object an epoch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "plot/run_curves.h"

namespace convnext {

struct LoggedEpoch {
  int epoch = 0;  // 1 for the first
  std::optional<double> train_loss;
  std::optional<double> lr;                      // of the last step: ours
  std::optional<double> mean_lr;                 // of all steps: the authors'
  std::optional<double> model_loss, model_top1;  // on the pictures held out; top-1 in percent
  std::optional<double> average_loss, average_top1;
  std::optional<double> seconds;  // of its steps: ours
};

// Members are empty where the log does not tell.
struct RunLog {
  std::filesystem::path path;
  std::vector<LoggedEpoch> epochs;  // ascending, at least one
  std::optional<std::int64_t> effective_batch;
  std::optional<std::int64_t> steps_an_epoch;
  std::optional<std::int64_t> parameters;
  std::optional<bool> has_average;  // whether a moving average of the weights was kept
  std::optional<double> ema_decay;
};

// Where an epoch stands twice, as after a restart, the later one counts; a last line that was cut off is left out.
// Throws Error, kDamaged with the line that is not an epoch of such a log.
RunLog read_run_log(const std::filesystem::path& path);

RunCurves curves_of(const RunLog& log);

}  // namespace convnext
