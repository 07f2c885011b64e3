// Non-maximum suppression: of boxes that overlap, the one with the best score
// (torchvision/csrc/ops/cpu/nms_kernel.cpp).
#pragma once

#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// Indices of the boxes that stay, best score first; of equal scores the one that comes first. A box goes when it
// overlaps one that stays by more than `threshold` (intersection over union). NaN scores come last.
std::vector<int> non_maximum_suppression(std::span<const Box> boxes, std::span<const float> scores, float threshold);

// The same within each group alone: boxes of different classes, or levels of a pyramid, do not meet. `groups` has a
// number a box. The indices of all groups together are ordered by score.
std::vector<int> non_maximum_suppression(std::span<const Box> boxes, std::span<const float> scores,
                                         std::span<const int> groups, float threshold);

}  // namespace convnext
