// Holds a run against the log of another, so that what keeps it from giving the same result is said at its first step
// and not after its last: another effective batch, another learning rate, a moving average left out.
//
//   const RunLog reference = read_run_log("reference/log.txt");
//   for (const std::string& line : differences(reference, plan)) say(line);       // before the first step
//   if (const auto line = loss_warning(reference, epoch, train_loss)) say(*line);  // after each epoch
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/run_log.h"

namespace convnext {

// What a run is going to do.
struct RunPlan {
  int epochs = 0;
  std::int64_t steps_an_epoch = 0;   // of the optimiser
  std::int64_t effective_batch = 0;  // pictures that a step of the optimiser learns from, on all devices together
  double ema_decay = 0.0;            // 0: no moving average
  std::int64_t parameters = 0;       // of the network; 0: not known
  std::span<const double> lr;        // of each step of the whole run, steps_an_epoch * epochs
};

// A sentence for each thing in which the plan differs from the reference, as far as its log tells it. The learning rate
// is compared epoch by epoch, with that of the last step or with the mean of the epoch, whichever the log has, and to
// 1 %: the first epoch that differs is named.
std::vector<std::string> differences(const RunLog& reference, const RunPlan& plan);

// How far the training loss may lie above the reference's of the same epoch: this part of it, and this much where it is
// nearly nothing. In four epochs of a small network on a tenth of CIFAR-10 three seeds stayed within 0.8 % of each
// other, while a batch four times as large, or a learning rate four times as high, lay 3.2 % above their mean at its
// worst.
inline constexpr double kLossTolerance = 0.02;
inline constexpr double kSmallestLossTolerance = 0.02;

// A sentence when `train_loss` is further above the reference's of that epoch (1 for the first), or no number. Nothing
// when the reference is shorter or has no loss there.
std::optional<std::string> loss_warning(const RunLog& reference, int epoch, double train_loss);

}  // namespace convnext
