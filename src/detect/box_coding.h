// A box as a change of another: what a detector learns of boxes (Girshick et al. 2014; mmdet's DeltaXYWHBBoxCoder with
// means of 0).
#pragma once

#include "detect/box.h"

namespace convnext {

// How far the centre lies off, in widths and heights of the box that is changed, and the logarithm of how much larger
// the sides are; both in the units below.
struct Deltas {
  float x = 0, y = 0, width = 0, height = 0;
  bool operator==(const Deltas&) const = default;
};
struct DeltaUnits {
  float centre = 1.0f;
  float size = 1.0f;
};

// A side becomes 62.5 times as long, or as short, at most.
inline constexpr float kMaxLogarithmicChange = 4.135166556742356f;  // -ln(16 / 1000)

// What makes `to` of `from`, both of which have an area.
Deltas encode(const Box& from, const Box& to, const DeltaUnits& units);
// NaN deltas make a NaN box.
Box decode(const Box& from, const Deltas& deltas, const DeltaUnits& units);

// The part of the box that lies on a picture.
Box clipped(const Box& box, int height, int width);

}  // namespace convnext
