#include "kernels/depthwise_gradient.h"

#include <algorithm>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/depthwise_gradient.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// Neighbouring outputs whose gradients are held in registers: with a row of 7 sums and an input, 12 of 16.
constexpr int kColumns = 4;
constexpr int kMaxKernel = 31;

// Adds to sums[j] what one row of outputs and the row of inputs that tap row i reads have in common.
template <int kKernel>
HWY_INLINE void add_row(std::int64_t width, std::ptrdiff_t stride, const float* HWY_RESTRICT in,
                        const float* HWY_RESTRICT out_gradient, V* HWY_RESTRICT row_sums) {
  constexpr int kHalf = kKernel / 2;
  const D d;
  V sums[kKernel];
  CONVNEXT_UNROLL
  for (int j = 0; j < kKernel; ++j) sums[j] = row_sums[j];
  for (std::int64_t x = 0; x < width; x += kColumns) {
    V gradients[kColumns];
    CONVNEXT_UNROLL
    for (int o = 0; o < kColumns; ++o) {
      gradients[o] = x + o < width ? hn::LoadU(d, out_gradient + (x + o) * stride) : hn::Zero(d);
    }
    CONVNEXT_UNROLL
    for (int column = 0; column < kColumns + kKernel - 1; ++column) {
      const std::int64_t in_x = x + column - kHalf;
      if (in_x < 0 || in_x >= width) continue;
      const V pixel = hn::LoadU(d, in + in_x * stride);
      CONVNEXT_UNROLL
      for (int o = 0; o < kColumns; ++o) {
        const int j = column - o;
        if (j >= 0 && j < kKernel) sums[j] = hn::MulAdd(pixel, gradients[o], sums[j]);
      }
    }
  }
  CONVNEXT_UNROLL
  for (int j = 0; j < kKernel; ++j) row_sums[j] = sums[j];
}

// The same for any kernel, a tap at a time.
void add_row_any(int kernel, std::int64_t width, std::ptrdiff_t stride, const float* in, const float* out_gradient,
                 V* row_sums) {
  const D d;
  for (int j = 0; j < kernel; ++j) {
    const std::int64_t shift = j - kernel / 2;
    V sum = row_sums[j];
    for (std::int64_t x = std::max<std::int64_t>(0, -shift); x < std::min(width, width - shift); ++x) {
      sum = hn::MulAdd(hn::LoadU(d, in + (x + shift) * stride), hn::LoadU(d, out_gradient + x * stride), sum);
    }
    row_sums[j] = sum;
  }
}

// One vector of channels, which `in` and `out_gradient` point at; lanes below `first_lane` are not stored.
void channel_block(const DepthwiseGradientShape& shape, const float* in, const float* out_gradient, int first_lane,
                   float* gradient) {
  const D d;
  const int kernel = shape.kernel;
  const int half = kernel / 2;
  const std::ptrdiff_t stride = shape.channels;
  const std::ptrdiff_t row = shape.width * stride;
  const std::ptrdiff_t picture = shape.height * row;
  for (int i = 0; i < kernel; ++i) {
    V totals[kMaxKernel];
    for (int j = 0; j < kernel; ++j) totals[j] = hn::Zero(d);
    for (std::int64_t n = 0; n < shape.pictures; ++n) {
      V sums[kMaxKernel];
      for (int j = 0; j < kernel; ++j) sums[j] = hn::Zero(d);
      for (std::int64_t y = std::max(0, half - i); y < std::min(shape.height, shape.height + half - i); ++y) {
        const float* in_row = in + n * picture + (y + i - half) * row;
        const float* gradient_row = out_gradient + n * picture + y * row;
        switch (kernel) {
          case 3:
            add_row<3>(shape.width, stride, in_row, gradient_row, sums);
            break;
          case 5:
            add_row<5>(shape.width, stride, in_row, gradient_row, sums);
            break;
          case 7:
            add_row<7>(shape.width, stride, in_row, gradient_row, sums);
            break;
          default:
            add_row_any(kernel, shape.width, stride, in_row, gradient_row, sums);
        }
      }
      for (int j = 0; j < kernel; ++j) totals[j] = hn::Add(totals[j], sums[j]);
    }
    for (int j = 0; j < kernel; ++j) {
      HWY_ALIGN float lanes[kLanes];
      hn::Store(totals[j], d, lanes);
      for (int lane = first_lane; lane < kLanes; ++lane) gradient[(lane * kernel + i) * kernel + j] = lanes[lane];
    }
  }
}

// One channel, where there are fewer than a vector.
void channel(const DepthwiseGradientShape& shape, const float* in, const float* out_gradient, float* gradient) {
  const int half = shape.kernel / 2;
  const std::int64_t stride = shape.channels;
  for (int i = 0; i < shape.kernel; ++i) {
    for (int j = 0; j < shape.kernel; ++j) {
      float total = 0;
      for (std::int64_t n = 0; n < shape.pictures; ++n) {
        float sum = 0;
        for (std::int64_t y = std::max(0, half - i); y < std::min(shape.height, shape.height + half - i); ++y) {
          const std::int64_t first = (n * shape.height + y) * shape.width;
          const std::int64_t in_first = (n * shape.height + y + i - half) * shape.width + j - half;
          for (std::int64_t x = std::max(0, half - j); x < std::min(shape.width, shape.width + half - j); ++x) {
            sum += out_gradient[(first + x) * stride] * in[(in_first + x) * stride];
          }
        }
        total += sum;
      }
      gradient[i * shape.kernel + j] = total;
    }
  }
}

}  // namespace

void depthwise_weight_gradient(const DepthwiseGradientShape& shape, const float* in, const float* out_gradient,
                               int first, int last, float* gradient) {
  const std::ptrdiff_t taps = std::ptrdiff_t{shape.kernel} * shape.kernel;
  if (shape.channels < kLanes) {
    for (int c = first; c < last; ++c) channel(shape, in + c, out_gradient + c, gradient + c * taps);
    return;
  }
  for (int c = first; c < last; c += kLanes) {
    // The last vector reaches back over channels that are done already, perhaps by another thread: they stay as they
    // are.
    const int start = std::min(c, shape.channels - kLanes);
    channel_block(shape, in + start, out_gradient + start, c - start, gradient + start * taps);
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace convnext::cpu {

DepthwiseWeightGradientFunction depthwise_weight_gradient_for(Isa isa) {
  CONVNEXT_RETURN_FOR(isa, depthwise_weight_gradient);
}

}  // namespace convnext::cpu
#endif
