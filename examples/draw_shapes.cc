// draw_shapes FOLDER [PICTURES]: a labelled data set drawn by formula, to try training and fine-tuning on: six classes
// of shapes in any place and colour, of several sizes and a little turned, over a patterned ground. FOLDER/train gets
// PICTURES a class (24), FOLDER/val 50. The same folder comes out every time.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "convnext/error.h"
#include "examples/shapes.h"
#include "io/picture.h"

namespace {

namespace fs = std::filesystem;
using convnext::examples::Draws;
using convnext::examples::is_inside;
using convnext::examples::kShapes;

constexpr int kSide = 64;
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
  if ((argc != 2 && argc != 3) || argv[1][0] == '-') {
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
      for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
        const fs::path place = folder / split / kShapes[shape];
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
