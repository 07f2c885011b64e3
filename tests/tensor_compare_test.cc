#include "tests/tensor_compare.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <vector>

namespace convnext {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string message(const testing::AssertionResult& result) { return result.message(); }

TEST(TensorCompare, EqualTensorsMatch) {
  EXPECT_TRUE(tensors_close(std::vector<float>{1, -2, 3}, std::vector<float>{1, -2, 3}));
  EXPECT_TRUE(tensors_close(std::vector<float>{}, std::vector<float>{}));
  EXPECT_TRUE(tensors_close(std::vector<float>{0, 0}, std::vector<float>{0, -0.0f}));
}

TEST(TensorCompare, NanFailsOnEitherSideAndOnBoth) {
  EXPECT_FALSE(tensors_close(std::vector<float>{1, kNan}, std::vector<float>{1, 2}));
  EXPECT_FALSE(tensors_close(std::vector<float>{1, 2}, std::vector<float>{1, kNan}));
  EXPECT_FALSE(tensors_close(std::vector<float>{1, kNan}, std::vector<float>{1, kNan}));
}

TEST(TensorCompare, InfinityFailsEvenWhereItIsExpected) {
  EXPECT_FALSE(tensors_close(std::vector<float>{1, kInfinity}, std::vector<float>{1, 2}));
  EXPECT_FALSE(tensors_close(std::vector<float>{1, 2}, std::vector<float>{1, -kInfinity}));
  EXPECT_FALSE(tensors_close(std::vector<float>{1, kInfinity}, std::vector<float>{1, kInfinity}));
}

TEST(TensorCompare, OtherSizesAndShapesFail) {
  EXPECT_FALSE(tensors_close(std::vector<float>{1, 2}, std::vector<float>{1, 2, 3}));
  EXPECT_FALSE(tensors_close(std::vector<float>{}, std::vector<float>{0}));
  const auto result = tensors_close(Tensor::zeros({2, 3}), Tensor::zeros({3, 2}));
  EXPECT_FALSE(result);
  EXPECT_THAT(message(result), HasSubstr("(2, 3)"));
  EXPECT_THAT(message(result), HasSubstr("(3, 2)"));
  EXPECT_TRUE(tensors_close(Tensor::zeros({2, 3}), Tensor::zeros({2, 3})));
}

TEST(TensorCompare, OtherElementTypesFail) {
  EXPECT_FALSE(tensors_close(Tensor::zeros({2}, DType::kF64), Tensor::zeros({2}, DType::kF64)));
}

TEST(TensorCompare, ZerosMustBeMetExactly) {
  EXPECT_FALSE(tensors_close(std::vector<float>{0, 1e-30f}, std::vector<float>{0, 0}));
}

// Every element a little off: the relative error sees it, the largest difference does not.
TEST(TensorCompare, RelativeErrorIsBounded) {
  const std::vector<float> expected(1000, 1.0f);
  EXPECT_TRUE(tensors_close(std::vector<float>(1000, 1 + 4e-6f), expected));
  const auto result = tensors_close(std::vector<float>(1000, 1 + 7e-6f), expected);
  EXPECT_FALSE(result);
  EXPECT_THAT(message(result), HasSubstr("relative error"));
}

// One element of many off: the largest difference sees it, the relative error does not.
TEST(TensorCompare, LargestDifferenceIsBoundedAndItsPlaceIsNamed) {
  const std::vector<float> expected(100'000, 1.0f);
  std::vector<float> actual = expected;
  actual[777] = 1 + 9e-6f;
  EXPECT_TRUE(tensors_close(actual, expected));
  actual[777] = 1 + 3e-5f;
  const auto result = tensors_close(actual, expected);
  EXPECT_FALSE(result);
  EXPECT_THAT(message(result), HasSubstr("element 777 of 100000"));
  EXPECT_THAT(message(result), HasSubstr(": 1.00003004, expected 1"));
}

TEST(TensorCompare, BoundsAreTheCallers) {
  const std::vector<float> expected(10, 1.0f);
  const std::vector<float> actual(10, 1.001f);
  EXPECT_FALSE(tensors_close(actual, expected));
  EXPECT_FALSE(tensors_close(actual, expected, {.relative = 1e-2}));
  EXPECT_FALSE(tensors_close(actual, expected, {.largest = 1e-2}));
  EXPECT_TRUE(tensors_close(actual, expected, {.relative = 1e-2, .largest = 1e-2}));
}

}  // namespace
}  // namespace convnext
