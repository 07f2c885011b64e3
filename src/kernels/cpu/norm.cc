#include "kernels/norm.h"

#include <algorithm>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// Vectors side by side in a sum, which would otherwise wait for each addition to end.
constexpr int kWays = 4;

// Sum over the `channels` first values of f(vector), f of the zeros behind them left out. The same order of additions
// for every row.
template <class Function>
HWY_INLINE V sum_channels(int channels, const float* row, Function function) {
  const D d;
  V sums[kWays] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int c = 0;
  for (; c + kWays * kLanes <= channels; c += kWays * kLanes) {
    CONVNEXT_UNROLL
    for (int way = 0; way < kWays; ++way) {
      sums[way] = hn::Add(sums[way], function(hn::LoadU(d, row + c + way * kLanes)));
    }
  }
  for (; c + kLanes <= channels; c += kLanes) sums[0] = hn::Add(sums[0], function(hn::LoadU(d, row + c)));
  if (c < channels) {
    const auto valid = hn::FirstN(d, static_cast<std::size_t>(channels - c));
    sums[1] = hn::Add(sums[1], hn::IfThenElseZero(valid, function(hn::LoadU(d, row + c))));
  }
  return hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

}  // namespace

void norm(const PackedNorm& op, std::int64_t rows, const float* in, std::ptrdiff_t in_stride, float* out,
          std::ptrdiff_t out_stride) {
  const D d;
  const int channels = op.channels;
  const int padded = static_cast<int>(op.weight.size());
  const V zero = hn::Zero(d);
  const V one = hn::Set(d, 1.0f);
  const V count = hn::Set(d, static_cast<float>(channels));
  const V degrees = hn::Set(d, static_cast<float>(op.kind == Norm::kSimpleNorm ? channels - 1 : channels));
  const V eps = hn::Set(d, op.eps);
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* row = in + m * in_stride;
    float* result = out + m * out_stride;
    V mean = zero;
    if (op.kind != Norm::kRmsNorm) mean = hn::Div(sum_channels(channels, row, [](V x) HWY_ATTR { return x; }), count);
    const V squares = sum_channels(channels, row, [mean](V x) HWY_ATTR {
      const V centred = hn::Sub(x, mean);
      return hn::Mul(centred, centred);
    });
    const V scale = hn::Div(one, hn::Sqrt(hn::Add(hn::Div(squares, degrees), eps)));
    const V shift = op.kind == Norm::kLayerNorm ? mean : zero;
    for (int c = 0; c < padded; c += kLanes) {
      const V centred = hn::Mul(hn::Sub(hn::LoadU(d, row + c), shift), scale);
      hn::StoreU(hn::MulAdd(centred, hn::Load(d, op.weight.data() + c), hn::Load(d, op.bias.data() + c)), d,
                 result + c);
    }
  }
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/padding.h"

namespace convnext::cpu {

NormFunction norm_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, norm); }

PackedNorm pack_norm(Isa isa, Norm kind, double eps, int channels, std::span<const float> weight,
                     std::span<const float> bias) {
  PackedNorm op;
  op.kind = kind;
  op.eps = static_cast<float>(eps);
  op.channels = channels;
  const auto padded = static_cast<std::size_t>(padded_channels(channels, isa));
  op.weight = AlignedFloats(padded);
  op.bias = AlignedFloats(padded);
  std::copy(weight.begin(), weight.end(), op.weight.data());
  std::copy(bias.begin(), bias.end(), op.bias.data());
  return op;
}

}  // namespace convnext::cpu
#endif
