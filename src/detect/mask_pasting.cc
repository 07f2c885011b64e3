#include "detect/mask_pasting.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace convnext {
namespace {

// The two places of the mask between which the middle of a pixel lies, and what they count.
struct Between {
  int low = 0;
  float share_low = 0.0f, share_high = 0.0f;
};

// For the pixels from `first` on; `side` places between `start` and `end`.
std::vector<Between> places_of(int first, int count, float start, float end, int side) {
  std::vector<Between> places(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const float middle = static_cast<float>(first + i) + 0.5f;
    const float unit = (middle - start) / (end - start) * 2.0f - 1.0f;
    const float at = ((unit + 1.0f) * static_cast<float>(side) - 1.0f) / 2.0f;
    Between& place = places[static_cast<std::size_t>(i)];
    const float low = std::floor(at);
    place.low = static_cast<int>(low);
    place.share_high = at - low;
    place.share_low = 1.0f - place.share_high;
  }
  return places;
}

// The pixels whose middle lies close enough to [start, end] for the mask to reach them.
std::pair<int, int> reach(float start, float end, int side, int size) {
  const float margin = (end - start) / static_cast<float>(2 * side) + 1.0f;
  const auto within = [size](float at) { return static_cast<int>(std::clamp(at, 0.0f, static_cast<float>(size))); };
  return {within(std::floor(start - margin)), within(std::ceil(end + margin))};
}

}  // namespace

std::vector<std::uint8_t> paste_mask(std::span<const float> mask, int side, const Box& box, int height, int width,
                                     float threshold) {
  std::vector<std::uint8_t> picture(static_cast<std::size_t>(height) * static_cast<std::size_t>(width), 0);
  if (!(box.width() > 0 && box.height() > 0) || !std::isfinite(box.area())) return picture;
  const auto [top, bottom] = reach(box.y1, box.y2, side, height);
  const auto [left, right] = reach(box.x1, box.x2, side, width);
  const std::vector<Between> rows = places_of(top, bottom - top, box.y1, box.y2, side);
  const std::vector<Between> columns = places_of(left, right - left, box.x1, box.x2, side);
  const auto value = [&](int row, int column) {
    if (row < 0 || row >= side || column < 0 || column >= side) return 0.0f;
    return mask[static_cast<std::size_t>(row) * static_cast<std::size_t>(side) + static_cast<std::size_t>(column)];
  };
  for (int y = top; y < bottom; ++y) {
    const Between& row = rows[static_cast<std::size_t>(y - top)];
    std::uint8_t* out = picture.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width);
    for (int x = left; x < right; ++x) {
      const Between& column = columns[static_cast<std::size_t>(x - left)];
      const float probability = row.share_low * (column.share_low * value(row.low, column.low) +
                                                 column.share_high * value(row.low, column.low + 1)) +
                                row.share_high * (column.share_low * value(row.low + 1, column.low) +
                                                  column.share_high * value(row.low + 1, column.low + 1));
      out[x] = static_cast<std::uint8_t>(probability >= threshold);
    }
  }
  return picture;
}

}  // namespace convnext
