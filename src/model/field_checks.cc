#include "model/field_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "convnext/error.h"

namespace convnext {
namespace {

template <typename T>
void check(std::string_view what, T value, T low, T high) {
  if (!(value >= low && value <= high)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} is {}, expected {} to {}", what, value, low, high));
  }
}

}  // namespace

void check_range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high) {
  check(what, value, low, high);
}

void check_interval(std::string_view what, double value, double low, double high) { check(what, value, low, high); }

void check_norm_eps(std::string_view what, double value) { check(what, value, 1e-12, 1.0); }

void check_list(std::string_view what, const std::vector<int>& values, std::size_t stages, int low, int high) {
  if (values.size() != stages) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} has {} values ({}), but there are {} stages", what,
                                                         values.size(), fmt::join(values, ","), stages));
  }
  for (const int value : values) check<std::int64_t>(what, value, low, high);
}

void check_kernels(std::string_view what, const std::vector<int>& values, std::size_t stages) {
  check_list(what, values, stages, 1, 31);
  for (const int kernel : values) {
    if (kernel % 2 == 0) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{} holds {}, but a kernel is odd: it is centred on its pixel", what, kernel));
    }
  }
}

void check_ends(int input_channels, int classes) {
  check<std::int64_t>("input_channels", input_channels, 1, 64);
  check<std::int64_t>("classes", classes, 0, 1'000'000);
}

}  // namespace convnext
