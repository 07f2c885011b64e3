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

// How the floats of a gathered window lie: channel i of tap (ky, kx) at (ky * kernel + kx) * tap_stride + i *
// channel_stride, zeros in between.
struct WindowLayout {
  bool planar = false;  // else of pixels
  std::ptrdiff_t tap_stride = 0;
  std::ptrdiff_t channel_stride = 0;
  std::ptrdiff_t size = 0;
};
// (channel, ky, kx), the order of the weights: for pictures whose channels are planes.
WindowLayout planar_windows(const ConvolutionShape& shape);
// (ky, kx, channel), each tap `pixel_stride` floats: for maps whose channels lie side by side.
WindowLayout pixel_windows(const ConvolutionShape& shape, std::ptrdiff_t pixel_stride);

// The windows of the outputs [first, first + count) in row-major order, one a row of `out` (count, layout.size). Planar
// windows are of pictures with a column_stride of 1, those of pixels of maps with a channel_stride of 1.
void gather_windows(const ConvolutionShape& shape, const WindowLayout& layout, const PictureView& in,
                    std::int64_t first, std::int64_t count, float* out);

// weight (O, I, k, k) as the matrix (O, layout.size) that belongs to those rows.
std::vector<float> window_matrix(const ConvolutionShape& shape, const WindowLayout& layout,
                                 std::span<const float> weight);

}  // namespace cpu
}  // namespace convnext
