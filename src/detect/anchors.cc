#include "detect/anchors.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace convnext {

std::vector<Box> anchors_of_level(int height, int width, int stride) {
  constexpr std::array<float, kAnchorShapes> kHeightToWidth = {0.5f, 1.0f, 2.0f};
  constexpr float kScale = 8.0f;
  std::vector<Box> anchors;
  anchors.reserve(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * kAnchorShapes);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto centre_x = static_cast<float>(x * stride), centre_y = static_cast<float>(y * stride);
      for (const float ratio : kHeightToWidth) {
        const float taller = std::sqrt(ratio);
        const float half_width = static_cast<float>(stride) * (1.0f / taller) * kScale / 2;
        const float half_height = static_cast<float>(stride) * taller * kScale / 2;
        anchors.push_back(
            {centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height});
      }
    }
  }
  return anchors;
}

}  // namespace convnext
