// Between the order of the public functions, NCHW, and that of the kernels, NHWC. Nothing is computed, so there is one
// version for all backends; both read and write in blocks that stay in the first-level cache.
#pragma once

#include <cstddef>
#include <cstdint>

namespace convnext {

// One picture: in (channels, pixels) to out (pixels, channels), rows out_stride floats apart.
void nchw_to_nhwc(const float* in, int channels, std::int64_t pixels, float* out, std::ptrdiff_t out_stride);

// Channels [first, last) of one picture: in (pixels, channels), rows in_stride floats apart, to out (channels, pixels).
void nhwc_to_nchw(const float* in, std::ptrdiff_t in_stride, int first, int last, std::int64_t pixels, float* out);

}  // namespace convnext
