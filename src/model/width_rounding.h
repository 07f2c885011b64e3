// How published networks make a computed width one of their own.
#pragma once

#include <algorithm>

namespace convnext {

// The nearest multiple of `divisor`, at least one of it, and not more than a tenth below `width`: timm's
// make_divisible, which is that of the authors of MobileNet and EfficientNet.
inline int rounded_width(double width, int divisor = 8) {
  int rounded = std::max(divisor, static_cast<int>(width + divisor / 2.0) / divisor * divisor);
  if (rounded < 0.9 * width) rounded += divisor;
  return rounded;
}

}  // namespace convnext
