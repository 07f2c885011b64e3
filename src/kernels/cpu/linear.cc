#include "kernels/linear.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/float16.h"
#include "core/int8.h"
#include "kernels/cpu/targets.h"
#include "kernels/padding.h"

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

// The panel that comes next, asked for while this one is multiplied: from the third-level cache or from memory it takes
// longer than the hardware's own prefetching looks ahead.
class UpcomingPanel {
 public:
  // `count` values from `panel` on, fetched by and by in `pieces` pieces.
  template <class T>
  UpcomingPanel(const T* panel, std::ptrdiff_t count, std::int64_t pieces)
      : at_(reinterpret_cast<const char*>(panel)),
        end_(reinterpret_cast<const char*>(panel + count)),
        lines_(pieces == 0 ? 0 : static_cast<int>((end_ - at_ + kLine * pieces - 1) / (kLine * pieces))) {}

  HWY_INLINE void fetch_piece() {
    for (int line = 0; line < lines_ && at_ < end_; ++line, at_ += kLine) {
      __builtin_prefetch(at_, 0, 2);  // to the second level: the first has no room for it
    }
  }

 private:
  static constexpr std::ptrdiff_t kLine = 64;
  const char* at_;
  const char* end_;
  int lines_;
};

// Inputs between two pieces of the upcoming panel.
constexpr int kInputsAPiece = 16;

std::int64_t pieces_of(int inputs) { return (inputs + kInputsAPiece - 1) / kInputsAPiece; }

// out(r, 0..) = begin(r, 0..) + in(r, 0..inputs) * panel (inputs, kVectors * kLanes); begin is the bias, with stride 0,
// or `out` itself.
template <int kRows, int kVectors>
HWY_NOINLINE void multiply_tile(int inputs, const float* in, std::ptrdiff_t in_stride, const float* panel,
                                const float* begin, std::ptrdiff_t begin_stride, float* out, std::ptrdiff_t out_stride,
                                UpcomingPanel& upcoming) {
  const D d;
  V sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::LoadU(d, begin + r * begin_stride + v * kLanes);
  }
  for (int first = 0; first < inputs; first += kInputsAPiece) {
    upcoming.fetch_piece();
    const int last = first + kInputsAPiece < inputs ? first + kInputsAPiece : inputs;
    for (int k = first; k < last; ++k) {
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
                   const float* begin, std::ptrdiff_t begin_stride, float* out, std::ptrdiff_t out_stride,
                   UpcomingPanel& upcoming) {
  if (rows == kRows) {
    multiply_tile<kRows, kVectors>(inputs, in, in_stride, panel, begin, begin_stride, out, out_stride, upcoming);
  } else if constexpr (kRows > 1) {
    multiply_rows<kRows - 1, kVectors>(rows, inputs, in, in_stride, panel, begin, begin_stride, out, out_stride,
                                       upcoming);
  }
}

// function(vector, place) of a panel's outputs, in place. Two rows at a time: one alone would wait for each step of its
// chain of operations to end.
template <int kVectors, class Function>
HWY_INLINE void for_each_vector(std::int64_t rows, float* out, std::ptrdiff_t stride, Function function) {
  const D d;
  std::int64_t m = 0;
  const auto some_rows = [&](auto count) HWY_ATTR {
    V values[decltype(count)::value * kVectors];
    CONVNEXT_UNROLL
    for (int i = 0; i < decltype(count)::value * kVectors; ++i) {
      const std::ptrdiff_t place = (m + i / kVectors) * stride + i % kVectors * kLanes;
      values[i] = function(hn::LoadU(d, out + place), place);
    }
    CONVNEXT_UNROLL
    for (int i = 0; i < decltype(count)::value * kVectors; ++i) {
      hn::StoreU(values[i], d, out + (m + i / kVectors) * stride + i % kVectors * kLanes);
    }
    m += decltype(count)::value;
  };
  while (m + 2 <= rows) some_rows(std::integral_constant<int, 2>());
  if (m < rows) some_rows(std::integral_constant<int, 1>());
}

template <int kVectors>
void finish(const LinearCall& call, std::ptrdiff_t out_column) {
  float* out = call.out + out_column;
  switch (call.epilogue) {
    case Epilogue::kNone:
      break;
    case Epilogue::kGelu:
      for_each_vector<kVectors>(call.rows, out, call.out_stride,
                                [](V x, std::ptrdiff_t) HWY_ATTR { return gelu(D(), x); });
      break;
    case Epilogue::kGeluTanh:
      for_each_vector<kVectors>(call.rows, out, call.out_stride,
                                [](V x, std::ptrdiff_t) HWY_ATTR { return gelu_tanh(D(), x); });
      break;
    case Epilogue::kSilu:
      for_each_vector<kVectors>(call.rows, out, call.out_stride,
                                [](V x, std::ptrdiff_t) HWY_ATTR { return silu(D(), x); });
      break;
    case Epilogue::kResidual: {
      const float* residual = call.residual + out_column;
      for_each_vector<kVectors>(call.rows, out, call.out_stride, [residual](V x, std::ptrdiff_t at) HWY_ATTR {
        return hn::Add(x, hn::LoadU(D(), residual + at));
      });
      break;
    }
  }
}

// Calls tile(first row, rows) for tiles of at most kRows rows. They are spread evenly: a last tile of one row would
// take as long as a full one.
template <int kRows, class Tile>
void for_each_tile(std::int64_t rows, const Tile& tile) {
  const std::int64_t tiles = (rows + kRows - 1) / kRows;
  for (std::int64_t t = 0, row = 0; t < tiles; ++t) {
    const std::int64_t count = rows / tiles + (t < rows % tiles ? 1 : 0);
    tile(row, count);
    row += count;
  }
}

// One panel of a call.
struct Panel {
  std::ptrdiff_t column;            // its first
  std::ptrdiff_t out_column;        // the same, in the call's `out`
  std::ptrdiff_t upcoming_columns;  // of the panel behind it
};

// Adds the inputs [first, last) of `weights`, the part of a panel that begins with input `first`.
template <int kVectors>
void multiply_inputs(const PackedLinear& op, const LinearCall& call, const Panel& at, const float* weights, int first,
                     int last, UpcomingPanel& upcoming) {
  const float* bias = first == 0 ? op.bias.data() + at.column : nullptr;
  for_each_tile<kMaxRows>(call.rows, [&](std::int64_t row, std::int64_t rows) {
    float* out = call.out + row * call.out_stride + at.out_column;
    multiply_rows<kMaxRows, kVectors>(rows, last - first, call.in + row * call.in_stride + (first - call.first_input),
                                      call.in_stride, weights, bias == nullptr ? out : bias,
                                      bias == nullptr ? call.out_stride : 0, out, call.out_stride, upcoming);
  });
}

template <int kRows>
std::int64_t tiles_of(const LinearCall& call) {
  return (call.rows + kRows - 1) / kRows;
}

template <int kVectors>
void multiply_float32(const PackedLinear& op, const LinearCall& call, const Panel& at) {
  constexpr int kColumns = kVectors * kLanes;
  const float* panel = op.weight.data() + at.column * op.inputs;
  const std::ptrdiff_t inputs = call.last_input - call.first_input;
  UpcomingPanel upcoming(panel + std::ptrdiff_t{kColumns} * op.inputs + call.first_input * at.upcoming_columns,
                         inputs * at.upcoming_columns, tiles_of<kMaxRows>(call) * pieces_of(static_cast<int>(inputs)));
  multiply_inputs<kVectors>(op, call, at, panel + std::ptrdiff_t{call.first_input} * kColumns, call.first_input,
                            call.last_input, upcoming);
}

// Inputs of a panel that are widened at a time: 16 KB or 48 KB.
constexpr int kWidened = 256;
static_assert(kQuantizedInputs % 4 == 0);

template <int kVectors>
void multiply_bfloat16(const PackedLinear& op, const LinearCall& call, const Panel& at) {
  constexpr int kColumns = kVectors * kLanes;
  const D d;
  const hn::Rebind<hwy::bfloat16_t, D> narrow;
  const std::uint16_t* panel = op.bfloat16.data() + at.column * op.inputs;
  HWY_ALIGN float widened[kWidened * kColumns];
  for (int first = call.first_input; first < call.last_input; first += kWidened) {
    const int last = std::min(first + kWidened, call.last_input);
    const auto* source = reinterpret_cast<const hwy::bfloat16_t*>(panel + std::ptrdiff_t{first} * kColumns);
    for (int i = 0; i < (last - first) * kColumns; i += kLanes) {
      hn::Store(hn::PromoteTo(d, hn::LoadU(narrow, source + i)), d, widened + i);
    }
    UpcomingPanel upcoming(panel + std::ptrdiff_t{kColumns} * op.inputs + first * at.upcoming_columns,
                           (last - first) * at.upcoming_columns, tiles_of<kMaxRows>(call) * pieces_of(last - first));
    multiply_inputs<kVectors>(op, call, at, widened, first, last, upcoming);
  }
}

using DI32 = hn::RebindToSigned<D>;
using VI32 = hn::Vec<DI32>;
// A register for the product of a pair, and one of ones.
#if HWY_TARGET == HWY_AVX2
constexpr int kQuadRows = 5;
#else
constexpr int kQuadRows = 8;
#endif

// sum + the products of four bytes of `x`, unsigned, with four of `weights`, signed and at most 64, in each 32-bit
// lane.
#if HWY_TARGET == HWY_AVX2
HWY_INLINE VI32 add_quads(VI32 x, VI32 weights, VI32 sum) {
  const __m256i pairs = _mm256_maddubs_epi16(x.raw, weights.raw);
  return hn::Add(sum, VI32{_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))});
}
#elif HWY_TARGET == HWY_AVX3
HWY_INLINE VI32 add_quads(VI32 x, VI32 weights, VI32 sum) {
  const __m512i pairs = _mm512_maddubs_epi16(x.raw, weights.raw);
  return hn::Add(sum, VI32{_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))});
}
#else
HWY_INLINE VI32 add_quads(VI32 x, VI32 weights, VI32 sum) {
  const DI32 d;
  const auto low = hn::Set(d, 255);
  const auto signed_byte = [](VI32 shifted) HWY_ATTR { return hn::ShiftRight<24>(shifted); };
  sum = hn::Add(sum, hn::Mul(hn::And(x, low), signed_byte(hn::ShiftLeft<24>(weights))));
  sum = hn::Add(sum, hn::Mul(hn::And(hn::ShiftRight<8>(x), low), signed_byte(hn::ShiftLeft<16>(weights))));
  sum = hn::Add(sum, hn::Mul(hn::And(hn::ShiftRight<16>(x), low), signed_byte(hn::ShiftLeft<8>(weights))));
  return hn::Add(sum, hn::Mul(hn::And(hn::ShiftRight<24>(x), low), signed_byte(weights)));
}
#endif

// sums (kRows, kVectors * kLanes) = in (kRows, quads of inputs) * panel (quads, kVectors * kLanes, 4).
template <int kRows, int kVectors>
HWY_NOINLINE void multiply_quads(int quads, const std::uint8_t* in, std::ptrdiff_t in_stride, const std::int8_t* panel,
                                 std::int32_t* result, UpcomingPanel& upcoming) {
  const DI32 d;
  VI32 sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  for (int begin = 0; begin < quads; begin += kInputsAPiece) {
    upcoming.fetch_piece();
    const int end = begin + kInputsAPiece < quads ? begin + kInputsAPiece : quads;
    for (int k = begin; k < end; ++k) {
      VI32 weights[kVectors];
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        weights[v] = hn::Load(d, reinterpret_cast<const std::int32_t*>(panel) + v * kLanes);
      }
      CONVNEXT_UNROLL
      for (int r = 0; r < kRows; ++r) {
        std::int32_t quad;
        std::memcpy(&quad, in + r * in_stride + 4 * k, sizeof(quad));
        const VI32 x = hn::Set(d, quad);
        CONVNEXT_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = add_quads(x, weights[v], sums[r][v]);
      }
      panel += 4 * kVectors * kLanes;
    }
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, result + (r * kVectors + v) * kLanes);
  }
}

template <int kRows, int kVectors>
void multiply_quad_rows(std::int64_t rows, int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                        const std::int8_t* panel, std::int32_t* result, UpcomingPanel& upcoming) {
  if (rows == kRows) {
    multiply_quads<kRows, kVectors>(quads, in, in_stride, panel, result, upcoming);
  } else if constexpr (kRows > 1) {
    multiply_quad_rows<kRows - 1, kVectors>(rows, quads, in, in_stride, panel, result, upcoming);
  }
}

template <int kVectors>
void multiply_int8(const PackedLinear& op, const LinearCall& call, const Panel& at) {
  constexpr int kColumns = kVectors * kLanes;
  const D d;
  const DI32 d32;
  const std::ptrdiff_t all_inputs = round_up(op.inputs, 4);
  const std::int8_t* panel = op.int8.data() + at.column * all_inputs;
  const QuantizedRows& in = call.quantized;
  HWY_ALIGN std::int32_t sums[kQuadRows * kColumns];
  for (int first = call.first_input; first < call.last_input; first += kQuantizedInputs) {
    const int last = std::min(first + kQuantizedInputs, call.last_input);
    const int quads = (last - first + 3) / 4;
    const std::int32_t* weight_sums =
        op.int8_sums.data() + first / kQuantizedInputs * static_cast<std::ptrdiff_t>(op.bias.size()) + at.column;
    const std::ptrdiff_t run = (first - call.first_input) / kQuantizedInputs;
    UpcomingPanel upcoming(panel + all_inputs * kColumns + first * at.upcoming_columns, 4 * quads * at.upcoming_columns,
                           tiles_of<kQuadRows>(call) * pieces_of(quads));
    for_each_tile<kQuadRows>(call.rows, [&](std::int64_t row, std::int64_t rows) HWY_ATTR {
      multiply_quad_rows<kQuadRows, kVectors>(rows, quads, in.values + row * in.stride + (first - call.first_input),
                                              in.stride, panel + std::ptrdiff_t{first} * kColumns, sums, upcoming);
      for (std::int64_t r = 0; r < rows; ++r) {
        const QuantizedRun& stands_for = in.runs[(row + r) * in.run_stride + run];
        const V scale = hn::Set(d, stands_for.scale);
        const VI32 zero = hn::Set(d32, stands_for.zero);
        float* out = call.out + (row + r) * call.out_stride + at.out_column;
        const float* begin = first == 0 ? op.bias.data() + at.column : out;
        CONVNEXT_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          const VI32 sum = hn::Sub(hn::Load(d32, sums + (r * kVectors + v) * kLanes),
                                   hn::Mul(zero, hn::Load(d32, weight_sums + v * kLanes)));
          const V factor = hn::Mul(scale, hn::Load(d, op.scale.data() + at.column + v * kLanes));
          hn::StoreU(hn::MulAdd(hn::ConvertTo(d, sum), factor, hn::LoadU(d, begin + v * kLanes)), d, out + v * kLanes);
        }
      }
    });
  }
}

template <int kVectors>
void multiply_panel(const PackedLinear& op, const LinearCall& call, std::ptrdiff_t column) {
  const auto all_columns = static_cast<std::ptrdiff_t>(op.bias.size());
  const std::ptrdiff_t next = column + kVectors * kLanes;
  const Panel at{column, column - std::ptrdiff_t{call.first_panel} * op.panel_columns,
                 std::min<std::ptrdiff_t>(op.panel_columns, all_columns - next)};
  switch (op.format) {
    case WeightFormat::kFloat32:
      multiply_float32<kVectors>(op, call, at);
      break;
    case WeightFormat::kBfloat16:
      multiply_bfloat16<kVectors>(op, call, at);
      break;
    case WeightFormat::kInt8:
      multiply_int8<kVectors>(op, call, at);
      break;
  }
  if (call.last_input == op.inputs) finish<kVectors>(call, at.out_column);
}

}  // namespace

void linear(const PackedLinear& op, const LinearCall& call) {
  const auto padded_outputs = static_cast<std::ptrdiff_t>(op.bias.size());
  for (int p = call.first_panel; p < call.last_panel; ++p) {
    const std::ptrdiff_t column = std::ptrdiff_t{p} * op.panel_columns;
    const std::ptrdiff_t vectors = std::min<std::ptrdiff_t>(padded_outputs - column, op.panel_columns) / kLanes;
    if (vectors == 1) multiply_panel<1>(op, call, column);
    if (vectors == 2) multiply_panel<2>(op, call, column);
    if constexpr (kMaxVectors == 3) {
      if (vectors == 3) multiply_panel<3>(op, call, column);
    }
  }
}

int panel_vectors() { return kMaxVectors; }

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
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
                         std::span<const float> scale, WeightFormat format) {
  PackedLinear op;
  op.inputs = inputs;
  op.outputs = outputs;
  op.panel_columns = panel_vectors_for(isa)() * lanes(isa);
  op.format = format;
  const auto padded = static_cast<std::size_t>(padded_channels(outputs, isa));
  const auto depth = static_cast<std::size_t>(inputs);
  const std::size_t whole_quads = (depth + 3) / 4 * 4;
  const auto panel_columns = static_cast<std::size_t>(op.panel_columns);
  if (format == WeightFormat::kFloat32) op.weight = AlignedFloats(padded * depth);
  if (format == WeightFormat::kBfloat16) op.bfloat16 = AlignedArray<std::uint16_t>(padded * depth);
  if (format == WeightFormat::kInt8) {
    op.int8 = AlignedArray<std::int8_t>(padded * whole_quads);
    op.int8_sums = AlignedArray<std::int32_t>(padded * static_cast<std::size_t>(quantized_runs(inputs)));
    op.scale = AlignedFloats(padded);
  }
  op.bias = AlignedFloats(padded);
  std::vector<std::int8_t> integers(format == WeightFormat::kInt8 ? depth : 0);
  for (std::size_t first = 0; first < static_cast<std::size_t>(outputs); first += panel_columns) {
    const std::size_t columns = std::min(panel_columns, padded - first);
    const std::size_t used = std::min(columns, static_cast<std::size_t>(outputs) - first);
    if (format == WeightFormat::kInt8) {
      std::int8_t* panel = op.int8.data() + first * whole_quads;
      for (std::size_t n = 0; n < used; ++n) {
        const float factor = scale.empty() ? 1.0f : scale[first + n];
        op.scale.data()[first + n] = quantize_weights(weight.subspan((first + n) * depth, depth), integers) * factor;
        for (std::size_t k = 0; k < depth; ++k) {
          panel[(k / 4 * columns + n) * 4 + k % 4] = integers[k];
          op.int8_sums.data()[k / kQuantizedInputs * padded + first + n] += integers[k];
        }
      }
      continue;
    }
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t n = 0; n < used; ++n) {
        const float factor = scale.empty() ? 1.0f : scale[first + n];
        const float value = weight[(first + n) * depth + k] * factor;
        const std::size_t place = first * depth + k * columns + n;
        if (format == WeightFormat::kFloat32) {
          op.weight.data()[place] = value;
        } else {
          op.bfloat16.data()[place] = float_to_bfloat16(value);
        }
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
