// Values by optimiser step, made into a table before the first one (cosine_scheduler in the authors' utils.py).
#pragma once

#include <cstdint>
#include <vector>

namespace convnext {

// Rises from 0 to `base` over the first `warmup_steps` (the last of them is `base` itself), then falls along half a
// cosine towards `final_value`, which the step after the last would reach:
//   final + (base - final) / 2 * (1 + cos(pi * i / M)), i = 0 .. M - 1, M = steps - warmup_steps.
std::vector<double> cosine_schedule(double base, double final_value, std::int64_t steps, std::int64_t warmup_steps);

}  // namespace convnext
