#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace convnext {
namespace {

// The table whose values after the warm-up are after_warmup(i), i = 0 for the first of them.
template <typename Function>
std::vector<double> table(double base, std::int64_t steps, const Warmup& warmup, const Function& after_warmup) {
  const std::int64_t rising = std::clamp<std::int64_t>(warmup.steps, 0, steps);
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(steps));
  // NumPy's linspace, to the last digit.
  const double rise = (base - warmup.start) / static_cast<double>(std::max<std::int64_t>(rising - 1, 1));
  for (std::int64_t i = 0; i < rising; ++i) values.push_back(static_cast<double>(i) * rise + warmup.start);
  if (rising > 1) values.back() = base;
  for (std::int64_t i = 0; i < steps - rising; ++i) values.push_back(after_warmup(i, steps - rising));
  return values;
}

}  // namespace

std::int64_t steps_per_epoch(std::int64_t samples, int batch_size, int accumulation) {
  return samples / (static_cast<std::int64_t>(batch_size) * accumulation);
}

std::vector<double> cosine_schedule(double base, double final_value, std::int64_t steps, const Warmup& warmup) {
  return table(base, steps, warmup, [base, final_value](std::int64_t i, std::int64_t count) {
    const double angle = std::numbers::pi * static_cast<double>(i) / static_cast<double>(count);
    return final_value + 0.5 * (base - final_value) * (1.0 + std::cos(angle));
  });
}

std::vector<double> step_schedule(double base, double factor, std::int64_t period, std::int64_t steps,
                                  const Warmup& warmup) {
  return table(base, steps, warmup, [=](std::int64_t i, std::int64_t count) {
    return base * std::pow(factor, static_cast<double>((steps - count + i) / period));
  });
}

std::vector<double> milestone_schedule(double base, double factor, std::span<const std::int64_t> falls,
                                       std::int64_t steps, const Warmup& warmup) {
  return table(base, steps, warmup, [=](std::int64_t i, std::int64_t count) {
    const auto fallen = std::ranges::upper_bound(falls, steps - count + i) - falls.begin();
    return base * std::pow(factor, static_cast<double>(fallen));
  });
}

}  // namespace convnext
