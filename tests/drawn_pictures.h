// A small labelled data set that a test draws for itself: crosses and squares of random place, size and colour.
#pragma once

#include <fmt/format.h>

#include <filesystem>

#include "core/hash.h"
#include "model/formula.h"
#include "tests/pictures.h"

namespace convnext {

// Writes `count` pictures of 24x24 into root/cross and root/square; other `seed`s give other pictures.
inline void draw_pictures(const std::filesystem::path& root, int count, std::uint64_t seed = 0) {
  constexpr int kSide = 24;
  for (const bool cross : {true, false}) {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t key = mix(seed + static_cast<std::uint64_t>(2 * i + cross));
      auto draw = [key, n = std::uint64_t{0}](std::uint64_t choices) mutable {
        return static_cast<int>(mix(key + ++n) % choices);
      };
      Image image{.width = kSide, .height = kSide, .pixels = {}};
      image.pixels.assign(kSide * kSide * 3, static_cast<std::uint8_t>(draw(60)));
      const int radius = 4 + draw(4);
      const int cx = 8 + draw(8), cy = 8 + draw(8);
      const int colour[3] = {150 + draw(100), 150 + draw(100), 150 + draw(100)};
      for (int y = 0; y < kSide; ++y) {
        for (int x = 0; x < kSide; ++x) {
          const int dx = std::abs(x - cx), dy = std::abs(y - cy);
          if (dx > radius || dy > radius) continue;
          const bool inside = cross ? dx <= 1 || dy <= 1 : dx >= radius - 1 || dy >= radius - 1;
          if (!inside) continue;
          for (int c = 0; c < 3; ++c) {
            image.pixels[static_cast<std::size_t>((y * kSide + x) * 3 + c)] = static_cast<std::uint8_t>(colour[c]);
          }
        }
      }
      write_picture(root / (cross ? "cross" : "square") / fmt::format("{:04}.png", i), image);
    }
  }
}

}  // namespace convnext
