#include "kernels/norm.h"

#include <algorithm>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#include "kernels/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// Vectors side by side in a sum, and rows side by side.
constexpr int kWays = 4;
constexpr int kRowsTogether = HWY_TARGET == HWY_AVX2 ? 2 : 4;

// sums[r] of f(row r's vector, r) over the `channels` first values, f of the zeros behind them left out. The same order
// of additions for every row, whatever it stands beside.
template <int kRows, class Function>
HWY_INLINE void sum_channels(int channels, const float* rows, std::ptrdiff_t stride, const Function& f,
                             float (&sums)[kRows]) {
  const D d;
  V ways[kRows][kWays];
  const auto add = [&](int way, int c, auto keep) HWY_ATTR {
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      ways[r][way] = hn::Add(ways[r][way], keep(f(hn::LoadU(d, rows + r * stride + c), r)));
    }
  };
  const auto whole = [](V x) HWY_ATTR { return x; };
  CONVNEXT_UNROLL
  for (int i = 0; i < kRows * kWays; ++i) ways[i / kWays][i % kWays] = hn::Zero(d);
  int c = 0;
  for (; c + kWays * kLanes <= channels; c += kWays * kLanes) {
    CONVNEXT_UNROLL
    for (int way = 0; way < kWays; ++way) add(way, c + way * kLanes, whole);
  }
  for (; c + kLanes <= channels; c += kLanes) add(0, c, whole);
  if (c < channels) {
    const auto valid = hn::FirstN(d, static_cast<std::size_t>(channels - c));
    add(1, c, [valid](V x) HWY_ATTR { return hn::IfThenElseZero(valid, x); });
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const V sum = hn::Add(hn::Add(ways[r][0], ways[r][1]), hn::Add(ways[r][2], ways[r][3]));
    sums[r] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// One number at a time: roots and divisions of whole vectors take longer.
HWY_INLINE float square_root(float x) {
  const hn::CappedTag<float, 1> one;
  return hn::GetLane(hn::Sqrt(hn::Set(one, x)));
}

template <int kRows>
void norm_rows(const PackedNorm& op, const float* in, std::ptrdiff_t in_stride, float* out, std::ptrdiff_t out_stride) {
  const D d;
  const int padded = static_cast<int>(op.weight.size());
  const auto count = static_cast<float>(op.channels);
  const float degrees = op.kind == Norm::kSimpleNorm ? count - 1 : count;
  float sums[kRows] = {};
  if (op.kind != Norm::kRmsNorm) {
    sum_channels<kRows>(
        op.channels, in, in_stride, [](V x, int) HWY_ATTR { return x; }, sums);
  }
  V means[kRows];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) means[r] = hn::Set(d, sums[r] / count);
  const auto square = [&means](V x, int r) HWY_ATTR {
    const V centred = hn::Sub(x, means[r]);
    return hn::Mul(centred, centred);
  };
  sum_channels<kRows>(op.channels, in, in_stride, square, sums);
  V scales[kRows];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    scales[r] = hn::Set(d, 1.0f / square_root(sums[r] / degrees + op.eps));
    if (op.kind != Norm::kLayerNorm) means[r] = hn::Zero(d);
  }
  for (int c = 0; c < padded; c += kLanes) {
    const V weight = hn::Load(d, op.weight.data() + c);
    const V bias = hn::Load(d, op.bias.data() + c);
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V centred = hn::Mul(hn::Sub(hn::LoadU(d, in + r * in_stride + c), means[r]), scales[r]);
      hn::StoreU(hn::MulAdd(centred, weight, bias), d, out + r * out_stride + c);
    }
  }
}

}  // namespace

void norm(const PackedNorm& op, std::int64_t rows, const float* in, std::ptrdiff_t in_stride, float* out,
          std::ptrdiff_t out_stride) {
  for_rows_together<kRowsTogether>(rows, [&]<int kRows>(std::int64_t m) HWY_ATTR {
    norm_rows<kRows>(op, in + m * in_stride, in_stride, out + m * out_stride, out_stride);
  });
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
