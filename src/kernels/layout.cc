#include "kernels/layout.h"

#include <algorithm>

namespace convnext {
namespace {

constexpr std::int64_t kPixels = 64;
constexpr int kChannels = 16;  // one cache line of a pixel

}  // namespace

void nchw_to_nhwc(const float* in, int channels, std::int64_t pixels, float* out, std::ptrdiff_t out_stride) {
  for (std::int64_t first = 0; first < pixels; first += kPixels) {
    const std::int64_t last = std::min(first + kPixels, pixels);
    for (int c = 0; c < channels; ++c) {
      for (std::int64_t p = first; p < last; ++p) out[p * out_stride + c] = in[c * pixels + p];
    }
  }
}

void nhwc_to_nchw(const float* in, std::ptrdiff_t in_stride, int first, int last, std::int64_t pixels, float* out) {
  for (int c0 = first; c0 < last; c0 += kChannels) {
    for (std::int64_t p0 = 0; p0 < pixels; p0 += kPixels) {
      const std::int64_t p1 = std::min(p0 + kPixels, pixels);
      for (int c = c0; c < std::min(c0 + kChannels, last); ++c) {
        for (std::int64_t p = p0; p < p1; ++p) out[c * pixels + p] = in[p * in_stride + c];
      }
    }
  }
}

}  // namespace convnext
