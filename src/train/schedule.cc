#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace convnext {

std::vector<double> cosine_schedule(double base, double final_value, std::int64_t steps, std::int64_t warmup_steps) {
  warmup_steps = std::clamp<std::int64_t>(warmup_steps, 0, steps);
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(steps));
  for (std::int64_t i = 0; i < warmup_steps; ++i) {
    const double last = static_cast<double>(std::max<std::int64_t>(warmup_steps - 1, 1));
    values.push_back(base * static_cast<double>(i) / last);
  }
  const double falling = static_cast<double>(steps - warmup_steps);
  for (std::int64_t i = 0; i < steps - warmup_steps; ++i) {
    const double angle = std::numbers::pi * static_cast<double>(i) / falling;
    values.push_back(final_value + 0.5 * (base - final_value) * (1.0 + std::cos(angle)));
  }
  return values;
}

}  // namespace convnext
