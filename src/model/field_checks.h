// What validate() of every family asks of fields. All throw Error (kInvalidArgument) with the field, its value and what
// is expected; `what` is the field as a message names it: "depths", "the number of stages".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace convnext {

void check_range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high);
// For real numbers, bounds included; NaN is refused.
void check_interval(std::string_view what, double value, double low, double high);

// What a norm adds to a variance: 1e-12, the least that anybody publishes, to 1.
void check_norm_eps(std::string_view what, double value);

// One value a stage, each in the range.
void check_list(std::string_view what, const std::vector<int>& values, std::size_t stages, int low, int high);
// The same, and odd.
void check_kernels(std::string_view what, const std::vector<int>& values, std::size_t stages);

// Input channels from 1 to 64, classes from 0 to 1,000,000.
void check_ends(int input_channels, int classes);

}  // namespace convnext
