#include "detect/mask_targets.h"

#include <algorithm>
#include <cstddef>

#include "detect/roi_align.h"

namespace convnext {

std::vector<float> mask_targets(std::span<const std::uint8_t> mask, int height, int width, std::span<const Box> boxes,
                                int side) {
  std::vector<float> map(mask.size());
  std::ranges::transform(mask, map.begin(), [](std::uint8_t pixel) { return pixel != 0 ? 1.0f : 0.0f; });
  std::vector<RegionOfInterest> regions;
  for (const Box& box : boxes) regions.push_back({0, box});
  std::vector<float> bins(boxes.size() * static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  roi_align(map.data(), {.pictures = 1, .height = height, .width = width, .channels = 1}, regions,
            {.bins = side, .scale = 1.0f}, bins.data());
  for (float& bin : bins) bin = bin >= 0.5f ? 1.0f : 0.0f;
  return bins;
}

}  // namespace convnext
