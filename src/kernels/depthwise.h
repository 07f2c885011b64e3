// Depthwise convolution, stride 1, zero padding that keeps the size (paper 2.5; nn.Conv2d(C, C, k, padding=k/2,
// groups=C)), k odd.
//
//   out(y, x, c) = bias(c) + sum over i, j in 0..k-1 of in(y + i - k/2, x + j - k/2, c) * weight(c, i, j)
//
// Layout NHWC. `in` and `out` may not overlap: a pixel needs k/2 rows of neighbours. Cost k*k multiply-adds an output.
// The fast version keeps the sums of up to 8 neighbouring columns (14 with 32 registers) and one row of weights in
// registers, so that a column is loaded once a row of the kernel; taps outside the picture are skipped. The sum of an
// output runs over the kernel in reading order wherever the output lies in a tile, so tiles do not change a bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/aligned_floats.h"
#include "kernels/isa.h"

namespace convnext {

namespace ref {

// in, out (height, width, channels); weight (channels, 1, kernel, kernel); bias (channels,). Float64 sums.
void depthwise(int kernel, std::int64_t height, std::int64_t width, int channels, std::span<const float> in,
               std::span<const float> weight, std::span<const float> bias, std::span<float> out);

}  // namespace ref

namespace cpu {

struct PackedDepthwise {
  int kernel = 0;
  int channels = 0;
  AlignedFloats weight;  // (padded channels / lanes, kernel * kernel, lanes)
  AlignedFloats bias;    // (padded channels,)

  std::uint64_t bytes() const { return (weight.size() + bias.size()) * sizeof(float); }
};
PackedDepthwise pack_depthwise(Isa isa, int kernel, int channels, std::span<const float> weight,
                               std::span<const float> bias);

// Outputs [first, first + count), in row-major order, of one picture (height, width, channels) whose pixels lie
// in_stride floats apart; row i of `out` is output first + i.
using DepthwiseFunction = void (*)(const PackedDepthwise& op, std::int64_t height, std::int64_t width, const float* in,
                                   std::ptrdiff_t in_stride, std::int64_t first, std::int64_t count, float* out,
                                   std::ptrdiff_t out_stride);
DepthwiseFunction depthwise_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
