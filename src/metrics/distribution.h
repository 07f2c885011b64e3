// Many measurements of one thing as a few numbers.
#pragma once

#include <vector>

namespace convnext {

struct Distribution {
  double smallest = 0.0;
  double median = 0.0;
  double p95 = 0.0;
  double p99 = 0.0;
  double spread = 0.0;  // what the middle half of the values spans, as a part of the median
};

// The value below which the part `p` in [0, 1] of `sorted` lies, in a straight line between neighbours (numpy's
// percentile). `sorted` is not empty.
double quantile(const std::vector<double>& sorted, double p);

// All zeros without values.
Distribution distribution_of(std::vector<double> values);

}  // namespace convnext
