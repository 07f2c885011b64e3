// draw_shapes FOLDER [PICTURES]: a labelled data set drawn by formula, to try training and fine-tuning on: six classes
// of shapes in any place and colour, of several sizes and a little turned, over a patterned ground. FOLDER/train gets
// PICTURES a class (24), FOLDER/val 50. The same folder comes out every time.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numbers>

#include "convnext/error.h"
#include "core/hash.h"
#include "io/picture.h"

namespace {

namespace fs = std::filesystem;

constexpr int kSide = 64;
constexpr std::array kClasses = {"crescent", "cross", "ring", "square", "star", "triangle"};

// Whether the point lies in the shape of radius 1 around the origin.
bool is_inside(std::size_t shape, double x, double y) {
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
  explicit Draws(std::uint64_t key) : key_(convnext::mix(key)) {}
  double operator()() { return convnext::unit_float(convnext::mix(key_ + ++count_)); }
  double operator()(double low, double high) { return low + (high - low) * (*this)(); }

 private:
  std::uint64_t key_;
  std::uint64_t count_ = 0;
};

convnext::Image draw(std::size_t shape, std::uint64_t key) {
  Draws draws(key);
  std::array<double, 3> ground{}, colour{};
  double contrast = 0;
  while (contrast < 160) {
    contrast = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      ground[c] = draws(0, 255);
      colour[c] = draws(0, 255);
      contrast += std::fabs(ground[c] - colour[c]);
    }
  }
  const double radius = draws(16, 28);
  const double cx = draws(radius, kSide - radius), cy = draws(radius, kSide - radius);
  const double turn = draws(-0.4, 0.4);
  const double wave_x = draws(-0.4, 0.4), wave_y = draws(-0.4, 0.4), wave = draws(0, 40);

  convnext::Image image{.width = kSide, .height = kSide, .pixels = {}};
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      // Four points a pixel make the edge smooth.
      int inside = 0;
      for (const double dy : {0.25, 0.75}) {
        for (const double dx : {0.25, 0.75}) {
          const double px = (x + dx - cx) / radius, py = (y + dy - cy) / radius;
          inside +=
              is_inside(shape, px * std::cos(turn) + py * std::sin(turn), py * std::cos(turn) - px * std::sin(turn));
        }
      }
      const double part = inside / 4.0;
      const double pattern = wave * std::sin(wave_x * x + wave_y * y);
      for (std::size_t c = 0; c < 3; ++c) {
        const double value = part * colour[c] + (1 - part) * (ground[c] + pattern) + draws(-12, 12);
        image.pixels.push_back(static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return image;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fmt::print(stderr, "usage: draw_shapes FOLDER [PICTURES a class to train on]\n");
    return 2;
  }
  const fs::path folder = argv[1];
  const int pictures = argc == 3 ? std::atoi(argv[2]) : 24;
  if (pictures < 1 || pictures > 10'000) {
    fmt::print(stderr, "draw_shapes: '{}' is not a number of pictures from 1 to 10000\n", argv[2]);
    return 2;
  }
  try {
    std::uint64_t key = 0;
    for (const auto& [split, count] : {std::pair{"val", 50}, std::pair{"train", pictures}}) {
      for (std::size_t shape = 0; shape < kClasses.size(); ++shape) {
        const fs::path place = folder / split / kClasses[shape];
        fs::create_directories(place);
        for (int i = 0; i < count; ++i) convnext::write_png(place / fmt::format("{:04}.png", i), draw(shape, ++key));
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "draw_shapes: {}\n", error.what());
    return 1;
  }
  return 0;
}
