// On which level of a feature pyramid a box is looked at (Lin et al. 2017, equation 1; mmdet's SingleRoIExtractor).
#pragma once

#include <algorithm>
#include <cmath>

#include "detect/box.h"

namespace convnext {

// 0 to 3: a box of 56 pixels a side belongs to level 0, each doubling of its side to one more. A box without a finite
// area belongs to level 0.
inline int pyramid_level(const Box& box) {
  constexpr float kFinestSide = 56.0f;
  const float level = std::floor(std::log2(std::sqrt(box.area()) / kFinestSide + 1e-6f));
  return std::isfinite(level) ? static_cast<int>(std::clamp(level, 0.0f, 3.0f)) : 0;
}

}  // namespace convnext
