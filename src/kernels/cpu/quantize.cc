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
using DU8 = hn::Rebind<std::uint8_t, D>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// One run of a row. `in` may be read, and `values` is written, up to the next whole vector.
QuantizedRun quantize_run(int inputs, const float* in, std::uint8_t* values) {
  const D d;
  const V zeros = hn::Zero(d);
  V low = zeros;
  V high = zeros;
  V sum = zeros;  // finite only if all are
  const auto look = [&](V x) HWY_ATTR {
    low = hn::Min(low, x);
    high = hn::Max(high, x);
    sum = hn::Add(sum, x);
  };
  const auto load = [d, in, inputs](int k) HWY_ATTR {
    const V x = hn::LoadU(d, in + k);
    if (k + kLanes <= inputs) return x;
    return hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(inputs - k)), x);
  };
  for (int k = 0; k < inputs; k += kLanes) look(load(k));
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
  const V steps = hn::Set(d, 255.0f / range);
  const V zero = hn::Round(hn::Mul(hn::Set(d, -lowest), steps));
  for (int k = 0; k < inputs; k += kLanes) {
    // Narrowing saturates at 0 and 255.
    const auto integers = hn::NearestInt(hn::Add(hn::Mul(load(k), steps), zero));
    hn::StoreU(hn::DemoteTo(DU8(), integers), DU8(), values + k);
  }
  return {range / 255.0f, static_cast<std::int32_t>(hn::GetLane(zero))};
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
