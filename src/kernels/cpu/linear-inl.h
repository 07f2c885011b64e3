// What the linears of one instruction set have in common, whatever they multiply. Included once for each of them.
#if defined(CONVNEXT_KERNELS_CPU_LINEAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONVNEXT_KERNELS_CPU_LINEAR_INL_H_
#undef CONVNEXT_KERNELS_CPU_LINEAR_INL_H_
#else
#define CONVNEXT_KERNELS_CPU_LINEAR_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cpu/activation-inl.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/linear.h"
#include "kernels/padding.h"

HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {

// Every instruction set, in linear.cc.
void linear(const PackedLinear& op, const LinearCall& call);

namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using DI32 = hn::RebindToSigned<D>;
using VI32 = hn::Vec<DI32>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// The panel that comes next, asked for while this one is multiplied: from the third-level cache or from memory it takes
// longer than the hardware's own prefetching looks ahead.
class UpcomingPanel {
 public:
  // `weights`, fetched by and by in at most `pieces` pieces.
  UpcomingPanel(std::span<const std::byte> weights, std::int64_t pieces)
      : at_(weights.data()),
        end_(weights.data() + weights.size()),
        piece_bytes_(pieces == 0 ? 0 : (end_ - at_ + kBurst * pieces - 1) / (kBurst * pieces) * kBurst) {}

  HWY_INLINE void fetch_piece() {
    const std::byte* at = at_;
    if (at >= end_) return;
    for (const std::byte* const piece_end = at + piece_bytes_; at < piece_end; at += kBurst) {
      // Beyond the end for a few lines, which does no harm: a test for each line would cost more.
      CONVNEXT_UNROLL
      for (int line = 0; line < kBurstLines; ++line) {
        __builtin_prefetch(at + line * kLine, 0, 2);  // to the second level: the first has no room for it
      }
    }
    at_ = at;
  }

 private:
  static constexpr std::ptrdiff_t kLine = 64;
  static constexpr int kBurstLines = 4;
  static constexpr std::ptrdiff_t kBurst = kLine * kBurstLines;
  const std::byte* at_;
  const std::byte* end_;
  std::ptrdiff_t piece_bytes_;
};

constexpr std::int64_t pieces_of(std::int64_t inputs, int inputs_a_piece) {
  return (inputs + inputs_a_piece - 1) / inputs_a_piece;
}

// Rows whose activations are on the way at once.
constexpr int kRowsTogether = 2;

// What is done to a sum: f of an epilogue. kCoarse: what comes out is made narrow before it is multiplied.
template <Epilogue kFunction, bool kCoarse>
struct Finish {
  static constexpr Epilogue kEpilogue = kFunction;

  // `residual` is read by kResidual alone.
  static HWY_INLINE V apply(V x, const float* residual) {
    const D d;
    if constexpr (kEpilogue == Epilogue::kGelu) return kCoarse ? coarse_gelu(d, x) : gelu(d, x);
    if constexpr (kEpilogue == Epilogue::kGeluTanh) return gelu_tanh(d, x);
    if constexpr (kEpilogue == Epilogue::kSilu) return silu(d, x);
    if constexpr (kEpilogue == Epilogue::kResidual) return hn::Add(x, hn::LoadU(d, residual));
    return x;
  }
};

// Calls body(Finish<...>()) for what an epilogue asks for.
template <bool kCoarse, class Body>
void with_finish(Epilogue epilogue, const Body& body) {
  switch (epilogue) {
    case Epilogue::kNone:
      return body(Finish<Epilogue::kNone, kCoarse>());
    case Epilogue::kGelu:
      return body(Finish<Epilogue::kGelu, kCoarse>());
    case Epilogue::kGeluTanh:
      return body(Finish<Epilogue::kGeluTanh, kCoarse>());
    case Epilogue::kSilu:
      return body(Finish<Epilogue::kSilu, kCoarse>());
    case Epilogue::kResidual:
      return body(Finish<Epilogue::kResidual, kCoarse>());
  }
}

template <class F, int kVectors, int kRows>
HWY_INLINE void finish_rows(float* out, std::ptrdiff_t stride, const float* residual) {
  const D d;
  V values[kRows * kVectors];
  CONVNEXT_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) {
    const std::ptrdiff_t place = i / kVectors * stride + i % kVectors * kLanes;
    values[i] = F::apply(hn::LoadU(d, out + place), residual + place);
  }
  CONVNEXT_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) {
    hn::StoreU(values[i], d, out + i / kVectors * stride + i % kVectors * kLanes);
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
  std::ptrdiff_t upcoming_columns;  // of the panel behind it, 0 for the last of the call
};

// f of the outputs of rows [first, first + rows) of a panel, in place.
template <class F, int kVectors>
void finish_tile(const LinearCall& call, const Panel& at, std::int64_t first, std::int64_t rows) {
  if constexpr (F::kEpilogue == Epilogue::kNone) return;
  float* out = call.out + first * call.out_stride + at.out_column;
  // Another epilogue reads nothing there, and null has no places.
  const float* residual =
      F::kEpilogue == Epilogue::kResidual ? call.residual + first * call.out_stride + at.out_column : out;
  for_rows_together<kRowsTogether>(rows, [&]<int kRows>(std::int64_t m) {
    finish_rows<F, kVectors, kRows>(out + m * call.out_stride, call.out_stride, residual + m * call.out_stride);
  });
}

// The part of the next panel that belongs to inputs [first, first + inputs), or what comes behind the call's last; this
// one, of kColumns columns, begins at `panel`.
template <int kColumns, class T>
UpcomingPanel upcoming_panel(const PackedLinear& op, const LinearCall& call, const Panel& at, const T* panel, int first,
                             std::int64_t inputs, std::int64_t pieces) {
  if (at.upcoming_columns == 0) {
    const bool ends = first + inputs >= call.last_input;
    return {ends ? call.upcoming : std::span<const std::byte>(), pieces};
  }
  const T* weights = panel + std::ptrdiff_t{kColumns} * op.padded_inputs + first * at.upcoming_columns;
  return {std::as_bytes(std::span(weights, static_cast<std::size_t>(inputs * at.upcoming_columns))), pieces};
}

template <int kRows>
std::int64_t tiles_of(const LinearCall& call) {
  return (call.rows + kRows - 1) / kRows;
}

// What the integers of a tile stand for, and where it goes.
template <int kVectors>
struct IntegerTile {
  const std::int32_t* sums;  // (rows, kVectors * kLanes)
  const QuantizedRun* runs;  // of each row, `run_stride` apart
  std::ptrdiff_t run_stride;
  const float* weight_sums;    // of the columns
  const float* weight_scales;  // of the columns
  const float* begin;          // what the terms are added to, `begin_stride` from row to row
  std::ptrdiff_t begin_stride;
  float* out;
  std::ptrdiff_t out_stride;
  const float* residual;  // laid out as `out`

  template <class F, int kRows>
  HWY_INLINE void store_rows(std::int64_t row) const {
    const D d;
    const DI32 d32;
    V values[kRows][kVectors];
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const QuantizedRun& run = runs[(row + r) * run_stride];
      const V scale = hn::Set(d, run.scale);
      const V zero = hn::Set(d, static_cast<float>(run.zero));
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const std::ptrdiff_t column = v * kLanes;
        // Exact: of 384 products of 8 and 7 bits neither sum has more than 23.
        const V products = hn::ConvertTo(d, hn::Load(d32, sums + (row + r) * kVectors * kLanes + column));
        const V sum = hn::NegMulAdd(zero, hn::Load(d, weight_sums + column), products);
        const V factor = hn::Mul(scale, hn::Load(d, weight_scales + column));
        values[r][v] = F::apply(hn::MulAdd(sum, factor, hn::LoadU(d, begin + (row + r) * begin_stride + column)),
                                residual + (row + r) * out_stride + column);
      }
    }
    CONVNEXT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) hn::StoreU(values[r][v], d, out + (row + r) * out_stride + v * kLanes);
    }
  }
};

// 8-bit weights. `integers` multiplies up to kRows rows by multiply<kVectors>(rows, quads, in, in_stride, panel, sums,
// upcoming), which sets sums (rows, kVectors * kLanes) = in (rows, quads of inputs) * panel (quads, kVectors * kLanes,
// 4) and fetches a piece of the upcoming panel every kQuadsAPiece quads. The last inputs bring f, while a tile's sums
// are in the first-level cache.
template <int kVectors, class Integers>
void multiply_int8(const Integers& integers, const PackedLinear& op, const LinearCall& call, const Panel& at) {
  constexpr int kColumns = kVectors * kLanes;
  constexpr int kRows = Integers::kRows;
  const std::int8_t* panel = op.int8.data() + at.column * op.padded_inputs;
  const QuantizedRows& in = call.quantized;
  HWY_ALIGN std::int32_t sums[kRows * kColumns];
  for (int first = call.first_input; first < call.last_input; first += kQuantizedInputs) {
    const int last = std::min(first + kQuantizedInputs, call.last_input);
    const int quads = (last - first + 3) / 4;
    const std::ptrdiff_t run = (first - call.first_input) / kQuantizedInputs;
    UpcomingPanel upcoming = upcoming_panel<kColumns>(op, call, at, panel, first, 4 * quads,
                                                      tiles_of<kRows>(call) * pieces_of(quads, Integers::kQuadsAPiece));
    with_finish<true>(last == op.inputs ? call.epilogue : Epilogue::kNone, [&]<class F>(F) {
      for_each_tile<kRows>(call.rows, [&](std::int64_t row, std::int64_t rows) {
        integers.template multiply<kVectors>(rows, quads, in.values + row * in.stride + (first - call.first_input),
                                             in.stride, panel + std::ptrdiff_t{first} * kColumns, sums, upcoming);
        float* const out = call.out + row * call.out_stride + at.out_column;
        IntegerTile<kVectors> tile;
        tile.sums = sums;
        tile.runs = in.runs + row * in.run_stride + run;
        tile.run_stride = in.run_stride;
        tile.weight_sums =
            op.int8_sums.data() + first / kQuantizedInputs * static_cast<std::ptrdiff_t>(op.bias.size()) + at.column;
        tile.weight_scales = op.scale.data() + at.column;
        tile.begin = first == 0 ? op.bias.data() + at.column : out;
        tile.begin_stride = first == 0 ? 0 : call.out_stride;
        tile.out = out;
        tile.out_stride = call.out_stride;
        // Another epilogue reads nothing there, and null has no places.
        tile.residual =
            F::kEpilogue == Epilogue::kResidual ? call.residual + row * call.out_stride + at.out_column : out;
        for_rows_together<kRowsTogether>(
            rows, [&]<int kTogether>(std::int64_t m) { tile.template store_rows<F, kTogether>(m); });
      });
    });
  }
}

// The panels of a call, each by panels.multiply<kVectors>(op, call, at), epilogue included.
template <class Panels>
void for_each_panel(const Panels& panels, const PackedLinear& op, const LinearCall& call) {
  const auto padded_outputs = static_cast<std::ptrdiff_t>(op.bias.size());
  for (int p = call.first_panel; p < call.last_panel; ++p) {
    const std::ptrdiff_t column = std::ptrdiff_t{p} * op.panel_columns;
    const std::ptrdiff_t columns = std::min<std::ptrdiff_t>(padded_outputs - column, op.panel_columns);
    const std::ptrdiff_t behind = p + 1 == call.last_panel ? 0 : padded_outputs - column - columns;
    const Panel at{column, column - std::ptrdiff_t{call.first_panel} * op.panel_columns,
                   std::min<std::ptrdiff_t>(op.panel_columns, behind)};
    if (columns == kLanes) panels.template multiply<1>(op, call, at);
    if (columns == 2 * kLanes) panels.template multiply<2>(op, call, at);
    if constexpr (Panels::kMaxVectors == 3) {
      if (columns == 3 * kLanes) panels.template multiply<3>(op, call, at);
    }
  }
}

}  // namespace
}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
