#include "kernels/narrow.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/narrow.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {

__attribute__((target(HWY_TARGET_STR ",avx512bf16"))) void narrow(std::int64_t rows, int inputs, const float* in,
                                                                  std::ptrdiff_t in_stride, const Bfloat16Rows& out) {
  constexpr int kLanes = 16;
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* row = in + m * in_stride;
    std::uint16_t* narrowed = out.values + m * out.stride;
    for (int k = 0; k < inputs; k += 2 * kLanes) {
      const int left = inputs - k < 2 * kLanes ? inputs - k : 2 * kLanes;
      const __mmask32 valid = left == 2 * kLanes ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
      const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid), row + k);
      const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid >> kLanes), row + k + kLanes);
      _mm512_storeu_si512(narrowed + k, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace convnext::cpu {

NarrowFunction narrow_for(Isa isa) {
#if HWY_TARGETS & HWY_AVX3
  if (isa == Isa::kAvx512Bf16 || isa == Isa::kAmx) return &N_AVX3::narrow;
#endif
  throw_not_compiled("narrow", isa);
}

}  // namespace convnext::cpu
#endif
