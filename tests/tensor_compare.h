// The one comparison of float tensors in all tests.
//
//   EXPECT_TRUE(tensors_close(logits.values<float>(), golden));
//   EXPECT_TRUE(tensors_close(a.view(), b.view(), {.relative = 1e-6}));
//
// Two measures: the relative error |actual - expected| / |expected| in the L2 norm, and the largest difference of an
// element against the largest expected element. There is no bound relative to each element: float32 itself is 4e-3 off
// for the elements of a network that happen to be near zero.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>

#include "convnext/tensor.h"

namespace convnext {

struct TensorBounds {
  double relative = 5e-6;
  double largest = 1e-5;  // largest difference / largest expected
};

// Fails on different sizes, on a NaN or an infinity on either side, and where both measures are not below their bounds.
// An expectation of zeros only must be met exactly.
inline testing::AssertionResult tensors_close(std::span<const float> actual, std::span<const float> expected,
                                              const TensorBounds& bounds = {}) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " elements, expected " << expected.size();
  }
  double difference = 0;
  double magnitude = 0;
  double worst_difference = 0;
  double largest = 0;
  std::size_t worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i]) || !std::isfinite(expected[i])) {
      return testing::AssertionFailure() << "element " << i << " is " << actual[i] << ", expected " << expected[i];
    }
    const double error = std::fabs(double{actual[i]} - double{expected[i]});
    difference += error * error;
    magnitude += double{expected[i]} * double{expected[i]};
    largest = std::max(largest, std::fabs(double{expected[i]}));
    if (error > worst_difference) {
      worst_difference = error;
      worst = i;
    }
  }
  if (worst_difference == 0) return testing::AssertionSuccess();
  const double infinity = std::numeric_limits<double>::infinity();
  const double relative = magnitude > 0 ? std::sqrt(difference / magnitude) : infinity;
  const double worst_ratio = largest > 0 ? worst_difference / largest : infinity;
  if (relative < bounds.relative && worst_ratio <= bounds.largest) return testing::AssertionSuccess();
  return testing::AssertionFailure() << fmt::format(
             "relative error {:.3g} (bound {:.3g}), largest difference {:.3g} of the largest element (bound {:.3g}), "
             "at "
             "element {} of {}: {:.9g}, expected {:.9g}",
             relative, bounds.relative, worst_ratio, bounds.largest, worst, actual.size(), actual[worst],
             expected[worst]);
}

// The same for float32 tensors, whose shapes must agree too.
inline testing::AssertionResult tensors_close(const ConstTensorView& actual, const ConstTensorView& expected,
                                              const TensorBounds& bounds = {}) {
  if (actual.shape != expected.shape) {
    return testing::AssertionFailure() << "shape " << to_string(actual.shape) << ", expected "
                                       << to_string(expected.shape);
  }
  if (actual.dtype != DType::kF32 || expected.dtype != DType::kF32) {
    return testing::AssertionFailure() << "elements are " << name_of(actual.dtype) << " and " << name_of(expected.dtype)
                                       << ", expected F32";
  }
  return tensors_close(actual.values<float>(), expected.values<float>(), bounds);
}

inline testing::AssertionResult tensors_close(const Tensor& actual, const Tensor& expected,
                                              const TensorBounds& bounds = {}) {
  return tensors_close(actual.view(), expected.view(), bounds);
}

}  // namespace convnext
