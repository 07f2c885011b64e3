#include "train/augmentation.h"

#include <algorithm>

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

std::size_t row_bytes(const Image& image) { return static_cast<std::size_t>(image.width) * kChannels; }

}  // namespace

Image flip_horizontally(const Image& image) {
  Image flipped = image;
  const auto width = static_cast<std::size_t>(image.width);
  for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y) {
    const std::uint8_t* from = image.pixels.data() + y * row_bytes(image);
    std::uint8_t* to = flipped.pixels.data() + y * row_bytes(image);
    for (std::size_t x = 0; x < width; ++x) {
      std::copy_n(from + x * kChannels, kChannels, to + (width - 1 - x) * kChannels);
    }
  }
  return flipped;
}

Image shift_randomly(const Image& image, int padding, KeyedRandom& random) {
  const auto choices = static_cast<std::uint32_t>(2 * padding + 1);
  const int dx = static_cast<int>(random.below(choices)) - padding;
  const int dy = static_cast<int>(random.below(choices)) - padding;
  Image shifted{.width = image.width, .height = image.height, .pixels = {}};
  shifted.pixels.assign(image.pixels.size(), 0);
  const int first = std::max(0, -dx);
  const int count = image.width - std::abs(dx);
  if (count <= 0) return shifted;
  for (int y = std::max(0, -dy); y < std::min(image.height, image.height - dy); ++y) {
    const std::size_t to = static_cast<std::size_t>(y) * row_bytes(image) + static_cast<std::size_t>(first) * kChannels;
    const std::size_t from =
        static_cast<std::size_t>(y + dy) * row_bytes(image) + static_cast<std::size_t>(first + dx) * kChannels;
    std::copy_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(from), static_cast<std::size_t>(count) * kChannels,
                shifted.pixels.begin() + static_cast<std::ptrdiff_t>(to));
  }
  return shifted;
}

Image augment(Image image, const Augmentation& augmentation, KeyedRandom& random) {
  if (augmentation.crop_padding > 0) image = shift_randomly(image, augmentation.crop_padding, random);
  if (random.chance(augmentation.flip_probability)) image = flip_horizontally(image);
  return image;
}

}  // namespace convnext
