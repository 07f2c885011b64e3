// How the fast kernels lay out a map: NHWC, each pixel starting row_stride() floats after the one before. Channels up
// to the next multiple of the vector length are there and hold zeros; every kernel keeps them zero. So no kernel has a
// tail over channels, and none reads what was not written.
#pragma once

#include <cstddef>

#include "kernels/isa.h"

namespace convnext {

inline constexpr std::ptrdiff_t kLineFloats = 16;  // of a cache line

constexpr std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Channels of a pixel that are stored.
inline std::ptrdiff_t padded_channels(std::ptrdiff_t channels, Isa isa) { return round_up(channels, lanes(isa)); }

// Floats from one pixel to the next. Never a multiple of 1 KB: the rows that a linear reads side by side would share
// the few cache sets of one page offset.
inline std::ptrdiff_t row_stride(std::ptrdiff_t channels, Isa isa) {
  const std::ptrdiff_t stride = padded_channels(channels, isa);
  return stride % 256 == 0 ? stride + kLineFloats : stride;
}

// Floats by which each row of scratch begins further into a cache line than the row before. A linear reads an input of
// one row after the other, eight rows at a time, and rows that all begin with a line come to a new one all at once.
// Vectors of half a line stay as they are: they would lie across two.
inline std::ptrdiff_t row_stagger(Isa isa) { return lanes(isa) == kLineFloats ? kLineFloats / 4 : 0; }

// Floats from one row to the next of what is made for a linear to read.
inline std::ptrdiff_t scratch_stride(std::ptrdiff_t channels, Isa isa) {
  return row_stride(channels, isa) + row_stagger(isa);
}

}  // namespace convnext
