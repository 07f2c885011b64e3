// The boxes that a region proposal network starts from (Ren et al. 2015, section 3.1.1; mmdet's AnchorGenerator).
#pragma once

#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// Of one level of a pyramid: at each pixel of its map, whose corner lies at (x * stride, y * stride) of the input, a
// box in each of the shapes, height to width, all with the area of a square of `scale` strides a side. By rows,
// columns, shapes.
std::vector<Box> anchors_of_level(int height, int width, int stride, double scale, std::span<const double> ratios);

}  // namespace convnext
