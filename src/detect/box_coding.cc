#include "detect/box_coding.h"

#include <algorithm>
#include <cmath>

namespace convnext {

Deltas encode(const Box& from, const Box& to, const DeltaUnits& units) {
  const auto middle = [](float a, float b) { return (a + b) * 0.5f; };
  return {(middle(to.x1, to.x2) - middle(from.x1, from.x2)) / from.width() / units.centre,
          (middle(to.y1, to.y2) - middle(from.y1, from.y2)) / from.height() / units.centre,
          std::log(to.width() / from.width()) / units.size, std::log(to.height() / from.height()) / units.size};
}

Box decode(const Box& from, const Deltas& deltas, const DeltaUnits& units) {
  const auto side = [&units](float before, float delta) {
    return before * std::exp(std::clamp(delta * units.size, -kMaxLogarithmicChange, kMaxLogarithmicChange));
  };
  const float width = side(from.width(), deltas.width), height = side(from.height(), deltas.height);
  const float x = (from.x1 + from.x2) * 0.5f + from.width() * (deltas.x * units.centre);
  const float y = (from.y1 + from.y2) * 0.5f + from.height() * (deltas.y * units.centre);
  return {x - width * 0.5f, y - height * 0.5f, x + width * 0.5f, y + height * 0.5f};
}

Box clipped(const Box& box, int height, int width) {
  const auto within = [](float at, int end) { return std::clamp(at, 0.0f, static_cast<float>(end)); };
  return {within(box.x1, width), within(box.y1, height), within(box.x2, width), within(box.y2, height)};
}

}  // namespace convnext
