#include "convnext/image.h"

#include <fmt/format.h>

#include <cstring>

#include "convnext/error.h"

namespace convnext {

Image Image::from_rgb(std::span<const std::byte> bytes, int width, int height, std::size_t stride) {
  constexpr std::size_t kChannels = 3;
  if (width < 1 || height < 1) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("a picture of {} x {} pixels cannot be", width, height));
  }
  const auto rows = static_cast<std::size_t>(height);
  const std::size_t row_bytes = static_cast<std::size_t>(width) * kChannels;
  if (stride == 0) stride = row_bytes;
  if (stride < row_bytes) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("the stride is {} bytes, but a row of {} RGB pixels takes {}", stride, width, row_bytes));
  }
  // What follows the pixels of the last row may be left out.
  std::size_t needed = 0;
  if (__builtin_mul_overflow(stride, rows - 1, &needed) || __builtin_add_overflow(needed, row_bytes, &needed) ||
      bytes.size() < needed) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} bytes are too few for {} x {} RGB pixels with a stride of {}", bytes.size(), width,
                            height, stride));
  }
  Image image{.width = width, .height = height, .pixels = {}};
  image.pixels.resize(rows * row_bytes);
  for (std::size_t y = 0; y < rows; ++y) {
    std::memcpy(image.pixels.data() + y * row_bytes, bytes.data() + y * stride, row_bytes);
  }
  return image;
}

}  // namespace convnext
