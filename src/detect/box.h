// Boxes on pictures: corners in pixels, x to the right and y down, a pixel being the square from its index to the next.
#pragma once

#include <algorithm>

namespace convnext {

struct Box {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;

  float width() const { return x2 - x1; }
  float height() const { return y2 - y1; }
  float area() const { return width() * height(); }
  bool operator==(const Box&) const = default;
};

// Of what two boxes cover, the part that both do; 0 where they cover nothing.
inline float intersection_over_union(const Box& a, const Box& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0 && height > 0)) return 0.0f;
  const float shared = width * height;
  return shared / (a.area() + b.area() - shared);
}

}  // namespace convnext
