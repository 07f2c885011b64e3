// Values by optimiser step, made into tables before the first one (cosine_scheduler in the authors' utils.py).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace convnext {

// Steps of the optimiser in an epoch, each along the gradients of `accumulation` batches; batches that do not make a
// whole step are left out.
std::int64_t steps_per_epoch(std::int64_t samples, int batch_size, int accumulation);

// Rises from `warmup_start` to `base` over the first `warmup_steps` of a table: the last of them is `base` itself, the
// only one is `warmup_start`. All tables begin so.
struct Warmup {
  std::int64_t steps = 0;
  double start = 0.0;
};

// Falls along half a cosine towards `final_value`, which the step after the last would reach:
//   final + (base - final) / 2 * (1 + cos(pi * i / M)), i = 0 .. M - 1, M = steps - warmup.steps.
std::vector<double> cosine_schedule(double base, double final_value, std::int64_t steps, const Warmup& warmup = {});

// Multiplied by `factor` every `period` steps, counted from the first of the table: the ResNets' recipe with a tenth
// every 30 epochs.
std::vector<double> step_schedule(double base, double factor, std::int64_t period, std::int64_t steps,
                                  const Warmup& warmup = {});

// The same after each of `falls`, ascending, counted in steps from the first: the detectors' recipe.
std::vector<double> milestone_schedule(double base, double factor, std::span<const std::int64_t> falls,
                                       std::int64_t steps, const Warmup& warmup = {});

}  // namespace convnext
