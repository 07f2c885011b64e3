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

// One run of a row. `in` may be read, and `values` is written, up to the next whole vector.
QuantizedRun quantize_run(int inputs, const float* in, std::uint8_t* values) {
  const D d;
  V low = hn::Zero(d);
  V high = hn::Zero(d);
  V sum = hn::Zero(d);  // finite only if all are
  const auto load = [d, in, inputs](int k) HWY_ATTR {
    const V x = hn::LoadU(d, in + k);
    if (k + kLanes <= inputs) return x;
    return hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(inputs - k)), x);
  };
  for_each_vector(
      inputs,
      [&](int k) HWY_ATTR {
        V x[kTogether];
        CONVNEXT_UNROLL
        for (int i = 0; i < kTogether; ++i) x[i] = hn::LoadU(d, in + k + i * kLanes);
        low = hn::Min(low, hn::Min(hn::Min(x[0], x[1]), hn::Min(x[2], x[3])));
        high = hn::Max(high, hn::Max(hn::Max(x[0], x[1]), hn::Max(x[2], x[3])));
        sum = hn::Add(sum, hn::Add(hn::Add(x[0], x[1]), hn::Add(x[2], x[3])));
      },
      [&](int k) HWY_ATTR {
        const V x = load(k);
        low = hn::Min(low, x);
        high = hn::Max(high, x);
        sum = hn::Add(sum, x);
      });
  const float lowest = hn::GetLane(hn::MinOfLanes(d, low));
  const float range = hn::GetLane(hn::MaxOfLanes(d, high)) - lowest;
  bool finite = std::isfinite(range);
  // Of numbers so large that their sum is none, each is asked.
  if (finite && !hn::AllTrue(d, hn::IsFinite(sum))) {
    finite = std::all_of(in, in + inputs, [](float x) { return std::isfinite(x); });
  }
  if (!finite || range < kLeastRange) {
    std::fill_n(values, round_up(inputs, kLanes), std::uint8_t{0});
    return {finite ? 0.0f : std::numeric_limits<float>::quiet_NaN(), 0};
  }
  const float steps = 255.0f / range;
  const float zero = hn::GetLane(hn::Round(hn::Set(d, -lowest * steps)));
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
      [&](int k) HWY_ATTR { store_bytes(integers(load(k)), values + k); });
  return {range / 255.0f, static_cast<std::int32_t>(zero)};
}

}  // namespace

void quantize(std::int64_t rows, int inputs, const float* in, std::ptrdiff_t in_stride, const QuantizedRows& out) {
  for (std::int64_t m = 0; m < rows; ++m) {
    for (int first = 0; first < inputs; first += kQuantizedInputs) {
      const int count = std::min(kQuantizedInputs, inputs - first);
      out.runs[m * out.run_stride + first / kQuantizedInputs] =
          quantize_run(count, in + m * in_stride + first, out.values + m * out.stride + first);
    }
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext::cpu {

QuantizeFunction quantize_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, quantize); }

}  // namespace convnext::cpu
#endif
