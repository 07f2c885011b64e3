// Dense convolution with a square kernel (nn.Conv2d(I, O, kernel, stride, padding)): the stem and the downsampling.
//
//   out(y, x, o) = bias(o) + sum over ky, kx, i of in(y * stride + ky - padding, x * stride + kx - padding, i)
//                                                * weight(o, i, ky, kx)
//
// What lies outside the picture counts as zero, and a window that does not fit is dropped: out = floor((in + 2 padding
// - kernel) / stride) + 1. The fast version is patch gathering followed by kernels/linear.h: in a ConvNeXt the windows
// of all but the overlapping stems do not overlap, so nothing is copied twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace convnext {

struct ConvolutionShape {
  int in_channels = 0;
  int out_channels = 0;
  int kernel = 1;
  int stride = 1;
  int padding = 0;

  // Outputs along a side of `in` pixels; 0 when the kernel does not fit.
  std::int64_t out_side(std::int64_t in) const {
    const std::int64_t room = in + 2 * std::int64_t{padding} - kernel;
    return room < 0 ? 0 : room / stride + 1;
  }
};

namespace ref {

// in (height, width, in_channels), weight (out_channels, in_channels, kernel, kernel), bias (out_channels,),
// out (out_side(height), out_side(width), out_channels). Float64 sums.
void convolution(const ConvolutionShape& shape, std::int64_t height, std::int64_t width, std::span<const float> in,
                 std::span<const float> weight, std::span<const float> bias, std::span<float> out);

}  // namespace ref

namespace cpu {

// A picture in any order of its axes: the caller's NCHW input, or an NHWC map. Strides in floats.
struct PictureView {
  const float* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  int channels = 0;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 0;
  std::ptrdiff_t channel_stride = 0;
};

// Floats of one gathered window: kernel * kernel * tap_stride.
std::ptrdiff_t window_size(const ConvolutionShape& shape, std::ptrdiff_t tap_stride);

// The windows of the outputs [first, first + count) in row-major order, one a row of `out` (count, window_size):
// (ky, kx, channel), each tap filled with zeros from in_channels to tap_stride.
void gather_windows(const ConvolutionShape& shape, const PictureView& in, std::ptrdiff_t tap_stride, std::int64_t first,
                    std::int64_t count, float* out);

// weight (O, I, k, k) as the matrix (O, window_size) that belongs to those rows.
std::vector<float> window_matrix(const ConvolutionShape& shape, std::ptrdiff_t tap_stride,
                                 std::span<const float> weight);

}  // namespace cpu
}  // namespace convnext
