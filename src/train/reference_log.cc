#include "train/reference_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace convnext {
namespace {

constexpr double kLrTolerance = 0.01;

bool differ(double a, double b, double tolerance) {
  return std::fabs(a - b) > tolerance * std::max(std::fabs(a), std::fabs(b));
}

void compare_counts(std::string_view what, std::int64_t ours, const std::optional<std::int64_t>& reference,
                    std::string_view advice, std::vector<std::string>& sentences) {
  if (!reference || *reference == ours) return;
  sentences.push_back(fmt::format("{} {} here and {} in the reference: {}", what, ours, *reference, advice));
}

void compare_averages(const RunLog& reference, double ema_decay, std::vector<std::string>& sentences) {
  if (!reference.has_average) return;
  const bool average = ema_decay > 0;
  if (*reference.has_average && !average) {
    sentences.push_back("the reference keeps a moving average of the weights, and this run does not: see --ema-decay");
  } else if (!*reference.has_average && average) {
    sentences.push_back(
        fmt::format("this run keeps a moving average of the weights (--ema-decay {}), and the reference does not: "
                    "compare its model, not its average",
                    ema_decay));
  } else if (average && reference.ema_decay && differ(1 - *reference.ema_decay, 1 - ema_decay, 1e-9)) {
    sentences.push_back(
        fmt::format("the moving average's decay is {} here and {} in the reference", ema_decay, *reference.ema_decay));
  }
}

// The epochs' learning rates side by side: how many differ, and the first of them.
void compare_learning_rates(const RunLog& reference, const RunPlan& plan, std::vector<std::string>& sentences) {
  int compared = 0, different = 0;
  std::string first;
  for (const LoggedEpoch& logged : reference.epochs) {
    if (logged.epoch > plan.epochs || (!logged.lr && !logged.mean_lr)) continue;
    const auto steps = static_cast<std::size_t>(plan.steps_an_epoch);
    const auto epoch = plan.lr.subspan(static_cast<std::size_t>(logged.epoch - 1) * steps, steps);
    const double theirs = logged.lr ? *logged.lr : *logged.mean_lr;
    const double ours =
        logged.lr ? epoch.back() : std::accumulate(epoch.begin(), epoch.end(), 0.0) / static_cast<double>(steps);
    ++compared;
    if (!differ(ours, theirs, kLrTolerance)) continue;
    if (different++ == 0) {
      first = fmt::format("{} of epoch {} is {:.4g} here and {:.4g} in the reference",
                          logged.lr ? "the learning rate at the end" : "the mean learning rate", logged.epoch, ours,
                          theirs);
    }
  }
  if (different > 0) {
    sentences.push_back(fmt::format("{} ({} of {} epochs differ): see --lr, --warmup-epochs, --min-lr and --epochs",
                                    first, different, compared));
  }
}

}  // namespace

std::vector<std::string> differences(const RunLog& reference, const RunPlan& plan) {
  std::vector<std::string> sentences;
  if (plan.parameters > 0) {
    compare_counts("parameters of the network:", plan.parameters, reference.parameters,
                   "it is another network, or has other classes", sentences);
  }
  compare_counts("the effective batch is", plan.effective_batch, reference.effective_batch,
                 "it is --batch-size times --accumulate", sentences);
  compare_counts("steps an epoch are", plan.steps_an_epoch, reference.steps_an_epoch,
                 "another effective batch, or other pictures", sentences);
  compare_counts("epochs are", plan.epochs, reference.epochs.back().epoch,
                 "the learning rate falls along another curve, unless the reference was not finished", sentences);
  compare_averages(reference, plan.ema_decay, sentences);
  const bool whole =
      plan.epochs > 0 && plan.steps_an_epoch > 0 &&
      plan.lr.size() == static_cast<std::size_t>(plan.steps_an_epoch) * static_cast<std::size_t>(plan.epochs);
  if (whole) compare_learning_rates(reference, plan, sentences);
  return sentences;
}

std::optional<std::string> loss_warning(const RunLog& reference, int epoch, double train_loss) {
  const auto found = std::lower_bound(reference.epochs.begin(), reference.epochs.end(), epoch,
                                      [](const LoggedEpoch& logged, int wanted) { return logged.epoch < wanted; });
  if (found == reference.epochs.end() || found->epoch != epoch || !found->train_loss) return std::nullopt;
  const double theirs = *found->train_loss, above = train_loss - theirs;
  // The comparison is false for NaN, of which a sentence is due as well.
  if (above <= std::max(kLossTolerance * std::fabs(theirs), kSmallestLossTolerance)) return std::nullopt;
  return fmt::format("epoch {}: the training loss is {:.4f} and the reference's {:.4f}: {:.1f} % above it", epoch,
                     train_loss, theirs, 100 * above / theirs);
}

}  // namespace convnext
