// Global average pool of one picture's map (NHWC): out(c) = mean over pixels of in(p, c).
// The fast version adds up runs of 64 pixels first, so that its error hardly grows with the size of the picture.
//
// Largest errors on any instruction set, against float64, in parts of the mean of |in|, for numbers of pixels of a
// range:
//
//   average_pool  1    64      4.5e-7  of the mean magnitude
//   average_pool  65   100000  2e-6    of the mean magnitude
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/isa.h"

namespace convnext {

namespace ref {

// in (pixels, channels), out (channels,). Float64 sums.
void average_pool(int channels, std::span<const float> in, std::span<float> out);

}  // namespace ref

namespace cpu {

// `channels` is a multiple of the vector length: padded channels give the zeros they hold.
using AveragePoolFunction = void (*)(const float* in, std::int64_t pixels, std::ptrdiff_t stride,
                                     std::ptrdiff_t channels, float* out);
AveragePoolFunction average_pool_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
