#include "metrics/distribution.h"

#include <algorithm>
#include <cstddef>

namespace convnext {

double quantile(const std::vector<double>& sorted, double p) {
  const double position = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Distribution distribution_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  Distribution result;
  result.smallest = values.front();
  result.median = quantile(values, 0.5);
  result.p95 = quantile(values, 0.95);
  result.p99 = quantile(values, 0.99);
  if (result.median > 0) result.spread = (quantile(values, 0.75) - quantile(values, 0.25)) / result.median;
  return result;
}

}  // namespace convnext
