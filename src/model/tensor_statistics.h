// What the numbers of a tensor are like: to find a weight that is broken without running the network.
#pragma once

#include <cstdint>

#include "convnext/tensor.h"

namespace convnext {

// Least, greatest, mean and standard deviation (divided by the count) are of the finite elements; 0 without any.
struct TensorStatistics {
  std::int64_t count = 0;
  std::int64_t nans = 0;
  std::int64_t infinities = 0;
  double least = 0.0;
  double greatest = 0.0;
  double mean = 0.0;
  double deviation = 0.0;

  bool all_finite() const { return nans == 0 && infinities == 0; }
};

// Of elements of any type, unaligned too; booleans are 0 and 1.
TensorStatistics tensor_statistics(const ConstTensorView& tensor);

// Whether no element is a NaN or an infinity: what all_finite() says, and much faster to tell.
bool is_finite(const ConstTensorView& tensor);

}  // namespace convnext
