// Rows side by side, for the kernels of one instruction set. Included once for each of them.
#if defined(CONVNEXT_KERNELS_CPU_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONVNEXT_KERNELS_CPU_ROWS_INL_H_
#undef CONVNEXT_KERNELS_CPU_ROWS_INL_H_
#else
#define CONVNEXT_KERNELS_CPU_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {

// Calls rows<kTogether>(first row) for as many rows at a time, and rows<1>(row) for each that is left. A row alone
// waits for each step of its chain of operations to end; how many stand side by side, the registers say.
template <int kTogether, class Rows>
HWY_INLINE void for_rows_together(std::int64_t count, const Rows& rows) {
  std::int64_t m = 0;
  for (; m + kTogether <= count; m += kTogether) rows.template operator()<kTogether>(m);
  for (; m < count; ++m) rows.template operator()<1>(m);
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
