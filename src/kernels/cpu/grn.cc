#include "kernels/grn.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/grn.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr std::ptrdiff_t kLanes = static_cast<std::ptrdiff_t>(hn::MaxLanes(D()));
constexpr std::int64_t kRun = 64;

}  // namespace

void grn_sums(const float* map, std::int64_t pixels, std::ptrdiff_t stride, std::ptrdiff_t first, std::ptrdiff_t last,
              float* sums) {
  const D d;
  for (std::ptrdiff_t c = first; c < last; c += kLanes) hn::StoreU(hn::Zero(d), d, sums + c);
  for (std::int64_t start = 0; start < pixels; start += kRun) {
    const std::int64_t end = start + kRun < pixels ? start + kRun : pixels;
    for (std::ptrdiff_t c = first; c < last; c += kLanes) {
      V run = hn::Zero(d);
      for (std::int64_t p = start; p < end; ++p) {
        const V x = hn::LoadU(d, map + p * stride + c);
        run = hn::MulAdd(x, x, run);
      }
      hn::StoreU(hn::Add(hn::LoadU(d, sums + c), run), d, sums + c);
    }
  }
}

void grn_apply(const PackedGrn& op, const float* factors, std::int64_t pixels, float* map, std::ptrdiff_t stride) {
  const D d;
  const auto padded = static_cast<std::ptrdiff_t>(op.bias.size());
  for (std::int64_t p = 0; p < pixels; ++p) {
    float* pixel = map + p * stride;
    for (std::ptrdiff_t c = 0; c < padded; c += kLanes) {
      const V bias = hn::Load(d, op.bias.data() + c);
      hn::StoreU(hn::MulAdd(hn::LoadU(d, pixel + c), hn::LoadU(d, factors + c), bias), d, pixel + c);
    }
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/padding.h"

namespace convnext::cpu {

GrnSumsFunction grn_sums_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, grn_sums); }
GrnApplyFunction grn_apply_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, grn_apply); }

PackedGrn pack_grn(Isa isa, int channels, std::span<const float> weight, std::span<const float> bias) {
  PackedGrn op;
  op.channels = channels;
  const auto padded = static_cast<std::size_t>(padded_channels(channels, isa));
  op.weight = AlignedFloats(padded);
  op.bias = AlignedFloats(padded);
  std::copy(weight.begin(), weight.end(), op.weight.data());
  std::copy(bias.begin(), bias.end(), op.bias.data());
  return op;
}

void grn_factors(const PackedGrn& op, std::span<float> sums) {
  double mean = 0;
  for (std::size_t c = 0; c < static_cast<std::size_t>(op.channels); ++c) {
    mean += std::sqrt(double{sums[c]}) / op.channels;
  }
  for (std::size_t c = 0; c < sums.size(); ++c) {
    sums[c] = static_cast<float>(1 + op.weight.data()[c] * std::sqrt(double{sums[c]}) / (mean + kGrnEps));
  }
}

}  // namespace convnext::cpu
#endif
