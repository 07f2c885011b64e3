// Global average pool of one picture's map (NHWC): out(c) = mean over pixels of in(p, c).
// The fast version adds up runs of 64 pixels first: its error does not grow with the size of the picture.
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
