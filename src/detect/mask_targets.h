// What a mask head is to say of a box: the object's mask under it (mmdet's BitmapMasks.crop_and_resize).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// The part of an object's mask under each box, in side * side bins: 1 where the mean of the mask is at least one half,
// 0 elsewhere and beyond the picture. `mask` (height, width), all but 0 belong to the object. One box after another, by
// rows.
std::vector<float> mask_targets(std::span<const std::uint8_t> mask, int height, int width, std::span<const Box> boxes,
                                int side);

}  // namespace convnext
