#include "kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/targets.h"
#include "kernels/padding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantize.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#include "kernels/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using DI32 = hn::RebindToSigned<D>;
using DU8 = hn::Rebind<std::uint8_t, D>;
using V = hn::Vec<D>;
using VI32 = hn::Vec<DI32>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// Vectors whose integers are made bytes together.
constexpr int kTogether = 4;
constexpr int kRowsTogether = HWY_TARGET == HWY_AVX2 ? 2 : 4;

void store_bytes(VI32 integers, std::uint8_t* out) { hn::StoreU(hn::DemoteTo(DU8(), integers), DU8(), out); }

// kTogether vectors as bytes, saturated. x86 packs each 16 bytes of its registers by themselves, so the order comes
// last.
HWY_INLINE void store_bytes(const VI32 (&integers)[kTogether], std::uint8_t* out) {
#if HWY_TARGET == HWY_AVX3
  const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(integers[0].raw, integers[1].raw),
                                            _mm512_packs_epi32(integers[2].raw, integers[3].raw));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, bytes));
#elif HWY_TARGET == HWY_AVX2
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(integers[0].raw, integers[1].raw),
                                            _mm256_packs_epi32(integers[2].raw, integers[3].raw));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(bytes, order));
#else
  CONVNEXT_UNROLL
  for (int i = 0; i < kTogether; ++i) store_bytes(integers[i], out + i * kLanes);
#endif
}

// Calls four(k) where kTogether whole vectors of [0, inputs) begin, and one(k) for each vector of what is left.
template <class Four, class One>
HWY_INLINE void for_each_vector(int inputs, const Four& four, const One& one) {
  int k = 0;
  for (; k + kTogether * kLanes <= inputs; k += kTogether * kLanes) four(k);
  for (; k < inputs; k += kLanes) one(k);
}

// The vector that begins with input k, zeros behind the last of `inputs`.
HWY_INLINE V load_inputs(int inputs, const float* in, int k) {
  const D d;
  const V x = hn::LoadU(d, in + k);
  if (k + kLanes <= inputs) return x;
  return hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(inputs - k)), x);
}

// What the inputs of a run span, zero among them.
struct Span {
  float lowest;
  float range;  // NaN unless all are finite
};

// Of kRows rows side by side.
template <int kRows>
HWY_INLINE void find_spans(int inputs, const float* in, std::ptrdiff_t stride, Span (&spans)[kRows]) {
  const D d;
  V low[kRows];
  V high[kRows];
  V sum[kRows];  // finite only if all are
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) low[r] = high[r] = sum[r] = hn::Zero(d);
  for_each_vector(
      inputs,
      [&](int k) HWY_ATTR {
        CONVNEXT_UNROLL
        for (int r = 0; r < kRows; ++r) {
          V x[kTogether];
          CONVNEXT_UNROLL
          for (int i = 0; i < kTogether; ++i) x[i] = hn::LoadU(d, in + r * stride + k + i * kLanes);
          low[r] = hn::Min(low[r], hn::Min(hn::Min(x[0], x[1]), hn::Min(x[2], x[3])));
          high[r] = hn::Max(high[r], hn::Max(hn::Max(x[0], x[1]), hn::Max(x[2], x[3])));
          sum[r] = hn::Add(sum[r], hn::Add(hn::Add(x[0], x[1]), hn::Add(x[2], x[3])));
        }
      },
      [&](int k) HWY_ATTR {
        CONVNEXT_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const V x = load_inputs(inputs, in + r * stride, k);
          low[r] = hn::Min(low[r], x);
          high[r] = hn::Max(high[r], x);
          sum[r] = hn::Add(sum[r], x);
        }
      });
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const float lowest = hn::GetLane(hn::MinOfLanes(d, low[r]));
    spans[r] = {lowest, hn::GetLane(hn::MaxOfLanes(d, high[r])) - lowest};
  }
  for (int r = 0; r < kRows; ++r) {
    if (hn::AllTrue(d, hn::IsFinite(sum[r])) && std::isfinite(spans[r].range)) continue;
    // Of numbers so large that their sum is none, each is asked.
    const float* row = in + r * stride;
    const bool finite =
        std::isfinite(spans[r].range) && std::all_of(row, row + inputs, [](float x) { return std::isfinite(x); });
    if (!finite) spans[r].range = std::numeric_limits<float>::quiet_NaN();
  }
}

// One run of a row. `in` may be read, and `values` is written, up to the next whole vector.
HWY_INLINE QuantizedRun quantize_run(int inputs, const float* in, const Span& span, std::uint8_t* values) {
  const D d;
  if (!(span.range >= kLeastRange)) {
    std::fill_n(values, round_up(inputs, kLanes), std::uint8_t{0});
    return {std::isnan(span.range) ? span.range : 0.0f, 0};
  }
  const float steps = 255.0f / span.range;
  const float zero = hn::GetLane(hn::Round(hn::Set(d, -span.lowest * steps)));
  // The sum with 2^23 has no room for a fraction: it is rounded to nearest, ties to even, and its last bits are the
  // integer. A conversion would look for overflow.
  constexpr float kNoFraction = 0x1p23f;
  const V factor = hn::Set(d, steps), shift = hn::Set(d, zero + kNoFraction);
  const auto integers = [=](V x) HWY_ATTR {
    const DI32 d32;
    return hn::Sub(hn::BitCast(d32, hn::Add(hn::Mul(x, factor), shift)), hn::BitCast(d32, hn::Set(D(), kNoFraction)));
  };
  for_each_vector(
      inputs,
      [&](int k) HWY_ATTR {
        VI32 four[kTogether];
        CONVNEXT_UNROLL
        for (int i = 0; i < kTogether; ++i) four[i] = integers(hn::LoadU(d, in + k + i * kLanes));
        store_bytes(four, values + k);
      },
      [&](int k) HWY_ATTR { store_bytes(integers(load_inputs(inputs, in, k)), values + k); });
  return {span.range / 255.0f, static_cast<std::int32_t>(zero)};
}

// Rows [first, first + kRows).
template <int kRows>
void quantize_rows(std::int64_t first, int inputs, const float* in, std::ptrdiff_t in_stride,
                   const QuantizedRows& out) {
  for (int begin = 0; begin < inputs; begin += kQuantizedInputs) {
    const int count = std::min(kQuantizedInputs, inputs - begin);
    const float* run = in + first * in_stride + begin;
    Span spans[kRows];
    find_spans<kRows>(count, run, in_stride, spans);
    for (int r = 0; r < kRows; ++r) {
      out.runs[(first + r) * out.run_stride + begin / kQuantizedInputs] =
          quantize_run(count, run + r * in_stride, spans[r], out.values + (first + r) * out.stride + begin);
    }
  }
}

}  // namespace

void quantize(std::int64_t rows, int inputs, const float* in, std::ptrdiff_t in_stride, const QuantizedRows& out) {
  for_rows_together<kRowsTogether>(
      rows, [&]<int kRows>(std::int64_t m) HWY_ATTR { quantize_rows<kRows>(m, inputs, in, in_stride, out); });
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext::cpu {

QuantizeFunction quantize_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, quantize); }

}  // namespace convnext::cpu
#endif
