#include "kernels/convolution.h"

#include <algorithm>

namespace convnext::cpu {
namespace {

// The first row or column of a window, and how much of it lies inside of a side: [begin, end), from there on.
struct Extent {
  std::int64_t first;
  std::int64_t begin;
  std::int64_t end;

  Extent(const ConvolutionShape& shape, std::int64_t position, std::int64_t side)
      : first(position * shape.stride - shape.padding),
        begin(std::clamp<std::int64_t>(-first, 0, shape.kernel)),
        end(std::clamp<std::int64_t>(side - first, begin, shape.kernel)) {}
};

// Calls gather(top, left, out) for each window.
template <class Gather>
void for_each_window(const ConvolutionShape& shape, const PictureView& in, std::int64_t first, std::int64_t count,
                     std::ptrdiff_t size, float* out, const Gather& gather) {
  const std::int64_t out_width = shape.out_side(in.width);
  if (out_width == 0) return;
  std::int64_t row = first / out_width;
  std::int64_t column = first % out_width;
  for (std::int64_t left = count; left > 0; ++row, column = 0) {
    const Extent y(shape, row, in.height);
    for (; column < out_width && left > 0; ++column, --left, out += size) {
      gather(y, Extent(shape, column, in.width), out);
    }
  }
}

// kKernel is the shape's kernel, or 0 where it is none of those that are compiled by themselves: a copy of a few floats
// is then as few instructions.
template <int kKernel>
void gather_planar(const ConvolutionShape& shape, const PictureView& in, std::int64_t first, std::int64_t count,
                   std::ptrdiff_t size, float* out) {
  const int kernel = kKernel == 0 ? shape.kernel : kKernel;
  for_each_window(shape, in, first, count, size, out, [&](const Extent& y, const Extent& x, float* window) {
    const bool whole = y.end - y.begin == kernel && x.end - x.begin == kernel;
    if (!whole) std::fill_n(window, size, 0.0f);
    for (int c = 0; c < in.channels; ++c) {
      const float* corner = in.data + c * in.channel_stride + y.first * in.row_stride + x.first;
      if (whole) {
        for (int ky = 0; ky < kernel; ++ky, window += kernel) {
          const float* from = corner + ky * in.row_stride;
          std::copy_n(from, kernel, window);
          __builtin_prefetch(from + kernel * in.row_stride);  // of the window below: rows are too short to be foreseen
        }
      } else {
        for (std::int64_t ky = y.begin; ky < y.end; ++ky) {
          std::copy(corner + ky * in.row_stride + x.begin, corner + ky * in.row_stride + x.end,
                    window + ky * kernel + x.begin);
        }
        window += kernel * kernel;
      }
    }
  });
}

void gather_pixels(const ConvolutionShape& shape, const WindowLayout& layout, const PictureView& in, std::int64_t first,
                   std::int64_t count, float* out) {
  for_each_window(shape, in, first, count, layout.size, out, [&](const Extent& y, const Extent& x, float* window) {
    for (int ky = 0; ky < shape.kernel; ++ky) {
      for (int kx = 0; kx < shape.kernel; ++kx, window += layout.tap_stride) {
        int c = 0;
        if (ky >= y.begin && ky < y.end && kx >= x.begin && kx < x.end) {
          c = in.channels;
          std::copy_n(in.data + (y.first + ky) * in.row_stride + (x.first + kx) * in.column_stride, c, window);
        }
        std::fill(window + c, window + layout.tap_stride, 0.0f);
      }
    }
  });
}

}  // namespace

WindowLayout planar_windows(const ConvolutionShape& shape) {
  const std::ptrdiff_t taps = std::ptrdiff_t{shape.kernel} * shape.kernel;
  return {true, 1, taps, taps * shape.in_channels};
}

WindowLayout pixel_windows(const ConvolutionShape& shape, std::ptrdiff_t pixel_stride) {
  return {false, pixel_stride, 1, std::ptrdiff_t{shape.kernel} * shape.kernel * pixel_stride};
}

void gather_windows(const ConvolutionShape& shape, const WindowLayout& layout, const PictureView& in,
                    std::int64_t first, std::int64_t count, float* out) {
  if (!layout.planar) return gather_pixels(shape, layout, in, first, count, out);
  switch (shape.kernel) {
    case 2:
      return gather_planar<2>(shape, in, first, count, layout.size, out);
    case 3:
      return gather_planar<3>(shape, in, first, count, layout.size, out);
    case 4:
      return gather_planar<4>(shape, in, first, count, layout.size, out);
    default:
      return gather_planar<0>(shape, in, first, count, layout.size, out);
  }
}

std::vector<float> window_matrix(const ConvolutionShape& shape, const WindowLayout& layout,
                                 std::span<const float> weight) {
  const auto size = static_cast<std::size_t>(layout.size);
  const auto taps = static_cast<std::size_t>(shape.kernel) * static_cast<std::size_t>(shape.kernel);
  const auto in_channels = static_cast<std::size_t>(shape.in_channels);
  const auto out_channels = static_cast<std::size_t>(shape.out_channels);
  std::vector<float> matrix(out_channels * size);
  for (std::size_t o = 0; o < out_channels; ++o) {
    for (std::size_t i = 0; i < in_channels; ++i) {
      for (std::size_t tap = 0; tap < taps; ++tap) {
        matrix[o * size + tap * static_cast<std::size_t>(layout.tap_stride) +
               i * static_cast<std::size_t>(layout.channel_stride)] = weight[(o * in_channels + i) * taps + tap];
      }
    }
  }
  return matrix;
}

}  // namespace convnext::cpu
