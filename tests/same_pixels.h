// Two pictures, byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "convnext/image.h"
#include "convnext/tensor.h"

namespace convnext {

// A golden's picture, (height, width, 3) uint8.
inline Image image_from(const Tensor& tensor) {
  const auto pixels = tensor.values<std::uint8_t>();
  return {static_cast<int>(tensor.shape()[1]), static_cast<int>(tensor.shape()[0]), {pixels.begin(), pixels.end()}};
}

// Whether all pixels are equal; if not, the first that is not.
inline testing::AssertionResult same_pixels(const Image& image, std::span<const std::uint8_t> expected, int width,
                                            int height) {
  if (image.width != width || image.height != height) {
    return testing::AssertionFailure() << image.width << " x " << image.height << ", Pillow's is " << width << " x "
                                       << height;
  }
  if (image.pixels.size() != expected.size()) {
    return testing::AssertionFailure() << image.pixels.size() << " bytes, Pillow's are " << expected.size();
  }
  const auto [ours, theirs] = std::mismatch(image.pixels.begin(), image.pixels.end(), expected.begin());
  if (ours == image.pixels.end()) return testing::AssertionSuccess();
  const auto at = static_cast<int>(ours - image.pixels.begin());
  return testing::AssertionFailure() << "channel " << at % 3 << " at (" << at / 3 % width << ", " << at / 3 / width
                                     << ") is " << int{*ours} << ", Pillow's is " << int{*theirs};
}

inline testing::AssertionResult same_pixels(const Image& image, const Image& expected) {
  return same_pixels(image, expected.pixels, expected.width, expected.height);
}

}  // namespace convnext
