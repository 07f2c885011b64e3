#include "image/resample.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/cpu_features.h"
#include "core/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/resample.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#ifndef CONVNEXT_IMAGE_RESAMPLE_CC_ONCE
#define CONVNEXT_IMAGE_RESAMPLE_CC_ONCE
namespace convnext {
namespace {

// What the functions for one instruction set may use: no containers, whose inline functions the linker would share.
struct PlainAxis {
  const Window* windows;
  std::size_t outputs;
  const std::int32_t* weights;
  std::size_t first_input;
  int weight_bits;
};

constexpr std::size_t kChannels = 3;
constexpr std::size_t kPadded = 4;  // bytes of a pixel in the scratch memory

}  // namespace
}  // namespace convnext
#endif

HWY_BEFORE_NAMESPACE();
namespace convnext::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<std::int32_t>;
using Bytes = hn::Rebind<std::uint8_t, D>;
using V = hn::Vec<D>;
constexpr std::size_t kLanes = hn::MaxLanes(D());
constexpr std::size_t kVectors = 4;  // sums at a time: enough to hide the latency of a multiplication
constexpr std::size_t kBlock = kVectors * kLanes;
constexpr std::size_t kRows = kBlock / kPadded;  // rows at a time, when they lie across the lanes

HWY_INLINE V add_product(V sum, const std::uint8_t* bytes, V weight) {
  return hn::Add(sum, hn::Mul(hn::PromoteTo(D(), hn::LoadU(Bytes(), bytes)), weight));
}

HWY_INLINE void store(V sum, int bits, std::uint8_t* out) {
  hn::StoreU(hn::DemoteTo(Bytes(), hn::ShiftRightSame(sum, bits)), Bytes(), out);  // saturates
}

// kRows rows side by side: (columns, kRows, 4). The fourth byte is whatever follows, and comes to nothing.
HWY_INLINE void interleave(const std::uint8_t* const* rows, std::size_t columns, std::uint8_t* to) {
  for (std::size_t x = 0; x + 1 < columns; ++x) {
    for (std::size_t r = 0; r < kRows; ++r, to += kPadded) __builtin_memcpy(to, rows[r] + x * kChannels, kPadded);
  }
  // Behind the last pixel there may be nothing.
  for (std::size_t r = 0; r < kRows; ++r, to += kPadded) {
    __builtin_memcpy(to, rows[r] + (columns - 1) * kChannels, kChannels);
  }
}

}  // namespace

// `scratch`: (in_columns, kRows, 4).
void resample_columns(const PlainAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t in_columns,
                      std::size_t rows, std::uint8_t* out, std::uint8_t* scratch) {
  const D d;
  const V half = hn::Set(d, 1 << (axis.weight_bits - 1));
  const std::size_t out_stride = axis.outputs * kChannels;
  for (std::size_t y = 0; y < rows; y += kRows) {
    const std::uint8_t* group[kRows];
    for (std::size_t r = 0; r < kRows; ++r) group[r] = in + (y + r < rows ? y + r : rows - 1) * stride;
    interleave(group, in_columns, scratch);

    const std::size_t whole = rows - y < kRows ? rows - y : kRows;
    for (std::size_t x = 0; x < axis.outputs; ++x) {
      const Window window = axis.windows[x];
      const std::uint8_t* at = scratch + (window.first - axis.first_input) * kRows * kPadded;
      const std::int32_t* const weights = axis.weights + window.weights;
      V sum0 = half, sum1 = half, sum2 = half, sum3 = half;
      for (std::size_t k = 0; k < window.count; ++k, at += kRows * kPadded) {
        const V weight = hn::Set(d, weights[k]);
        sum0 = add_product(sum0, at, weight);
        sum1 = add_product(sum1, at + kLanes, weight);
        sum2 = add_product(sum2, at + 2 * kLanes, weight);
        sum3 = add_product(sum3, at + 3 * kLanes, weight);
      }
      std::uint8_t pixels[kBlock];
      store(sum0, axis.weight_bits, pixels);
      store(sum1, axis.weight_bits, pixels + kLanes);
      store(sum2, axis.weight_bits, pixels + 2 * kLanes);
      store(sum3, axis.weight_bits, pixels + 3 * kLanes);
      std::uint8_t* to = out + y * out_stride + x * kChannels;
      // Four bytes are written at once, of which the next pixel takes the last one; a row's last pixel has no next.
      if (x + 1 < axis.outputs) {
        for (std::size_t r = 0; r < whole; ++r, to += out_stride) __builtin_memcpy(to, pixels + r * kPadded, kPadded);
      } else {
        for (std::size_t r = 0; r < whole; ++r, to += out_stride) __builtin_memcpy(to, pixels + r * kPadded, kChannels);
      }
    }
  }
}

void resample_rows(const PlainAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t values,
                   std::uint8_t* out) {
  const D d;
  const std::int32_t scalar_half = 1 << (axis.weight_bits - 1);
  const V half = hn::Set(d, scalar_half);
  for (std::size_t y = 0; y < axis.outputs; ++y, out += values) {
    const Window window = axis.windows[y];
    const std::uint8_t* const first = in + (window.first - axis.first_input) * stride;
    const std::int32_t* const weights = axis.weights + window.weights;
    std::size_t i = 0;
    for (; i + kBlock <= values; i += kBlock) {
      const std::uint8_t* at = first + i;
      V sum0 = half, sum1 = half, sum2 = half, sum3 = half;
      for (std::size_t k = 0; k < window.count; ++k, at += stride) {
        const V weight = hn::Set(d, weights[k]);
        sum0 = add_product(sum0, at, weight);
        sum1 = add_product(sum1, at + kLanes, weight);
        sum2 = add_product(sum2, at + 2 * kLanes, weight);
        sum3 = add_product(sum3, at + 3 * kLanes, weight);
      }
      store(sum0, axis.weight_bits, out + i);
      store(sum1, axis.weight_bits, out + i + kLanes);
      store(sum2, axis.weight_bits, out + i + 2 * kLanes);
      store(sum3, axis.weight_bits, out + i + 3 * kLanes);
    }
    for (; i + kLanes <= values; i += kLanes) {
      V sum = half;
      for (std::size_t k = 0; k < window.count; ++k) {
        sum = add_product(sum, first + i + k * stride, hn::Set(d, weights[k]));
      }
      store(sum, axis.weight_bits, out + i);
    }
    for (; i < values; ++i) {
      std::int32_t sum = scalar_half;
      for (std::size_t k = 0; k < window.count; ++k) sum += first[i + k * stride] * weights[k];
      sum >>= axis.weight_bits;
      out[i] = static_cast<std::uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
  }
}

constexpr std::size_t kScratchOfColumn = kRows * kPadded;

}  // namespace convnext::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext {
namespace {

PlainAxis plain(const ResampleAxis& axis) {
  return {axis.windows.data(), axis.windows.size(), axis.weights.data(), axis.first_input, axis.weight_bits};
}

std::uint8_t to_byte(std::int32_t sum, int bits) { return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255)); }

// One output pixel; `next` is from one input pixel to the next, bytes.
void resample_pixel(const ResampleAxis& axis, const Window& window, const std::uint8_t* pixel, std::size_t next,
                    std::uint8_t* out) {
  std::int32_t sums[kChannels];
  std::fill_n(sums, kChannels, 1 << (axis.weight_bits - 1));
  for (std::size_t k = 0; k < window.count; ++k, pixel += next) {
    for (std::size_t c = 0; c < kChannels; ++c) sums[c] += pixel[c] * axis.weights[window.weights + k];
  }
  for (std::size_t c = 0; c < kChannels; ++c) out[c] = to_byte(sums[c], axis.weight_bits);
}

void scalar_columns(const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t /*in_columns*/,
                    std::size_t rows, std::uint8_t* out) {
  for (std::size_t y = 0; y < rows; ++y) {
    for (const Window& window : axis.windows) {
      const std::size_t first = window.first - axis.first_input;
      resample_pixel(axis, window, in + y * stride + first * kChannels, kChannels, out);
      out += kChannels;
    }
  }
}

void scalar_rows(const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t values,
                 std::uint8_t* out) {
  for (const Window& window : axis.windows) {
    const std::uint8_t* const first = in + (window.first - axis.first_input) * stride;
    for (std::size_t i = 0; i < values; i += kChannels) resample_pixel(axis, window, first + i, stride, out + i);
    out += values;
  }
}

#define CONVNEXT_RESAMPLE_FOR(target, name)                                                                          \
  passes.push_back({name,                                                                                            \
                    [](const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t in_columns, \
                       std::size_t rows, std::uint8_t* out) {                                                        \
                      std::vector<std::uint8_t> scratch(in_columns* target::kScratchOfColumn);                       \
                      target::resample_columns(plain(axis), in, stride, in_columns, rows, out, scratch.data());      \
                    },                                                                                               \
                    [](const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t values,     \
                       std::uint8_t* out) { target::resample_rows(plain(axis), in, stride, values, out); }})

std::vector<ResamplePasses> find_passes() {
  std::vector<ResamplePasses> passes;
  [[maybe_unused]] const CpuFeatures& cpu = cpu_features();
#if HWY_TARGETS & HWY_AVX3
  if (cpu.avx512) CONVNEXT_RESAMPLE_FOR(N_AVX3, "avx512");
#endif
#if HWY_TARGETS & HWY_AVX2
  if (cpu.avx2) CONVNEXT_RESAMPLE_FOR(N_AVX2, "avx2");
#endif
#if HWY_TARGETS & HWY_NEON
  if (cpu.neon) CONVNEXT_RESAMPLE_FOR(N_NEON, "neon");
#endif
#if HWY_TARGETS & HWY_EMU128
  CONVNEXT_RESAMPLE_FOR(N_EMU128, "portable");
#elif HWY_TARGETS & HWY_SCALAR
  CONVNEXT_RESAMPLE_FOR(N_SCALAR, "portable");
#endif
  passes.push_back({"scalar", scalar_columns, scalar_rows});
  return passes;
}

#undef CONVNEXT_RESAMPLE_FOR

}  // namespace

std::span<const ResamplePasses> resample_passes() {
  static const std::vector<ResamplePasses> passes = find_passes();
  return passes;
}

}  // namespace convnext
#endif
