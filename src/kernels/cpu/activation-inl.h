// The activations on one vector, for the kernels of one instruction set. Included once for each of them.
#if defined(CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#undef CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// q(a) = P(normal variable > a) on [0, kGeluEnd] as a polynomial in t = 2 a / kGeluEnd - 1: the weighted minimax fit
// (weight max(a, 1/4), by Lawson's iteration on a Chebyshev basis), error 2.6e-8 before rounding. Low powers first.
inline constexpr float kGeluEnd = 5.6f;
inline constexpr float kGeluTail[18] = {
    2.555126557e-03f,  -2.216342278e-02f, 8.688084781e-02f,  -1.980774999e-01f, 2.746963203e-01f, -1.979637891e-01f,
    -2.830602042e-02f, 2.177776545e-01f,  -1.908147335e-01f, -4.837555811e-03f, 1.410108060e-01f, -8.619384468e-02f,
    -3.610565886e-02f, 5.492696539e-02f,  -2.082837513e-03f, -1.491253357e-02f, 2.166208578e-03f, 1.443984918e-03f};

template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu(D d, V x) {
  const V magnitude = hn::Abs(x);
  const V a = hn::Min(magnitude, hn::Set(d, kGeluEnd));
  const V t = hn::MulAdd(a, hn::Set(d, 2.0f / kGeluEnd), hn::Set(d, -1.0f));
  V tail = hn::Set(d, kGeluTail[17]);
  CONVNEXT_UNROLL
  for (int power = 16; power >= 0; --power) tail = hn::MulAdd(tail, t, hn::Set(d, kGeluTail[power]));
  // (x + |x|) / 2 is max(x, 0), and NaN where x is.
  const V positive = hn::Mul(hn::Set(d, 0.5f), hn::Add(x, magnitude));
  return hn::NegMulAdd(a, tail, positive);
}

// x / (1 + exp(-z)). Beyond 88 exp(-z) would overflow, and the quotient is nothing already.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gated(D d, V x, V z) {
  const V decay = hn::Exp(d, hn::Min(hn::Neg(z), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), decay));
}

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_tanh(D d, V x) {
  const V cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  return gated(d, x, hn::Mul(hn::Mul(x, hn::Set(d, 1.5957691216f)), cubic));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu(D d, V x) {
  return gated(d, x, x);
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
