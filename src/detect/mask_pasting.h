// From the small masks of a detector to the picture (mmdet's _do_paste_mask: grid_sample without aligned corners).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// A mask of the picture's size, 1 where the object is, by rows. `mask` has side * side probabilities of what lies in
// `box`; between them it is interpolated, around them it is 0, and pixels of at least `threshold` at their middle are
// the object. Only the part of the picture near the box is looked at. A box without area gives an empty mask.
std::vector<std::uint8_t> paste_mask(std::span<const float> mask, int side, const Box& box, int height, int width,
                                     float threshold = 0.5f);

}  // namespace convnext
