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

// erf(x / sqrt(2)) = x P(x^2) / Q(x^2) on [-kGeluEnd, kGeluEnd]: the weighted minimax fit (weight max(|x|, 1/4), by
// Lawson's iteration on the linearised quotient), error 1.8e-8 before rounding. Low powers first; Q begins with 1.
inline constexpr float kGeluEnd = 5.2f;
inline constexpr float kGeluP[6] = {7.978842854e-01f, 6.671445817e-02f, 9.315111674e-03f,
                                    3.303038829e-04f, 1.292512388e-05f, 4.807817078e-08f};
inline constexpr float kGeluQ[6] = {
    1.0f, 2.502794862e-01f, 2.838999219e-02f, 1.863398240e-03f, 7.316630217e-05f, 1.242985377e-06f};

// The same to 6.3e-5, with sums that are exactly 1 at the end, for what is rounded to 8 bits or to bfloat16.
inline constexpr float kCoarseGeluEnd = 4.2f;
inline constexpr float kCoarseGeluP[3] = {7.969267960e-01f, 9.094303100e-02f, 6.004215680e-03f};
inline constexpr float kCoarseGeluQ[4] = {1.0f, 2.779793140e-01f, 3.082450290e-02f, 4.439143810e-04f};

// 1 / q to 2^-14 at least.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V coarse_reciprocal(D d, V q) {
#if HWY_TARGET == HWY_AVX3
  return hn::ApproximateReciprocal(q);
#else
  return hn::Div(hn::Set(d, 1.0f), q);
#endif
}

// 1 / q to a rounding or two. A division of 16 lanes holds up AVX-512's units longer than the rest of the activation.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V reciprocal(D d, V q) {
  const V r = coarse_reciprocal(d, q);
#if HWY_TARGET == HWY_AVX3
  return hn::MulAdd(r, hn::NegMulAdd(q, r, hn::Set(d, 1.0f)), r);
#else
  return r;
#endif
}

// The polynomial of these coefficients, low powers first.
template <std::size_t kCount, class D, class V = hn::Vec<D>>
HWY_INLINE V polynomial(D d, V x, const float (&coefficients)[kCount]) {
  V sum = hn::Set(d, coefficients[kCount - 1]);
  CONVNEXT_UNROLL
  for (int power = static_cast<int>(kCount) - 2; power >= 0; --power) {
    sum = hn::MulAdd(sum, x, hn::Set(d, coefficients[power]));
  }
  return sum;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu(D d, V x) {
  const V square = hn::Mul(x, x);
  const V p = polynomial(d, square, kGeluP);
  const V q = polynomial(d, square, kGeluQ);
  const V erf = hn::Mul(hn::Mul(x, p), reciprocal(d, q));
  const V half = hn::Mul(hn::Set(d, 0.5f), x);
  // Beyond the end the quotient means nothing. NaN is not beyond it.
  const auto beyond = hn::Gt(hn::Abs(x), hn::Set(d, kGeluEnd));
  return hn::IfThenElse(beyond, hn::Max(x, hn::Zero(d)), hn::MulAdd(half, erf, half));
}

// Half the operations. Below the end it is as at the end.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V coarse_gelu(D d, V x) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  return gelu(d, x);  // here Max and Min lose NaN, which passes elsewhere as the second operand
#else
  const V above = hn::Max(hn::Set(d, -kCoarseGeluEnd), x);
  const V inside = hn::Min(hn::Set(d, kCoarseGeluEnd), above);
  const V square = hn::Mul(inside, inside);
  const V p = polynomial(d, square, kCoarseGeluP);
  const V q = polynomial(d, square, kCoarseGeluQ);
  const V erf = hn::Mul(hn::Mul(inside, p), coarse_reciprocal(d, q));
  const V half = hn::Mul(hn::Set(d, 0.5f), above);
  return hn::MulAdd(half, erf, half);
#endif
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
