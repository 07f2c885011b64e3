// How the fast kernels lay out a map: NHWC, each pixel starting row_stride() floats after the one before. Channels up
// to the next multiple of the vector length are there and hold zeros; every kernel keeps them zero. So no kernel has a
// tail over channels, and none reads what was not written.
#pragma once

#include <cstddef>

#include "kernels/isa.h"

namespace convnext {

constexpr std::ptrdiff_t round_up(std::ptrdiff_t value, std::ptrdiff_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Channels of a pixel that are stored.
inline std::ptrdiff_t padded_channels(std::ptrdiff_t channels, Isa isa) { return round_up(channels, lanes(isa)); }

// Floats from one pixel to the next. Never a multiple of 1 KB: the rows that a linear reads side by side would share
// the few cache sets of one page offset.
inline std::ptrdiff_t row_stride(std::ptrdiff_t channels, Isa isa) {
  const std::ptrdiff_t stride = padded_channels(channels, isa);
  return stride % 256 == 0 ? stride + 16 : stride;
}

}  // namespace convnext
