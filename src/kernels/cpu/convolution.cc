#include "kernels/convolution.h"

#include <algorithm>

namespace convnext::cpu {

std::ptrdiff_t window_size(const ConvolutionShape& shape, std::ptrdiff_t tap_stride) {
  return std::ptrdiff_t{shape.kernel} * shape.kernel * tap_stride;
}

void gather_windows(const ConvolutionShape& shape, const PictureView& in, std::ptrdiff_t tap_stride, std::int64_t first,
                    std::int64_t count, float* out) {
  const std::int64_t out_width = shape.out_side(in.width);
  if (out_width == 0) return;
  for (std::int64_t position = first; position < first + count; ++position) {
    const std::int64_t top = position / out_width * shape.stride - shape.padding;
    const std::int64_t left = position % out_width * shape.stride - shape.padding;
    for (std::int64_t y = top; y < top + shape.kernel; ++y) {
      for (std::int64_t x = left; x < left + shape.kernel; ++x) {
        int c = 0;
        if (y >= 0 && y < in.height && x >= 0 && x < in.width) {
          const float* pixel = in.data + y * in.row_stride + x * in.column_stride;
          if (in.channel_stride == 1) {
            std::copy_n(pixel, in.channels, out);
            c = in.channels;
          } else {
            for (; c < in.channels; ++c) out[c] = pixel[c * in.channel_stride];
          }
        }
        std::fill(out + c, out + tap_stride, 0.0f);
        out += tap_stride;
      }
    }
  }
}

std::vector<float> window_matrix(const ConvolutionShape& shape, std::ptrdiff_t tap_stride,
                                 std::span<const float> weight) {
  const auto window = static_cast<std::size_t>(window_size(shape, tap_stride));
  const auto taps = static_cast<std::size_t>(shape.kernel) * static_cast<std::size_t>(shape.kernel);
  const auto in_channels = static_cast<std::size_t>(shape.in_channels);
  const auto out_channels = static_cast<std::size_t>(shape.out_channels);
  std::vector<float> matrix(out_channels * window);
  for (std::size_t o = 0; o < out_channels; ++o) {
    for (std::size_t i = 0; i < in_channels; ++i) {
      for (std::size_t tap = 0; tap < taps; ++tap) {
        matrix[o * window + tap * static_cast<std::size_t>(tap_stride) + i] =
            weight[(o * in_channels + i) * taps + tap];
      }
    }
  }
  return matrix;
}

}  // namespace convnext::cpu
