#include "kernels/activation.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#include "kernels/cpu/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

template <class Function>
HWY_INLINE void apply(float* values, std::size_t count, Function function) {
  const D d;
  const std::size_t step = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + step <= count; i += step) hn::StoreU(function(hn::LoadU(d, values + i)), d, values + i);
  if (i == count) return;
  HWY_ALIGN float tail[hn::MaxLanes(d)] = {};
  for (std::size_t k = i; k < count; ++k) tail[k - i] = values[k];
  hn::Store(function(hn::Load(d, tail)), d, tail);
  for (std::size_t k = i; k < count; ++k) values[k] = tail[k - i];
}

}  // namespace

void activation(Activation kind, float* values, std::size_t count) {
  switch (kind) {
    case Activation::kGelu:
      apply(values, count, [](V x) HWY_ATTR { return gelu(D(), x); });
      break;
    case Activation::kGeluTanh:
      apply(values, count, [](V x) HWY_ATTR { return gelu_tanh(D(), x); });
      break;
    case Activation::kSilu:
      apply(values, count, [](V x) HWY_ATTR { return silu(D(), x); });
      break;
  }
}

void coarse_gelu_of(float* values, std::size_t count) {
  apply(values, count, [](V x) HWY_ATTR { return coarse_gelu(D(), x); });
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace convnext::cpu {

ActivationFunction activation_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, activation); }
CoarseGeluFunction coarse_gelu_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, coarse_gelu_of); }

}  // namespace convnext::cpu
#endif
