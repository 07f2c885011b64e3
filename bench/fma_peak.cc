#include "bench/fma_peak.h"

#include <chrono>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/fma_peak.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// `repeats` times 12 independent multiply-adds, more than any core has on the way at once; returns how many operations
// that is. `sum` keeps the compiler from leaving them out.
double burst(long repeats, float* sum) {
  const hn::ScalableTag<float> d;
  constexpr int kChains = 12;
  hn::Vec<decltype(d)> chains[kChains];
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) chains[i] = hn::Set(d, *sum + static_cast<float>(i));
  const auto factor = hn::Set(d, 0.999f);
  const auto term = hn::Set(d, 0.5f);
  for (long r = 0; r < repeats; ++r) {
    CONVNEXT_UNROLL
    for (int i = 0; i < kChains; ++i) chains[i] = hn::MulAdd(chains[i], factor, term);
  }
  auto total = hn::Zero(d);
  CONVNEXT_UNROLL
  for (int i = 0; i < kChains; ++i) total = hn::Add(total, chains[i]);
  *sum = hn::GetLane(hn::SumOfLanes(d, total));
  return 2.0 * kChains * static_cast<double>(hn::Lanes(d)) * static_cast<double>(repeats);
}

}  // namespace convnext::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext {
namespace {

double (*burst_for(Isa isa))(long, float*) { CONVNEXT_RETURN_FOR(isa, burst); }

}  // namespace

double fma_peak(Isa isa) {
  const auto function = burst_for(isa);
  volatile float seed = 1.0f;
  float sum = seed;
  const auto start = std::chrono::steady_clock::now();
  const double operations = function(2'500'000, &sum);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  seed = sum;
  return operations * 1e-9 / time.count();
}

}  // namespace convnext
#endif
