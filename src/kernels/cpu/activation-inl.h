// The activations on one vector, for the kernels of one instruction set. Included once for each of them.
#if defined(CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#undef CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define CONVNEXT_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <iterator>

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

#if HWY_TARGET == HWY_AVX3
// The half of erf(|x| / sqrt(2)) by cells of |x|, a lane each, in place of the quotient: a permutation picks the terms
// of a cell, without a division. Cell k reaches from (k - 1/2) to (k + 1/2) widths, the last to the end, where the sum
// is 1/2 to the last bit. Minimax fits, which tools/fit_gelu.py prints; low powers first.
struct GeluCells {
  static constexpr float kEnd = 5.2f;
  static constexpr float kWidth = 3.357004523e-01f;
  static constexpr float kCellsInOne = 2.978846073e+00f;
  // Powers of the distance from the centre; 6.1e-8 before rounding.
  alignas(64) static constexpr float kTerms[5][16] = {
      {2.544942923e-09f, 1.314516068e-01f, 2.490174174e-01f, 3.430569768e-01f, 4.103319347e-01f, 4.533754587e-01f,
       4.780058861e-01f, 4.906108677e-01f, 4.963800609e-01f, 4.987415671e-01f, 4.996060431e-01f, 4.998890460e-01f,
       4.999719262e-01f, 4.999936223e-01f, 4.999986887e-01f, 4.999998510e-01f},
      {3.989415169e-01f, 3.770827055e-01f, 3.184374869e-01f, 2.402534485e-01f, 1.619467884e-01f, 9.752845019e-02f,
       5.247414485e-02f, 2.522394620e-02f, 1.083259098e-02f, 4.156247247e-03f, 1.424681279e-03f, 4.362933978e-04f,
       1.193661446e-04f, 2.917574420e-05f, 6.370849405e-06f, 1.242857365e-06f},
      {3.630078572e-05f, -6.329216063e-02f, -1.068977043e-01f, -1.209780052e-01f, -1.087301522e-01f, -8.185061812e-02f,
       -5.284710601e-02f, -2.963736840e-02f, -1.454650704e-02f, -6.278974004e-03f, -2.391514136e-03f, -8.056371589e-04f,
       -2.404619445e-04f, -6.367491005e-05f, -1.497446738e-05f, -3.129200422e-06f},
      {-6.709764153e-02f, -5.550712347e-02f, -2.910237387e-02f, 4.265861935e-04f, 2.146054804e-02f, 2.937006205e-02f,
       2.666012011e-02f, 1.901283488e-02f, 1.125357021e-02f, 5.669298116e-03f, 2.464861143e-03f, 9.327931912e-04f,
       3.090057289e-04f, 8.996212273e-05f, 2.308472722e-05f, 5.228817372e-06f},
      {4.152137786e-03f, 1.510921400e-02f, 2.255403064e-02f, 1.992225274e-02f, 1.084129326e-02f, 1.304038102e-03f,
       -4.589201882e-03f, -6.191689055e-03f, -5.096093286e-03f, -3.212628188e-03f, -1.657699700e-03f, -7.212740602e-04f,
       -2.689564135e-04f, -8.681028703e-05f, -2.441418292e-05f, -6.051325727e-06f},
  };
};
struct CoarseGeluCells {
  static constexpr float kEnd = 4.2f;
  static constexpr float kCellsInOne = 3.688095331e+00f;
  // Powers of |x| itself, with the weight |x|; 5.7e-5 at the end, 3.4e-5 elsewhere.
  alignas(64) static constexpr float kTerms[3][16] = {
      {-7.464072041e-06f, -1.157530700e-03f, -7.789833006e-03f, -1.780648343e-02f, -2.021714114e-02f, -1.331087435e-03f,
       4.658241197e-02f, 1.204593405e-01f, 2.081306577e-01f, 2.944663763e-01f, 3.675803542e-01f, 4.219215810e-01f,
       4.578306973e-01f, 4.791156650e-01f, 4.905049801e-01f, 4.960299432e-01f},
      {3.997994065e-01f, 4.130822718e-01f, 4.453489482e-01f, 4.754151702e-01f, 4.812345505e-01f, 4.509034157e-01f,
       3.870123327e-01f, 3.032798767e-01f, 2.169754803e-01f, 1.418910474e-01f, 8.495318145e-02f, 4.664421082e-02f,
       2.352166362e-02f, 1.090875175e-02f, 4.658307415e-03f, 1.841522870e-03f},
      {-1.475586742e-02f, -5.401608720e-02f, -9.359195083e-02f, -1.162160411e-01f, -1.196755841e-01f, -1.074899733e-01f,
       -8.617701381e-02f, -6.243985891e-02f, -4.119242728e-02f, -2.486298792e-02f, -1.377537940e-02f, -7.022507023e-03f,
       -3.299711738e-03f, -1.430968870e-03f, -5.733263097e-04f, -2.133976377e-04f},
  };
};

// Beyond the end x / 2 is added to |x| / 2, which is x or nothing, and of NaN NaN, whatever cell it falls in.
template <class Cells, bool kFromCentre, class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_by_cells(D d, V x) {
  constexpr int kTerms = static_cast<int>(std::size(Cells::kTerms));
  const V to_integer = hn::Set(d, 12582912.0f);  // what is added to it is rounded, and stands in its low bits
  const V size = hn::Abs(x);
  const V inside = hn::Min(hn::Set(d, Cells::kEnd), size);
  const V rounded = hn::MulAdd(inside, hn::Set(d, Cells::kCellsInOne), to_integer);
  const hn::Indices512<float> cell{hn::BitCast(hn::RebindToSigned<D>(), rounded).raw};  // 4 bits of it are read
  V place = inside;
  if constexpr (kFromCentre) place = hn::NegMulAdd(hn::Sub(rounded, to_integer), hn::Set(d, Cells::kWidth), inside);
  V sum = hn::TableLookupLanes(hn::Load(d, Cells::kTerms[kTerms - 1]), cell);
  CONVNEXT_UNROLL
  for (int power = kTerms - 2; power >= 0; --power) {
    sum = hn::MulAdd(sum, place, hn::TableLookupLanes(hn::Load(d, Cells::kTerms[power]), cell));
  }
  return hn::MulAdd(size, sum, hn::Mul(hn::Set(d, 0.5f), x));
}
#endif

template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu(D d, V x) {
#if HWY_TARGET == HWY_AVX3
  return gelu_by_cells<GeluCells, true>(d, x);
#else
  const V square = hn::Mul(x, x);
  const V p = polynomial(d, square, kGeluP);
  const V q = polynomial(d, square, kGeluQ);
  const V erf = hn::Div(hn::Mul(x, p), q);
  const V half = hn::Mul(hn::Set(d, 0.5f), x);
  // Beyond the end the quotient means nothing. NaN is not beyond it.
  const auto beyond = hn::Gt(hn::Abs(x), hn::Set(d, kGeluEnd));
  return hn::IfThenElse(beyond, hn::Max(x, hn::Zero(d)), hn::MulAdd(half, erf, half));
#endif
}

// Half the operations. Below the end it is as at the end.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V coarse_gelu(D d, V x) {
#if HWY_TARGET == HWY_AVX3
  return gelu_by_cells<CoarseGeluCells, false>(d, x);
#elif HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  return gelu(d, x);  // here Max and Min lose NaN, which passes elsewhere as the second operand
#else
  const V above = hn::Max(hn::Set(d, -kCoarseGeluEnd), x);
  const V inside = hn::Min(hn::Set(d, kCoarseGeluEnd), above);
  const V square = hn::Mul(inside, inside);
  const V p = polynomial(d, square, kCoarseGeluP);
  const V q = polynomial(d, square, kCoarseGeluQ);
  const V erf = hn::Div(hn::Mul(inside, p), q);
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
