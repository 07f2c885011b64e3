// The boxes that a region proposal network starts from (Ren et al. 2015, section 3.1.1; mmdet's AnchorGenerator).
#pragma once

#include <vector>

#include "detect/box.h"

namespace convnext {

// Of one level of a pyramid: at each pixel of its map, whose corner lies at (x * stride, y * stride) of the input, a
// box of 8 strides a side in each of three shapes, height to width 1/2, 1 and 2, with equal areas. By rows, columns,
// shapes.
std::vector<Box> anchors_of_level(int height, int width, int stride);

inline constexpr int kAnchorShapes = 3;

}  // namespace convnext
