#include "kernels/depthwise.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/depthwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// 16 registers: 7 sums, 7 weights, 1 of input. 32: 14, 7, 1. 7 and 14 divide the widths of most maps at 224.
#if HWY_TARGET == HWY_AVX2
constexpr int kMaxColumns = 7;
#else
constexpr int kMaxColumns = 14;
#endif

// One vector of channels of a picture.
struct ChannelBlock {
  const float* in;
  std::ptrdiff_t row_stride;
  std::ptrdiff_t pixel_stride;
  std::int64_t height;
  std::int64_t width;
  const float* weight;  // (kernel * kernel, kLanes)
  const float* bias;
};

// Outputs (y, x .. x + kColumns) for a kernel whose size is known to the compiler. `kInside`: no tap lies to the left
// or to the right of the picture.
template <int kKernel, int kColumns, bool kInside>
HWY_NOINLINE void convolve(const ChannelBlock& block, std::int64_t y, std::int64_t x, float* HWY_RESTRICT out,
                           std::ptrdiff_t out_stride) {
  constexpr int kHalf = kKernel / 2;
  const D d;
  V sums[kColumns];
  CONVNEXT_UNROLL
  for (int o = 0; o < kColumns; ++o) sums[o] = hn::Load(d, block.bias);
  const int first = y < kHalf ? static_cast<int>(kHalf - y) : 0;
  const int last = y + kHalf >= block.height ? static_cast<int>(block.height + kHalf - y) : kKernel;
  const std::int64_t width = block.width;
  const std::ptrdiff_t pixel_stride = block.pixel_stride;
  for (int i = first; i < last; ++i) {
    const float* row = block.in + (y + i - kHalf) * block.row_stride + (x - kHalf) * pixel_stride;
    const float* taps = block.weight + std::ptrdiff_t{i} * kKernel * kLanes;
    V weights[kKernel];
    CONVNEXT_UNROLL
    for (int j = 0; j < kKernel; ++j) weights[j] = hn::Load(d, taps + std::ptrdiff_t{j} * kLanes);
    CONVNEXT_UNROLL
    for (int column = 0; column < kColumns + kKernel - 1; ++column) {
      const std::int64_t in_x = x + column - kHalf;
      if (!kInside && (in_x < 0 || in_x >= width)) continue;
      const V pixel = hn::Load(d, row + column * pixel_stride);
      CONVNEXT_UNROLL
      for (int j = 0; j < kKernel; ++j) {
        const int o = column - j;
        if (o >= 0 && o < kColumns) sums[o] = hn::MulAdd(pixel, weights[j], sums[o]);
      }
    }
  }
  CONVNEXT_UNROLL
  for (int o = 0; o < kColumns; ++o) hn::StoreU(sums[o], d, out + o * out_stride);
}

// The same for any kernel, one output at a time.
void convolve_any(int kernel, const ChannelBlock& block, std::int64_t y, std::int64_t x, float* out) {
  const D d;
  const int half = kernel / 2;
  V sum = hn::Load(d, block.bias);
  for (int i = 0; i < kernel; ++i) {
    const std::int64_t in_y = y + i - half;
    if (in_y < 0 || in_y >= block.height) continue;
    for (int j = 0; j < kernel; ++j) {
      const std::int64_t in_x = x + j - half;
      if (in_x < 0 || in_x >= block.width) continue;
      const V pixel = hn::Load(d, block.in + in_y * block.row_stride + in_x * block.pixel_stride);
      sum = hn::MulAdd(pixel, hn::Load(d, block.weight + (std::ptrdiff_t{i} * kernel + j) * kLanes), sum);
    }
  }
  hn::StoreU(sum, d, out);
}

// The instance for `columns`, which is at most kColumns.
template <int kKernel, int kColumns>
void convolve_columns(std::int64_t columns, const ChannelBlock& block, std::int64_t y, std::int64_t x, float* out,
                      std::ptrdiff_t out_stride) {
  if (columns == kColumns) {
    if (x >= kKernel / 2 && x + kColumns + kKernel / 2 <= block.width) {
      convolve<kKernel, kColumns, true>(block, y, x, out, out_stride);
    } else {
      convolve<kKernel, kColumns, false>(block, y, x, out, out_stride);
    }
  } else if constexpr (kColumns > 1) {
    convolve_columns<kKernel, kColumns - 1>(columns, block, y, x, out, out_stride);
  }
}

// Outputs (y, x .. x + count).
void convolve_row(int kernel, const ChannelBlock& block, std::int64_t y, std::int64_t x, std::int64_t count, float* out,
                  std::ptrdiff_t out_stride) {
  if (kernel != 3 && kernel != 5 && kernel != 7) {
    for (std::int64_t o = 0; o < count; ++o) convolve_any(kernel, block, y, x + o, out + o * out_stride);
    return;
  }
  const std::int64_t pieces = (count + kMaxColumns - 1) / kMaxColumns;
  for (std::int64_t p = 0; p < pieces; ++p) {
    const std::int64_t columns = count / pieces + (p < count % pieces ? 1 : 0);
    if (kernel == 3) convolve_columns<3, kMaxColumns>(columns, block, y, x, out, out_stride);
    if (kernel == 5) convolve_columns<5, kMaxColumns>(columns, block, y, x, out, out_stride);
    if (kernel == 7) convolve_columns<7, kMaxColumns>(columns, block, y, x, out, out_stride);
    x += columns;
    out += columns * out_stride;
  }
}

}  // namespace

void depthwise(const PackedDepthwise& op, std::int64_t height, std::int64_t width, const float* in,
               std::ptrdiff_t in_stride, std::int64_t first, std::int64_t count, float* out,
               std::ptrdiff_t out_stride) {
  // Channels that share cache lines go side by side over the picture: what one brings, the others find.
  constexpr int kLine = kLanes < 16 ? 16 : kLanes;
  const int taps = op.kernel * op.kernel;
  const int channels = static_cast<int>(op.bias.size());
  const std::int64_t last = first + count;
  for (int line = 0; line < channels; line += kLine) {
    std::int64_t position = first;
    while (position < last) {
      const std::int64_t y = position / width;
      const std::int64_t row_end = (y + 1) * width < last ? (y + 1) * width : last;
      for (int c = line; c < line + kLine && c < channels; c += kLanes) {
        const ChannelBlock block{in + c,
                                 width * in_stride,
                                 in_stride,
                                 height,
                                 width,
                                 op.weight.data() + static_cast<std::ptrdiff_t>(c) * taps,
                                 op.bias.data() + c};
        convolve_row(op.kernel, block, y, position - y * width, row_end - position,
                     out + (position - first) * out_stride + c, out_stride);
      }
      position = row_end;
    }
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/padding.h"

namespace convnext::cpu {

DepthwiseFunction depthwise_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, depthwise); }

PackedDepthwise pack_depthwise(Isa isa, int kernel, int channels, std::span<const float> weight,
                               std::span<const float> bias) {
  PackedDepthwise op;
  op.kernel = kernel;
  op.channels = channels;
  const auto taps = static_cast<std::size_t>(kernel) * static_cast<std::size_t>(kernel);
  const auto block = static_cast<std::size_t>(lanes(isa));
  const auto padded = static_cast<std::size_t>(padded_channels(channels, isa));
  op.weight = AlignedFloats(padded * taps);
  op.bias = AlignedFloats(padded);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    float* place = op.weight.data() + c / block * taps * block + c % block;
    for (std::size_t tap = 0; tap < taps; ++tap) place[tap * block] = weight[c * taps + tap];
    op.bias.data()[c] = bias[c];
  }
  return op;
}

}  // namespace convnext::cpu
#endif
