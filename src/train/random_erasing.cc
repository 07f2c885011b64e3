#include "train/random_erasing.h"

#include <array>
#include <cmath>
#include <stdexcept>

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

}  // namespace

std::optional<Region> draw_erased_region(const RandomErasing& erasing, int width, int height, KeyedRandom& random) {
  if (!random.chance(erasing.probability)) return std::nullopt;
  const double whole = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(erasing.min_area, erasing.max_area) * whole;
    const double aspect = random.log_uniform(erasing.min_aspect, erasing.max_aspect);
    const double erased_height = std::nearbyint(std::sqrt(area * aspect));
    const double erased_width = std::nearbyint(std::sqrt(area / aspect));
    if (!(erased_width < width && erased_height < height)) continue;
    Region region{.width = static_cast<int>(erased_width), .height = static_cast<int>(erased_height)};
    region.top = random.below(static_cast<std::uint32_t>(height - region.height + 1));
    region.left = random.below(static_cast<std::uint32_t>(width - region.width + 1));
    return region;
  }
  return std::nullopt;
}

void erase(std::span<float> pixels, int width, int height, const RandomErasing& erasing, KeyedRandom& random) {
  if (width < 1 || height < 1 ||
      pixels.size() != static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * kChannels) {
    throw std::logic_error("erase: the pixels are not of that size");
  }
  const auto region = draw_erased_region(erasing, width, height, random);
  if (!region) return;

  std::array<float, kChannels> colour{};
  if (erasing.mode == EraseMode::kRandom) {
    for (float& value : colour) value = static_cast<float>(random.normal());
  }
  for (int y = 0; y < region->height; ++y) {
    const std::size_t row = static_cast<std::size_t>(region->top + y) * static_cast<std::size_t>(width);
    float* const first = pixels.data() + (row + static_cast<std::size_t>(region->left)) * kChannels;
    for (std::size_t i = 0; i < static_cast<std::size_t>(region->width) * kChannels; ++i) {
      first[i] = erasing.mode == EraseMode::kPixel ? static_cast<float>(random.normal()) : colour[i % kChannels];
    }
  }
}

}  // namespace convnext
