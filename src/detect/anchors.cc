#include "detect/anchors.h"

#include <cmath>
#include <cstddef>

namespace convnext {

std::vector<Box> anchors_of_level(int height, int width, int stride, double scale, std::span<const double> ratios) {
  const auto half = static_cast<float>(scale) / 2;
  std::vector<Box> anchors;
  anchors.reserve(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * ratios.size());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto centre_x = static_cast<float>(x * stride), centre_y = static_cast<float>(y * stride);
      for (const double ratio : ratios) {
        const float taller = std::sqrt(static_cast<float>(ratio));
        const float half_width = static_cast<float>(stride) * (1.0f / taller) * half;
        const float half_height = static_cast<float>(stride) * taller * half;
        anchors.push_back(
            {centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height});
      }
    }
  }
  return anchors;
}

}  // namespace convnext
