#include "kernels/pool.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool.cc"
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

void average_pool(const float* in, std::int64_t pixels, std::ptrdiff_t stride, std::ptrdiff_t channels, float* out) {
  const D d;
  const V count = hn::Set(d, static_cast<float>(pixels));
  for (std::ptrdiff_t c = 0; c < channels; c += kLanes) {
    V sum = hn::Zero(d);
    for (std::int64_t start = 0; start < pixels; start += kRun) {
      const std::int64_t end = start + kRun < pixels ? start + kRun : pixels;
      V run = hn::Zero(d);
      for (std::int64_t p = start; p < end; ++p) run = hn::Add(run, hn::LoadU(d, in + p * stride + c));
      sum = hn::Add(sum, run);
    }
    hn::StoreU(hn::Div(sum, count), d, out + c);
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext::cpu {

AveragePoolFunction average_pool_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, average_pool); }

}  // namespace convnext::cpu
#endif
