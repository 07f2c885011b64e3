// The shapes and the numbers that the drawn data sets of the walk-throughs are made of.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include "core/hash.h"

namespace convnext::examples {

inline constexpr std::array kShapes = {"crescent", "cross", "ring", "square", "star", "triangle"};

// Whether the point lies in the shape of radius 1 around the origin; `shape` is an index of kShapes.
inline bool is_inside(std::size_t shape, double x, double y) {
  const double r = std::hypot(x, y);
  switch (shape) {
    case 0:
      return r < 1 && std::hypot(x - 0.45, y) > 0.8;
    case 1:
      return std::max(std::fabs(x), std::fabs(y)) < 0.95 && std::min(std::fabs(x), std::fabs(y)) < 0.28;
    case 2:
      return r < 1 && r > 0.6;
    case 3:
      return std::max(std::fabs(x), std::fabs(y)) < 0.8;
    case 4: {
      // Five points: the radius swings between two values along the angle, in straight lines near enough.
      const double part = 2 * std::numbers::pi / 5;
      const double angle = std::fabs(std::remainder(std::atan2(y, x), part));
      return r * (std::cos(angle) + 1.9 * std::sin(angle)) < 1;
    }
    default:
      return y < 0.5 && y > -1 + 1.75 * std::fabs(x);
  }
}

// Numbers in [0, 1), a sequence for each picture.
class Draws {
 public:
  explicit Draws(std::uint64_t key) : key_(mix(key)) {}
  double operator()() { return unit_float(mix(key_ + ++count_)); }
  double operator()(double low, double high) { return low + (high - low) * (*this)(); }
  // An integer in [0, count).
  std::size_t below(std::size_t count) { return static_cast<std::size_t>((*this)() * static_cast<double>(count)); }

 private:
  std::uint64_t key_;
  std::uint64_t count_ = 0;
};

}  // namespace convnext::examples
