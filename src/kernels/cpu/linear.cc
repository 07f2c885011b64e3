#include "kernels/linear.h"

#include <algorithm>

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#include "kernels/cpu/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
// 16 registers: 12 sums, 2 of weights, 1 of input. 32: 24, 3, 1.
#if HWY_TARGET == HWY_AVX2
constexpr int kMaxRows = 6;
constexpr int kMaxVectors = 2;
#else
constexpr int kMaxRows = 8;
constexpr int kMaxVectors = 3;
#endif

// out(r, 0..) = bias + in(r, 0..inputs) * panel (inputs, kVectors * kLanes).
template <int kRows, int kVectors>
HWY_NOINLINE void multiply_tile(int inputs, const float* HWY_RESTRICT in, std::ptrdiff_t in_stride,
                                const float* HWY_RESTRICT panel, const float* HWY_RESTRICT bias,
                                float* HWY_RESTRICT out, std::ptrdiff_t out_stride) {
  const D d;
  V sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Load(d, bias + v * kLanes);
  }
  for (int k = 0; k < inputs; ++k) {
    V weights[kVectors];
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) weights[v] = hn::Load(d, panel + v * kLanes);
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = hn::Set(d, in[r * in_stride + k]);
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(x, weights[v], sums[r][v]);
    }
    panel += kVectors * kLanes;
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, out + r * out_stride + v * kLanes);
  }
}

// The instance for `rows`, which is at most kRows.
template <int kRows, int kVectors>
void multiply_rows(std::int64_t rows, int inputs, const float* in, std::ptrdiff_t in_stride, const float* panel,
                   const float* bias, float* out, std::ptrdiff_t out_stride) {
  if (rows == kRows) {
    multiply_tile<kRows, kVectors>(inputs, in, in_stride, panel, bias, out, out_stride);
  } else if constexpr (kRows > 1) {
    multiply_rows<kRows - 1, kVectors>(rows, inputs, in, in_stride, panel, bias, out, out_stride);
  }
}

template <class Function>
HWY_INLINE void for_each_vector(std::int64_t rows, int columns, float* out, std::ptrdiff_t stride, Function function) {
  const D d;
  for (std::int64_t m = 0; m < rows; ++m) {
    for (int n = 0; n < columns; n += kLanes) {
      float* place = out + m * stride + n;
      hn::StoreU(function(hn::LoadU(d, place), m * stride + n), d, place);
    }
  }
}

void finish(const LinearCall& call, int first_column, int columns) {
  float* out = call.out + first_column;
  switch (call.epilogue) {
    case Epilogue::kNone:
      break;
    case Epilogue::kGelu:
      for_each_vector(call.rows, columns, out, call.out_stride,
                      [](V x, std::ptrdiff_t) HWY_ATTR { return gelu(D(), x); });
      break;
    case Epilogue::kGeluTanh:
      for_each_vector(call.rows, columns, out, call.out_stride,
                      [](V x, std::ptrdiff_t) HWY_ATTR { return gelu_tanh(D(), x); });
      break;
    case Epilogue::kSilu:
      for_each_vector(call.rows, columns, out, call.out_stride,
                      [](V x, std::ptrdiff_t) HWY_ATTR { return silu(D(), x); });
      break;
    case Epilogue::kResidual: {
      const float* residual = call.residual + first_column;
      for_each_vector(call.rows, columns, out, call.out_stride, [residual](V x, std::ptrdiff_t at) HWY_ATTR {
        return hn::Add(x, hn::LoadU(D(), residual + at));
      });
      break;
    }
  }
}

template <int kVectors>
void multiply_panel(const PackedLinear& op, const LinearCall& call, const float* panel, int first_column) {
  // Rows are spread evenly over the tiles: a last tile of one row would take as long as a full one.
  const std::int64_t tiles = (call.rows + kMaxRows - 1) / kMaxRows;
  std::int64_t row = 0;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t rows = call.rows / tiles + (t < call.rows % tiles ? 1 : 0);
    multiply_rows<kMaxRows, kVectors>(rows, op.inputs, call.in + row * call.in_stride, call.in_stride, panel,
                                      op.bias.data() + first_column, call.out + row * call.out_stride + first_column,
                                      call.out_stride);
    row += rows;
  }
  finish(call, first_column, kVectors * kLanes);
}

}  // namespace

void linear(const PackedLinear& op, const LinearCall& call) {
  const int padded_outputs = static_cast<int>(op.bias.size());
  for (int p = call.first_panel; p < call.last_panel; ++p) {
    const int column = p * op.panel_columns;
    const float* panel = op.weight.data() + static_cast<std::ptrdiff_t>(column) * op.inputs;
    const int left = padded_outputs - column;
    const int vectors = (left < op.panel_columns ? left : op.panel_columns) / kLanes;
    if (vectors == 1) multiply_panel<1>(op, call, panel, column);
    if (vectors == 2) multiply_panel<2>(op, call, panel, column);
    if constexpr (kMaxVectors == 3) {
      if (vectors == 3) multiply_panel<3>(op, call, panel, column);
    }
  }
}

int panel_vectors() { return kMaxVectors; }

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/padding.h"

namespace convnext::cpu {
namespace {

int (*panel_vectors_for(Isa isa))() { CONVNEXT_RETURN_FOR(isa, panel_vectors); }

}  // namespace

LinearFunction linear_for(Isa isa) { CONVNEXT_RETURN_FOR(isa, linear); }

Epilogue epilogue_of(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return Epilogue::kGelu;
    case Activation::kGeluTanh:
      return Epilogue::kGeluTanh;
    case Activation::kSilu:
      break;
  }
  return Epilogue::kSilu;
}

PackedLinear pack_linear(Isa isa, int inputs, int outputs, std::span<const float> weight, std::span<const float> bias,
                         std::span<const float> scale) {
  PackedLinear op;
  op.inputs = inputs;
  op.outputs = outputs;
  op.panel_columns = panel_vectors_for(isa)() * lanes(isa);
  const auto padded = static_cast<std::size_t>(padded_channels(outputs, isa));
  const auto depth = static_cast<std::size_t>(inputs);
  const auto panel_columns = static_cast<std::size_t>(op.panel_columns);
  op.weight = AlignedFloats(padded * depth);
  op.bias = AlignedFloats(padded);
  for (std::size_t first = 0; first < static_cast<std::size_t>(outputs); first += panel_columns) {
    const std::size_t columns = std::min(panel_columns, padded - first);
    const std::size_t used = std::min(columns, static_cast<std::size_t>(outputs) - first);
    float* panel = op.weight.data() + first * depth;
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t n = 0; n < used; ++n) {
        const float factor = scale.empty() ? 1.0f : scale[first + n];
        panel[k * columns + n] = weight[(first + n) * depth + k] * factor;
      }
    }
  }
  for (std::size_t n = 0; n < static_cast<std::size_t>(outputs); ++n) {
    op.bias.data()[n] = bias[n] * (scale.empty() ? 1.0f : scale[n]);
  }
  return op;
}

}  // namespace convnext::cpu
#endif
