// Which objects the boxes of a detector learn: assignment by overlap, and the sample that the losses are of
// (mmdet's MaxIoUAssigner and RandomSampler).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// What a box is to learn, where it is not the index of an object.
inline constexpr int kBackground = -1;
inline constexpr int kLeftOut = -2;  // between the two bounds: neither object nor background

struct AssignmentOptions {
  float positive = 0.7f;    // overlaps its best object by as much or more: learns it
  float negative = 0.3f;    // overlaps every object by less: background
  bool low_quality = true;  // each object gets the boxes that overlap it most, all that are equal, if by at least
  float low_quality_least = 0.3f;  // this much, whatever they overlap more; a later object wins over an earlier one
};

// For each box the index of its object, kBackground or kLeftOut. Of objects that a box overlaps equally the first one.
std::vector<int> assign(std::span<const Box> boxes, std::span<const Box> objects, const AssignmentOptions& options);

struct SampledBoxes {
  std::vector<int> positive;  // indices of boxes, ascending
  std::vector<int> negative;
};

// At most `count` boxes, at most `positive_share` of them with an object; background takes the places that objects
// leave. Too many are drawn from without replacement: `draw(n)` gives a number in [0, n).
SampledBoxes sample(std::span<const int> assigned, int count, double positive_share,
                    const std::function<std::uint64_t(std::uint64_t)>& draw);

}  // namespace convnext
