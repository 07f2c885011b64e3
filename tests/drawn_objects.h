// A small data set in COCO's format that a test draws for itself: bright squares and dark crosses on grey ground.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "core/hash.h"
#include "io/file.h"
#include "io/picture.h"

namespace convnext {

// Writes `count` pictures of 64x48 into root/split and root/split.json; other `seed`s give other pictures. Each has two
// objects, one a half of it; both kinds are outlined by polygons.
inline void draw_objects(const std::filesystem::path& root, const std::string& split, int count, std::uint64_t seed) {
  using Json = nlohmann::ordered_json;
  constexpr int kWidth = 64, kHeight = 48;
  std::filesystem::create_directories(root / split);
  Json images = Json::array(), annotations = Json::array();
  for (int i = 0; i < count; ++i) {
    auto draw = [key = mix(seed + static_cast<std::uint64_t>(i)), n = std::uint64_t{0}](std::uint64_t choices) mutable {
      return static_cast<int>(mix(key + ++n) % choices);
    };
    Image image{.width = kWidth, .height = kHeight, .pixels = {}};
    image.pixels.assign(kWidth * kHeight * 3, static_cast<std::uint8_t>(100 + draw(40)));
    const std::string name = fmt::format("{}.png", i);
    images.push_back({{"id", i + 1}, {"file_name", name}, {"width", kWidth}, {"height", kHeight}});
    for (int half = 0; half < 2; ++half) {
      const bool is_square = draw(2) == 0;
      const int side = 12 + draw(12), third = side / 3;
      const int x = half * kWidth / 2 + draw(static_cast<std::uint64_t>(kWidth / 2 - side));
      const int y = draw(static_cast<std::uint64_t>(kHeight - side));
      const auto inside = [&](int dx, int dy) {
        const auto middle = [&](int d) { return d >= third && d < side - third; };
        return is_square || middle(dx) || middle(dy);
      };
      for (int dy = 0; dy < side; ++dy) {
        for (int dx = 0; dx < side; ++dx) {
          if (!inside(dx, dy)) continue;
          for (int c = 0; c < 3; ++c) {
            image.pixels[static_cast<std::size_t>(((y + dy) * kWidth + x + dx) * 3 + c)] = is_square ? 230 : 20;
          }
        }
      }
      const int a = third, b = side - third, s = side;
      Json polygon = is_square
                         ? Json{x, y, x + s, y, x + s, y + s, x, y + s}
                         : Json{x + a, y,     x + b, y,     x + b, y + a, x + s, y + a, x + s, y + b, x + b, y + b,
                                x + b, y + s, x + a, y + s, x + a, y + b, x,     y + b, x,     y + a, x + a, y + a};
      annotations.push_back({{"id", annotations.size() + 1},
                             {"image_id", i + 1},
                             {"category_id", is_square ? 1 : 7},
                             {"bbox", {x, y, s, s}},
                             {"area", is_square ? s * s : s * s - 4 * a * a},
                             {"iscrowd", 0},
                             {"segmentation", Json::array({std::move(polygon)})}});
    }
    write_png(root / split / name, image);
  }
  const Json categories = {{{"id", 1}, {"name", "square"}}, {{"id", 7}, {"name", "cross"}}};
  const Json all = {{"images", images}, {"annotations", annotations}, {"categories", categories}};
  write_file_atomically(root / (split + ".json"), all.dump());
}

}  // namespace convnext
