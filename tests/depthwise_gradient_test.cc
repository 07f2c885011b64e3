// The weight gradient of the depthwise convolution, on every instruction set, against the scalar one.
#include "kernels/depthwise_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/hash.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

std::vector<float> values(std::size_t count, std::uint64_t seed) {
  std::vector<float> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = 2 * unit_float(mix(mix(seed) + i)) - 1;
  return all;
}

void expect_gradient(Isa isa, const DepthwiseGradientShape& shape) {
  const auto elements = static_cast<std::size_t>(shape.pictures * shape.height * shape.width * shape.channels);
  const std::vector<float> in = values(elements, 1), out_gradient = values(elements, 2);
  const auto size = static_cast<std::size_t>(shape.channels * shape.kernel * shape.kernel);
  std::vector<float> expected(size), whole(size), pieces(size);
  ref::depthwise_weight_gradient(shape, in, out_gradient, expected);
  const auto gradient = cpu::depthwise_weight_gradient_for(isa);
  gradient(shape, in.data(), out_gradient.data(), 0, shape.channels, whole.data());
  EXPECT_TRUE(tensors_close(whole, expected)) << name_of(isa) << ": kernel " << shape.kernel << ", " << shape.channels
                                              << " channels, " << shape.height << "x" << shape.width;
  // In pieces as threads take them, the last of them first.
  for (int first = (shape.channels - 1) / lanes(isa) * lanes(isa); first >= 0; first -= lanes(isa)) {
    gradient(shape, in.data(), out_gradient.data(), first, std::min(first + lanes(isa), shape.channels), pieces.data());
  }
  EXPECT_EQ(pieces, whole) << "the cut must not change a bit";
}

TEST(DepthwiseWeightGradient, IsRightForEveryKernelChannelTailAndMap) {
  for (const Isa isa : supported_isas()) {
    for (const int kernel : {1, 3, 5, 7, 11}) {
      for (const int channels : {1, 3, 8, 13, 16, 33}) {
        expect_gradient(isa, {.kernel = kernel, .pictures = 2, .height = 6, .width = 9, .channels = channels});
      }
    }
    for (std::int64_t side = 1; side <= 17; ++side) {
      expect_gradient(isa, {.kernel = 7, .pictures = 1, .height = 18 - side, .width = side, .channels = 17});
    }
  }
}

}  // namespace
}  // namespace convnext
