// The two passes of a resize: every output is a weighted sum of the inputs under its window, in fixed point.
//
//   out = clamp((half + sum over k of in(first + k) * weight(k)) >> weight_bits, 0, 255)
//   half = 1 << (weight_bits - 1)
//
// in 32 bits, which the sums never leave. The result is the same to the bit whatever computes it. 8-bit RGB, rows
// without padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace convnext {

// The inputs under one output: `count` from `first` on, with weights from `weights` on.
struct Window {
  std::size_t first;
  std::size_t count;
  std::size_t weights;
};

// Windows count from `first_input` on, where the passes' `in` begins.
struct ResampleAxis {
  std::size_t first_input;
  std::span<const Window> windows;
  std::span<const std::int32_t> weights;
  int weight_bits;
};

// Columns: `rows` rows of `in_columns` pixels become rows of axis.windows.size() pixels. `stride` is from one input row
// to the next, bytes.
using ResampleColumns = void (*)(const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride,
                                 std::size_t in_columns, std::size_t rows, std::uint8_t* out);

// Rows: each of axis.windows.size() output rows has `values` bytes, 3 a pixel.
using ResampleRows = void (*)(const ResampleAxis& axis, const std::uint8_t* in, std::size_t stride, std::size_t values,
                              std::uint8_t* out);

struct ResamplePasses {
  std::string_view isa;  // "scalar", "avx2", ...
  ResampleColumns columns;
  ResampleRows rows;
};

// Those that this build has code for and this machine can execute: best first, and last the scalar one, which the
// others are tested against.
std::span<const ResamplePasses> resample_passes();

}  // namespace convnext
