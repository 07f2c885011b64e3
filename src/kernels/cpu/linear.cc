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

#include "kernels/cpu/linear-inl.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

// 16 registers: 12 sums, 2 of weights, 1 of input. 32: 24, 3, 1.
#if HWY_TARGET == HWY_AVX2
constexpr int kMaxRows = 6;
constexpr int kMaxVectors = 2;
#else
constexpr int kMaxRows = 8;
constexpr int kMaxVectors = 3;
#endif

// Inputs between two pieces of the upcoming panel.
constexpr int kInputsAPiece = 16;

// Whether the products of every other row of a tile load and broadcast its input themselves: three loads in the place
// of one, but four operations of 35 fewer for each input of a tile. Beside a busy neighbour on the same core, which
// takes half of the slots for operations, they are what there is too little of. Addresses without an index count as no
// operation of their own; so each row has a pointer, and sixteen inputs are unrolled.
#if HWY_TARGET == HWY_AVX3
constexpr bool kBroadcastInProducts = true;

// sum + *x * weights. The compiler would load *x once, for all vectors of the row.
HWY_INLINE V mul_add_broadcast(const float* x, V weights, V sum) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum.raw) : "v"(weights.raw), "m"(*x));
  return sum;
}
#else
constexpr bool kBroadcastInProducts = false;

HWY_INLINE V mul_add_broadcast(const float* x, V weights, V sum) { return hn::MulAdd(hn::Set(D(), *x), weights, sum); }
#endif

// Adds the products of input k of the rows with the weights of one input.
template <int kRows, int kVectors>
HWY_INLINE void add_products(const float* const (&rows)[kRows], int k, const float* weights,
                             V (&sums)[kRows][kVectors]) {
  const D d;
  V vectors[kVectors];
  CONVNEXT_UNROLL
  for (int v = 0; v < kVectors; ++v) vectors[v] = hn::Load(d, weights + v * kLanes);
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    if (kBroadcastInProducts && r % 2 == 0) {
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = mul_add_broadcast(rows[r] + k, vectors[v], sums[r][v]);
    } else {
      const V x = hn::Set(d, rows[r][k]);
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(x, vectors[v], sums[r][v]);
    }
  }
}

// out(r, 0..) = begin(r, 0..) + in(r, 0..inputs) * panel (inputs, kVectors * kLanes); begin is the bias, with stride 0,
// or `out` itself.
template <int kRows, int kVectors>
HWY_NOINLINE void multiply_tile(int inputs, const float* in, std::ptrdiff_t in_stride, const float* panel,
                                const float* begin, std::ptrdiff_t begin_stride, float* out, std::ptrdiff_t out_stride,
                                UpcomingPanel& upcoming) {
  constexpr int kColumns = kVectors * kLanes;
  const D d;
  const float* rows[kRows];
  V sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    rows[r] = in + r * in_stride;
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::LoadU(d, begin + r * begin_stride + v * kLanes);
  }
  for (int first = 0; first < inputs; first += kInputsAPiece) {
    upcoming.fetch_piece();
    const int count = inputs - first < kInputsAPiece ? inputs - first : kInputsAPiece;
    if (kBroadcastInProducts && count == kInputsAPiece) {
      CONVNEXT_UNROLL
      for (int k = 0; k < kInputsAPiece; ++k) add_products(rows, k, panel + k * kColumns, sums);
    } else {
      CONVNEXT_UNROLL_BY_4
      for (int k = 0; k < count; ++k) add_products(rows, k, panel + k * kColumns, sums);
    }
    panel += count * kColumns;
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      rows[r] += count;
      if (kBroadcastInProducts) asm("" : "+r"(rows[r]));  // else the compiler comes back to one pointer and an index
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

// Adds the inputs [first, last) of `weights`, the part of a panel that begins with input `first`. The last of them
// bring f, while a tile's sums are in the first-level cache.
template <int kVectors>
void multiply_inputs(const PackedLinear& op, const LinearCall& call, const Panel& at, const float* weights, int first,
                     int last, UpcomingPanel& upcoming) {
  const float* bias = first == 0 ? op.bias.data() + at.column : nullptr;
  with_finish<false>(last == op.inputs ? call.epilogue : Epilogue::kNone, [&]<class F>(F) {
    for_each_tile<kMaxRows>(call.rows, [&](std::int64_t row, std::int64_t rows) {
      float* out = call.out + row * call.out_stride + at.out_column;
      multiply_rows<kMaxRows, kVectors>(rows, last - first, call.in + row * call.in_stride + (first - call.first_input),
                                        call.in_stride, weights, bias == nullptr ? out : bias,
                                        bias == nullptr ? call.out_stride : 0, out, call.out_stride, upcoming);
      finish_tile<F, kVectors>(call, at, row, rows);
    });
  });
}

template <int kVectors>
void multiply_float32(const PackedLinear& op, const LinearCall& call, const Panel& at) {
  constexpr int kColumns = kVectors * kLanes;
  const float* panel = op.weight.data() + at.column * op.padded_inputs;
  const int inputs = call.last_input - call.first_input;
  UpcomingPanel upcoming = upcoming_panel<kColumns>(op, call, at, panel, call.first_input, inputs,
                                                    tiles_of<kMaxRows>(call) * pieces_of(inputs, kInputsAPiece));
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
  const std::uint16_t* panel = op.bfloat16.data() + at.column * op.padded_inputs;
  HWY_ALIGN float widened[kWidened * kColumns];
  for (int first = call.first_input; first < call.last_input; first += kWidened) {
    const int last = std::min(first + kWidened, call.last_input);
    const auto* source = reinterpret_cast<const hwy::bfloat16_t*>(panel + std::ptrdiff_t{first} * kColumns);
    for (int i = 0; i < (last - first) * kColumns; i += kLanes) {
      hn::Store(hn::PromoteTo(d, hn::LoadU(narrow, source + i)), d, widened + i);
    }
    UpcomingPanel upcoming = upcoming_panel<kColumns>(
        op, call, at, panel, first, last - first, tiles_of<kMaxRows>(call) * pieces_of(last - first, kInputsAPiece));
    multiply_inputs<kVectors>(op, call, at, widened, first, last, upcoming);
  }
}

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
    CONVNEXT_UNROLL_BY_4
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

struct IntegersInPairs {
  static constexpr int kRows = kQuadRows;
  static constexpr int kQuadsAPiece = kInputsAPiece;
  template <int kVectors>
  void multiply(std::int64_t rows, int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                const std::int8_t* panel, std::int32_t* sums, UpcomingPanel& upcoming) const {
    multiply_quad_rows<kRows, kVectors>(rows, quads, in, in_stride, panel, sums, upcoming);
  }
};

struct Panels {
  static constexpr int kMaxVectors = HWY_NAMESPACE::kMaxVectors;
  template <int kVectors>
  void multiply(const PackedLinear& op, const LinearCall& call, const Panel& at) const {
    switch (op.format) {
      case WeightFormat::kFloat32:
        return multiply_float32<kVectors>(op, call, at);
      case WeightFormat::kBfloat16:
        return multiply_bfloat16<kVectors>(op, call, at);
      case WeightFormat::kInt8:
        return multiply_int8<kVectors>(IntegersInPairs(), op, call, at);
    }
  }
};

}  // namespace

void linear(const PackedLinear& op, const LinearCall& call) { for_each_panel(Panels(), op, call); }

int panel_vectors() { return kMaxVectors; }

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/linear_dot.h"

namespace convnext::cpu {
namespace {

int (*panel_vectors_for(Isa isa))() { CONVNEXT_RETURN_FOR(isa, panel_vectors); }
LinearFunction without_dot_products(Isa isa) { CONVNEXT_RETURN_FOR(isa, linear); }

}  // namespace

LinearFunction linear_for(Isa isa, const CpuFeatures& features) {
  const LinearFunction with_dot_products = linear_dot_for(isa, features);
  return with_dot_products != nullptr ? with_dot_products : without_dot_products(isa);
}

LinearLayout linear_layout(Isa isa, WeightFormat format) {
  LinearLayout layout{.panel_columns = panel_vectors_for(isa)() * lanes(isa)};
  if (format == WeightFormat::kInt8) {
    layout.products = Products::kInt8;
    layout.group = 4;
  } else if (format == WeightFormat::kBfloat16 && (isa == Isa::kAvx512Bf16 || isa == Isa::kAmx)) {
    layout.products = Products::kBfloat16;
    layout.group = 2;
  }
  layout.depth_multiple = layout.group;
  if (isa == Isa::kAmx && layout.products != Products::kFloat32) {
    layout.panel_columns = 2 * lanes(isa);
    layout.depth_multiple = 16 * layout.group;  // the rows of a tile of weights
  }
  return layout;
}

std::span<const std::byte> PackedLinear::part_of_panel(int panel, int first, int last) const {
  const std::ptrdiff_t column = std::ptrdiff_t{panel} * panel_columns;
  const auto columns = std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(bias.size()) - column, panel_columns);
  const auto part = [&]<class T>(const T* values) {
    return std::as_bytes(std::span(values + column * padded_inputs + first * columns,
                                   static_cast<std::size_t>((last - first) * columns)));
  };
  switch (format) {
    case WeightFormat::kFloat32:
      return part(weight.data());
    case WeightFormat::kBfloat16:
      return part(bfloat16.data());
    case WeightFormat::kInt8:
      break;
  }
  return part(int8.data());
}

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

// The layout's, or two vectors where that leaves no panel of a single one: its few sums wait for one another, and every
// input is loaded for one product. Panels of two are nearly as fast as those of three.
int panel_columns(Isa isa, int outputs, const LinearLayout& layout) {
  const int width = lanes(isa);
  const auto vectors = padded_channels(outputs, isa) / width;
  const bool leaves_one = vectors % (layout.panel_columns / width) == 1;
  return leaves_one && vectors % 2 == 0 ? 2 * width : layout.panel_columns;
}

PackedLinear pack_linear(Isa isa, int inputs, int outputs, std::span<const float> weight, std::span<const float> bias,
                         std::span<const float> scale, WeightFormat format) {
  const LinearLayout layout = linear_layout(isa, format);
  PackedLinear op;
  op.inputs = inputs;
  op.outputs = outputs;
  op.format = format;
  op.products = layout.products;
  op.panel_columns = panel_columns(isa, outputs, layout);
  op.padded_inputs = static_cast<int>(round_up(inputs, layout.depth_multiple));
  const auto padded = static_cast<std::size_t>(padded_channels(outputs, isa));
  const auto depth = static_cast<std::size_t>(inputs);
  const auto padded_depth = static_cast<std::size_t>(op.padded_inputs);
  const auto group = static_cast<std::size_t>(layout.group);
  const auto most_columns = static_cast<std::size_t>(op.panel_columns);
  if (format == WeightFormat::kFloat32) op.weight = AlignedFloats(padded * padded_depth);
  if (format == WeightFormat::kBfloat16) op.bfloat16 = AlignedArray<std::uint16_t>(padded * padded_depth);
  if (format == WeightFormat::kInt8) {
    op.int8 = AlignedArray<std::int8_t>(padded * padded_depth);
    op.int8_sums = AlignedFloats(padded * static_cast<std::size_t>(quantized_runs(inputs)));
    op.scale = AlignedFloats(padded);
  }
  op.bias = AlignedFloats(padded);
  std::vector<std::int8_t> integers(format == WeightFormat::kInt8 ? depth : 0);
  for (std::size_t first = 0; first < static_cast<std::size_t>(outputs); first += most_columns) {
    const std::size_t columns = std::min(most_columns, padded - first);
    const std::size_t used = std::min(columns, static_cast<std::size_t>(outputs) - first);
    const auto place = [&](std::size_t k, std::size_t n) {
      return first * padded_depth + (k / group * columns + n) * group + k % group;
    };
    if (format == WeightFormat::kInt8) {
      for (std::size_t n = 0; n < used; ++n) {
        const float factor = scale.empty() ? 1.0f : scale[first + n];
        op.scale.data()[first + n] = quantize_weights(weight.subspan((first + n) * depth, depth), integers) * factor;
        for (std::size_t k = 0; k < depth; ++k) {
          op.int8.data()[place(k, n)] = integers[k];
          op.int8_sums.data()[k / kQuantizedInputs * padded + first + n] += static_cast<float>(integers[k]);
        }
      }
      continue;
    }
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t n = 0; n < used; ++n) {
        const float factor = scale.empty() ? 1.0f : scale[first + n];
        const float value = weight[(first + n) * depth + k] * factor;
        if (format == WeightFormat::kFloat32) {
          op.weight.data()[place(k, n)] = value;
        } else {
          op.bfloat16.data()[place(k, n)] = float_to_bfloat16(value);
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
