// The boundary of a mask as closed lines, to be filled and drawn smoothly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plot/chart.h"

namespace convnext {

// Closed lines around the pixels of a mask (height, width) that are not 0, and around the holes in it: filled by the
// even-odd rule they are the mask, its steps cut at their middles and evened out by less than a pixel. (0, 0) is the
// corner of the first pixel.
std::vector<std::vector<Point>> outlines_of(std::span<const std::uint8_t> mask, int height, int width);

}  // namespace convnext
