#include "kernels/cpu/linear_dot.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/targets.h"

#if HWY_TARGETS & HWY_AVX3
#include "kernels/cpu/tile_configuration.h"
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_dot.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>  // after foreach_target.h

#include "kernels/cpu/linear-inl.h"

// Highway has none of these instructions in the targets that we compile for, so they are intrinsics.
#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace convnext::cpu::HWY_NAMESPACE {
namespace {

#define CONVNEXT_VNNI __attribute__((target(HWY_TARGET_STR ",avx512vnni")))
#define CONVNEXT_BF16 __attribute__((target(HWY_TARGET_STR ",avx512bf16")))
#define CONVNEXT_AMX __attribute__((target(HWY_TARGET_STR ",amx-tile,amx-bf16,amx-int8")))

// ---- dot products in vector registers: 24 sums, 3 of weights, 1 of input

constexpr int kMaxRows = 8;
// Pairs or quads of inputs between two pieces of the upcoming panel.
constexpr int kGroupsAPiece = 16;

// A pair or a quad of a row in every lane.
HWY_INLINE __m512i broadcast_group(const void* in) {
  std::int32_t group;
  std::memcpy(&group, in, sizeof(group));
  return _mm512_set1_epi32(group);
}

// sums (kRows, kVectors * 16) = in (kRows, quads) * panel (quads, kVectors * 16, 4).
template <int kRows, int kVectors>
HWY_NOINLINE CONVNEXT_VNNI void multiply_quads(int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                                               const std::int8_t* panel, std::int32_t* result,
                                               UpcomingPanel& upcoming) {
  __m512i sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_setzero_si512();
  }
  for (int begin = 0; begin < quads; begin += kGroupsAPiece) {
    upcoming.fetch_piece();
    const int end = begin + kGroupsAPiece < quads ? begin + kGroupsAPiece : quads;
    CONVNEXT_UNROLL_BY_4
    for (int k = begin; k < end; ++k) {
      __m512i weights[kVectors];
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) weights[v] = _mm512_load_si512(panel + 64 * v);
      CONVNEXT_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512i x = broadcast_group(in + r * in_stride + 4 * k);
        CONVNEXT_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], x, weights[v]);
      }
      panel += 64 * kVectors;
    }
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) _mm512_store_si512(result + (r * kVectors + v) * kLanes, sums[r][v]);
  }
}

// out(r, 0..) = begin(r, 0..) + in (kRows, pairs) * panel (pairs, kVectors * 16, 2); begin is the bias, with stride 0,
// or `out` itself.
template <int kRows, int kVectors>
HWY_NOINLINE CONVNEXT_BF16 void multiply_pairs(int pairs, const std::uint16_t* in, std::ptrdiff_t in_stride,
                                               const std::uint16_t* panel, const float* begin,
                                               std::ptrdiff_t begin_stride, float* out, std::ptrdiff_t out_stride,
                                               UpcomingPanel& upcoming) {
  __m512 sums[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_loadu_ps(begin + r * begin_stride + v * kLanes);
  }
  for (int first = 0; first < pairs; first += kGroupsAPiece) {
    upcoming.fetch_piece();
    const int end = first + kGroupsAPiece < pairs ? first + kGroupsAPiece : pairs;
    CONVNEXT_UNROLL_BY_4
    for (int k = first; k < end; ++k) {
      __m512i weights[kVectors];
      CONVNEXT_UNROLL
      for (int v = 0; v < kVectors; ++v) weights[v] = _mm512_load_si512(panel + 32 * v);
      CONVNEXT_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512i x = broadcast_group(in + r * in_stride + 2 * k);
        CONVNEXT_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          sums[r][v] = _mm512_dpbf16_ps(sums[r][v], (__m512bh)x, (__m512bh)weights[v]);
        }
      }
      panel += 32 * kVectors;
    }
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(out + r * out_stride + v * kLanes, sums[r][v]);
  }
}

// The instance for `rows`, which is at most kRows.
template <int kRows, int kVectors>
void multiply_quad_rows(std::int64_t rows, int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                        const std::int8_t* panel, std::int32_t* sums, UpcomingPanel& upcoming) {
  if (rows == kRows) {
    multiply_quads<kRows, kVectors>(quads, in, in_stride, panel, sums, upcoming);
  } else if constexpr (kRows > 1) {
    multiply_quad_rows<kRows - 1, kVectors>(rows, quads, in, in_stride, panel, sums, upcoming);
  }
}

template <int kRows, int kVectors>
void multiply_pair_rows(std::int64_t rows, int pairs, const std::uint16_t* in, std::ptrdiff_t in_stride,
                        const std::uint16_t* panel, const float* begin, std::ptrdiff_t begin_stride, float* out,
                        std::ptrdiff_t out_stride, UpcomingPanel& upcoming) {
  if (rows == kRows) {
    multiply_pairs<kRows, kVectors>(pairs, in, in_stride, panel, begin, begin_stride, out, out_stride, upcoming);
  } else if constexpr (kRows > 1) {
    multiply_pair_rows<kRows - 1, kVectors>(rows, pairs, in, in_stride, panel, begin, begin_stride, out, out_stride,
                                            upcoming);
  }
}

// ---- f with results in bfloat16

// With kFill a single vector of columns is followed by one of zeros: the other half of what is multiplied at once.
template <class F, int kVectors, bool kFill, int kRows>
CONVNEXT_BF16 HWY_INLINE void narrow_rows(const float* sums, std::ptrdiff_t stride, std::uint16_t* out,
                                          std::ptrdiff_t out_stride) {
  V values[kRows][kVectors];
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      values[r][v] = F::apply(hn::LoadU(D(), sums + r * stride + v * kLanes), nullptr);
    }
  }
  CONVNEXT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    CONVNEXT_UNROLL
    for (int v = 0; v + 1 < kVectors; v += 2) {
      _mm512_storeu_si512(out + r * out_stride + v * kLanes,
                          (__m512i)_mm512_cvtne2ps_pbh(values[r][v + 1].raw, values[r][v].raw));
    }
    if constexpr (kVectors == 1 && kFill) {
      _mm512_storeu_si512(out + r * out_stride, (__m512i)_mm512_cvtne2ps_pbh(_mm512_setzero_ps(), values[r][0].raw));
    } else if constexpr (kVectors % 2 == 1) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + r * out_stride + (kVectors - 1) * kLanes),
                          (__m256i)_mm512_cvtneps_pbh(values[r][kVectors - 1].raw));
    }
  }
}

template <class F, int kVectors, bool kFill>
CONVNEXT_BF16 void narrow_tile(std::int64_t rows, const float* sums, std::uint16_t* out, std::ptrdiff_t out_stride) {
  constexpr std::ptrdiff_t kStride = kVectors * kLanes;
  for_rows_together<kRowsTogether>(rows, [&]<int kRows>(std::int64_t m) CONVNEXT_BF16 {
    narrow_rows<F, kVectors, kFill, kRows>(sums + m * kStride, kStride, out + m * out_stride, out_stride);
  });
}

// A panel whose products are of bfloat16, up to kRows rows at a time by multiply(row, rows, begin, begin_stride, out,
// out_stride), which adds the products of these rows to what is in `begin`.
template <int kVectors, int kRows, bool kFill, class Multiply>
void multiply_bfloat16_panel(const PackedLinear& op, const LinearCall& call, const Panel& at,
                             const Multiply& multiply) {
  constexpr std::ptrdiff_t kColumns = kVectors * kLanes;
  const float* bias = call.first_input == 0 ? op.bias.data() + at.column : nullptr;
  const Bfloat16Rows& narrow = call.bfloat16_out;
  HWY_ALIGN float sums[kRows * kColumns];
  with_finish<true>(call.last_input == op.inputs ? call.epilogue : Epilogue::kNone, [&]<class F>(F) {
    for_each_tile<kRows>(call.rows, [&](std::int64_t row, std::int64_t rows) {
      if (narrow.values == nullptr) {
        float* out = call.out + row * call.out_stride + at.out_column;
        multiply(row, rows, bias == nullptr ? out : bias, bias == nullptr ? call.out_stride : 0, out, call.out_stride);
        finish_tile<F, kVectors>(call, at, row, rows);
      } else if constexpr (F::kEpilogue != Epilogue::kResidual) {  // which is refused before
        multiply(row, rows, bias, 0, sums, kColumns);
        narrow_tile<F, kVectors, kFill>(rows, sums, narrow.values + row * narrow.stride + at.out_column, narrow.stride);
      }
    });
  });
}

// ---- panels of vectors

struct IntegersByVnni {
  static constexpr int kRows = kMaxRows;
  static constexpr int kQuadsAPiece = kGroupsAPiece;
  template <int kVectors>
  void multiply(std::int64_t rows, int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                const std::int8_t* panel, std::int32_t* sums, UpcomingPanel& upcoming) const {
    multiply_quad_rows<kRows, kVectors>(rows, quads, in, in_stride, panel, sums, upcoming);
  }
};

struct VnniPanels {
  static constexpr int kMaxVectors = 3;
  template <int kVectors>
  void multiply(const PackedLinear& op, const LinearCall& call, const Panel& at) const {
    multiply_int8<kVectors>(IntegersByVnni(), op, call, at);
  }
};

struct Bfloat16Panels {
  static constexpr int kMaxVectors = 3;
  template <int kVectors>
  void multiply(const PackedLinear& op, const LinearCall& call, const Panel& at) const {
    constexpr int kColumns = kVectors * kLanes;
    const std::uint16_t* panel = op.bfloat16.data() + at.column * op.padded_inputs;
    const int pairs = (call.last_input - call.first_input + 1) / 2;
    UpcomingPanel upcoming = upcoming_panel<kColumns>(op, call, at, panel, call.first_input, 2 * pairs,
                                                      tiles_of<kMaxRows>(call) * pieces_of(pairs, kGroupsAPiece));
    multiply_bfloat16_panel<kVectors, kMaxRows, false>(
        op, call, at,
        [&](std::int64_t row, std::int64_t rows, const float* begin, std::ptrdiff_t begin_stride, float* out,
            std::ptrdiff_t out_stride) {
          multiply_pair_rows<kMaxRows, kVectors>(
              rows, pairs, call.bfloat16.values + row * call.bfloat16.stride, call.bfloat16.stride,
              panel + std::ptrdiff_t{call.first_input} * kColumns, begin, begin_stride, out, out_stride, upcoming);
        });
  }
};

// ---- AMX

// The tile registers for as long as it lives. What another library has set up in this thread comes back at the end:
// some remember what they have loaded, and do not load it again.
class TileRegisters {
 public:
  CONVNEXT_AMX TileRegisters() { store_tile_shapes(before_); }
  CONVNEXT_AMX ~TileRegisters() { load_tile_shapes(before_); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  // Of 1 to 32 rows, those of the upper and of the lower tiles.
  CONVNEXT_AMX void set_rows(std::int64_t rows) {
    // Sixteen rows do not look at the lower tiles.
    const int wanted = rows == kTileRows ? 2 * kTileRows : static_cast<int>(rows);
    if (wanted == rows_) return;
    rows_ = wanted;
    const TileShapes shapes = tile_shapes(std::min(wanted, kTileRows), std::max(wanted - kTileRows, 1));
    load_tile_shapes(shapes);
  }

 private:
  TileShapes before_;
  int rows_ = 0;
};

constexpr int kRowsOfTiles = 2 * kTileRows;

// out (rows, 16 kColumnTiles) = begin + in (rows, 64 `steps` bytes) * panel (16 steps, 16 kColumnTiles columns, 4
// bytes), for as many rows as the registers are set to: up to 16, or with two tiles of them up to 32. Strides in bytes.
// A null `begin` is zero, and with stride 0 it is the same row for all. Sums are float32 of bfloat16, or with kIntegers
// 32-bit of 8-bit ones. Tile registers are named by literals, since their number is part of an instruction.
template <bool kIntegers, int kRowTiles, int kColumnTiles>
HWY_NOINLINE CONVNEXT_AMX void multiply_tiles(int steps, const std::byte* in, std::ptrdiff_t in_stride,
                                              const std::byte* panel, const std::byte* begin,
                                              std::ptrdiff_t begin_stride, std::byte* out, std::ptrdiff_t out_stride,
                                              UpcomingPanel& upcoming) {
  constexpr std::ptrdiff_t kPanelStride = std::ptrdiff_t{kTileBytes} * kColumnTiles;
  asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from memory
  if (begin == nullptr) {
    _tile_zero(0);
    if constexpr (kColumnTiles == 2) _tile_zero(1);
    if constexpr (kRowTiles == 2) _tile_zero(2);
    if constexpr (kRowTiles == 2 && kColumnTiles == 2) _tile_zero(3);
  } else {
    const std::byte* lower = begin + kTileRows * begin_stride;
    _tile_loadd(0, begin, begin_stride);
    if constexpr (kColumnTiles == 2) _tile_loadd(1, begin + kTileBytes, begin_stride);
    if constexpr (kRowTiles == 2) _tile_loadd(2, lower, begin_stride);
    if constexpr (kRowTiles == 2 && kColumnTiles == 2) _tile_loadd(3, lower + kTileBytes, begin_stride);
  }
  const std::byte* lower_in = in + kTileRows * in_stride;
  for (int step = 0; step < steps; ++step) {
    upcoming.fetch_piece();
    _tile_loadd(6, panel, kPanelStride);
    _tile_loadd(4, in, in_stride);
    if constexpr (kColumnTiles == 2) _tile_loadd(7, panel + kTileBytes, kPanelStride);
    if constexpr (kRowTiles == 2) _tile_loadd(5, lower_in, in_stride);
    if constexpr (kIntegers) {
      _tile_dpbusd(0, 4, 6);
      if constexpr (kColumnTiles == 2) _tile_dpbusd(1, 4, 7);
      if constexpr (kRowTiles == 2) _tile_dpbusd(2, 5, 6);
      if constexpr (kRowTiles == 2 && kColumnTiles == 2) _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kColumnTiles == 2) _tile_dpbf16ps(1, 4, 7);
      if constexpr (kRowTiles == 2) _tile_dpbf16ps(2, 5, 6);
      if constexpr (kRowTiles == 2 && kColumnTiles == 2) _tile_dpbf16ps(3, 5, 7);
    }
    in += kTileBytes;
    lower_in += kTileBytes;
    panel += kTileRows * kPanelStride;
  }
  std::byte* lower = out + kTileRows * out_stride;
  _tile_stored(0, out, out_stride);
  if constexpr (kColumnTiles == 2) _tile_stored(1, out + kTileBytes, out_stride);
  if constexpr (kRowTiles == 2) _tile_stored(2, lower, out_stride);
  if constexpr (kRowTiles == 2 && kColumnTiles == 2) _tile_stored(3, lower + kTileBytes, out_stride);
}

// For 1 to 32 rows.
template <bool kIntegers, int kColumnTiles>
void multiply_tile_rows(TileRegisters& registers, std::int64_t rows, int steps, const void* in,
                        std::ptrdiff_t in_stride, const void* panel, const float* begin, std::ptrdiff_t begin_stride,
                        void* out, std::ptrdiff_t out_stride, UpcomingPanel& upcoming) {
  registers.set_rows(rows);
  const auto multiply = rows > kTileRows ? &multiply_tiles<kIntegers, 2, kColumnTiles>  //
                                         : &multiply_tiles<kIntegers, 1, kColumnTiles>;
  multiply(steps, static_cast<const std::byte*>(in), in_stride, static_cast<const std::byte*>(panel),
           reinterpret_cast<const std::byte*>(begin), begin_stride, static_cast<std::byte*>(out), out_stride, upcoming);
}

constexpr int kBytesOfFloat = sizeof(float);

struct IntegersByTiles {
  static constexpr int kRows = kRowsOfTiles;
  static constexpr int kQuadsAPiece = kTileRows;
  TileRegisters& registers;

  template <int kVectors>
  void multiply(std::int64_t rows, int quads, const std::uint8_t* in, std::ptrdiff_t in_stride,
                const std::int8_t* panel, std::int32_t* sums, UpcomingPanel& upcoming) const {
    multiply_tile_rows<true, kVectors>(registers, rows, static_cast<int>(pieces_of(quads, kTileRows)), in, in_stride,
                                       panel, nullptr, 0, sums, kVectors * kTileBytes, upcoming);
  }
};

struct TilePanels {
  static constexpr int kMaxVectors = 2;
  TileRegisters& registers;

  template <int kVectors>
  void multiply(const PackedLinear& op, const LinearCall& call, const Panel& at) const {
    if (op.products == Products::kBfloat16) return multiply_bfloat16<kVectors>(op, call, at);
    multiply_int8<kVectors>(IntegersByTiles{registers}, op, call, at);
  }

  template <int kVectors>
  void multiply_bfloat16(const PackedLinear& op, const LinearCall& call, const Panel& at) const {
    constexpr int kColumns = kVectors * kLanes;
    const std::uint16_t* panel = op.bfloat16.data() + at.column * op.padded_inputs;
    const auto steps = static_cast<int>(pieces_of(call.last_input - call.first_input, kBfloat16Step));
    UpcomingPanel upcoming = upcoming_panel<kColumns>(op, call, at, panel, call.first_input, kBfloat16Step * steps,
                                                      tiles_of<kRowsOfTiles>(call) * steps);
    multiply_bfloat16_panel<kVectors, kRowsOfTiles, true>(
        op, call, at,
        [&](std::int64_t row, std::int64_t rows, const float* begin, std::ptrdiff_t begin_stride, float* out,
            std::ptrdiff_t out_stride) {
          multiply_tile_rows<false, kVectors>(registers, rows, steps, call.bfloat16.values + row * call.bfloat16.stride,
                                              call.bfloat16.stride * std::ptrdiff_t{sizeof(std::uint16_t)},
                                              panel + std::ptrdiff_t{call.first_input} * kColumns, begin,
                                              begin_stride * kBytesOfFloat, out, out_stride * kBytesOfFloat, upcoming);
        });
  }
};

}  // namespace

void linear_vnni(const PackedLinear& op, const LinearCall& call) {
  if (op.products != Products::kInt8) return linear(op, call);
  for_each_panel(VnniPanels(), op, call);
}

void linear_bf16(const PackedLinear& op, const LinearCall& call) {
  if (op.products != Products::kBfloat16) return linear_vnni(op, call);
  require_roundable(op, call);
  for_each_panel(Bfloat16Panels(), op, call);
}

void linear_amx(const PackedLinear& op, const LinearCall& call) {
  if (op.products == Products::kFloat32) return linear(op, call);
  require_roundable(op, call);
  TileRegisters registers;
  for_each_panel(TilePanels{registers}, op, call);
}

}  // namespace convnext::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
#include "convnext/error.h"

namespace convnext::cpu {

void require_roundable(const PackedLinear& op, const LinearCall& call) {
  if (call.bfloat16_out.values == nullptr) return;
  if (call.epilogue != Epilogue::kResidual && call.first_input == 0 && call.last_input == op.inputs) return;
  throw Error(ErrorCode::kInvalidArgument,
              "a linear that gives bfloat16 takes all inputs in one call, and adds no residual: let it write floats");
}

LinearFunction linear_dot_for([[maybe_unused]] Isa isa, [[maybe_unused]] const CpuFeatures& features) {
#if HWY_TARGETS & HWY_AVX3
  if (isa == Isa::kAmx) return &N_AVX3::linear_amx;
  if (isa == Isa::kAvx512Bf16) return &N_AVX3::linear_bf16;
  if (isa == Isa::kAvx512 && features.avx512_vnni) return &N_AVX3::linear_vnni;
#endif
  return nullptr;
}

}  // namespace convnext::cpu
#endif
