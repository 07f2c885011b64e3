// draw_scenes FOLDER [PICTURES [HELD OUT [SHORT SIDE]]]: scenes drawn by formula with every object's box and mask, in
// COCO's format, to try detection on. Shapes of six kinds, small to large, turned, coloured, striped or checked, lie
// over each other on patterned ground; masks are of what can be seen of them. FOLDER/train gets PICTURES scenes (1000),
// FOLDER/val HELD OUT (200); FOLDER/train.json and FOLDER/val.json say what is in them. The same folder comes out every
// time. Another SHORT SIDE than 160 pixels draws the same scenes larger or smaller: from 320 on some of the objects are
// what COCO calls large, 96 x 96 pixels.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "convnext/error.h"
#include "examples/shapes.h"
#include "io/file.h"
#include "io/picture.h"

namespace {

namespace fs = std::filesystem;
using convnext::examples::Draws;
using convnext::examples::is_inside;
using convnext::examples::kShapes;
using Json = nlohmann::ordered_json;
using Colour = std::array<double, 3>;

constexpr int kShortSide = 160;  // that all sizes below are for
constexpr int kNothing = -1;

Colour any_colour(Draws& draws) { return {draws(20, 235), draws(20, 235), draws(20, 235)}; }

// What a surface looks like at each point.
struct Texture {
  enum Kind { kPlain, kStripes, kChecks, kGradient, kKinds };
  Kind kind = kPlain;
  Colour first{}, second{};
  double across = 0, along = 0;  // waves a pixel

  Texture(Draws& draws, double scale)
      : kind(static_cast<Kind>(draws.below(kKinds))), first(any_colour(draws)), second(any_colour(draws)) {
    const double angle = draws(0, 6.28), waves = draws(0.08, 0.5) / scale;
    across = waves * std::cos(angle);
    along = waves * std::sin(angle);
    // The two colours of a surface are alike: it is one thing.
    for (std::size_t c = 0; c < 3; ++c) second[c] = first[c] + 0.35 * (second[c] - first[c]);
  }
  double at(int x, int y, std::size_t channel) const {
    double part = 0;
    switch (kind) {
      case kStripes:
        part = std::sin(across * x + along * y) > 0 ? 1 : 0;
        break;
      case kChecks:
        part = (std::sin(across * x + along * y) > 0) == (std::sin(along * x - across * y) > 0) ? 1 : 0;
        break;
      case kGradient:
        part = 0.5 + 0.5 * std::sin(0.2 * (across * x + along * y));
        break;
      default:
        break;
    }
    return first[channel] + part * (second[channel] - first[channel]);
  }
};

struct Object {
  std::size_t shape;
  double x, y, radius, turn;
  Texture texture;

  Object(Draws& draws, int width, int height, double scale)
      : shape(draws.below(kShapes.size())),
        x(draws(0, width)),
        y(draws(0, height)),
        radius(scale * (7 * std::exp(draws(0, std::log(60.0 / 7))))),
        turn(draws(-0.6, 0.6)),
        texture(draws, scale) {}
  bool covers(double px, double py) const {
    const double dx = (px - x) / radius, dy = (py - y) / radius;
    return is_inside(shape, dx * std::cos(turn) + dy * std::sin(turn), dy * std::cos(turn) - dx * std::sin(turn));
  }
};

struct Scene {
  int width, height;
  std::vector<Object> objects;
  std::vector<int> top;  // which object is seen at each pixel

  std::vector<int> areas() const {
    std::vector<int> areas(objects.size(), 0);
    for (const int object : top) {
      if (object != kNothing) ++areas[static_cast<std::size_t>(object)];
    }
    return areas;
  }

  // Lays it over the others, unless it hides more than half of one of them or lies mostly outside.
  void try_to_add(const Object& object) {
    const int number = static_cast<int>(objects.size());
    std::vector<int> with = top;
    int seen = 0;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        if (!object.covers(x + 0.5, y + 0.5)) continue;
        with[static_cast<std::size_t>(y * width + x)] = number;
        ++seen;
      }
    }
    const double whole = 0.6 * object.radius * object.radius;  // the least that any of the shapes covers
    if (seen < std::max(30.0, whole)) return;
    Scene changed{width, height, objects, with};
    changed.objects.push_back(object);
    const std::vector<int> before = areas(), after = changed.areas();
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (after[i] < std::max(30, before[i] / 2)) return;
    }
    *this = std::move(changed);
  }
};

Scene arrange(Draws& draws, int side) {
  const double scale = static_cast<double>(side) / kShortSide;
  const int longer = side + static_cast<int>(scale * 8 * static_cast<double>(draws.below(9)));
  const bool upright = draws() < 0.5;
  Scene scene{upright ? side : longer, upright ? longer : side, {}, {}};
  scene.top.assign(static_cast<std::size_t>(scene.width * scene.height), kNothing);
  const std::size_t wanted = 2 + draws.below(8);
  for (int attempt = 0; attempt < 40 && scene.objects.size() < wanted; ++attempt) {
    scene.try_to_add(Object(draws, scene.width, scene.height, scale));
  }
  return scene;
}

convnext::Image paint(const Scene& scene, Draws& draws) {
  const Texture ground(draws, static_cast<double>(std::min(scene.width, scene.height)) / kShortSide);
  convnext::Image image{.width = scene.width, .height = scene.height, .pixels = {}};
  for (int y = 0; y < scene.height; ++y) {
    for (int x = 0; x < scene.width; ++x) {
      const int object = scene.top[static_cast<std::size_t>(y * scene.width + x)];
      const Texture& texture = object == kNothing ? ground : scene.objects[static_cast<std::size_t>(object)].texture;
      for (std::size_t c = 0; c < 3; ++c) {
        const double value = texture.at(x, y, c) + draws(-14, 14);
        image.pixels.push_back(static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return image;
}

// Box, area and mask of what is seen of an object. Runs go down the columns and begin with those outside.
Json annotation(const Scene& scene, int object) {
  int left = scene.width, top = scene.height, right = 0, bottom = 0, area = 0;
  std::vector<int> counts = {0};
  bool inside = false;
  for (int x = 0; x < scene.width; ++x) {
    for (int y = 0; y < scene.height; ++y) {
      const bool is = scene.top[static_cast<std::size_t>(y * scene.width + x)] == object;
      if (is != inside) counts.push_back(0);
      inside = is;
      ++counts.back();
      if (!is) continue;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = std::max(bottom, y + 1);
      ++area;
    }
  }
  return {{"category_id", scene.objects[static_cast<std::size_t>(object)].shape + 1},
          {"bbox", {left, top, right - left, bottom - top}},
          {"area", area},
          {"iscrowd", 0},
          {"segmentation", {{"size", {scene.height, scene.width}}, {"counts", counts}}}};
}

void draw_split(const fs::path& folder, const std::string& split, int count, int side, std::uint64_t first_key) {
  fs::create_directories(folder / split);
  Json images = Json::array(), annotations = Json::array(), categories = Json::array();
  for (std::size_t i = 0; i < kShapes.size(); ++i) categories.push_back({{"id", i + 1}, {"name", kShapes[i]}});
  for (int i = 0; i < count; ++i) {
    Draws draws(first_key + static_cast<std::uint64_t>(i));
    const Scene scene = arrange(draws, side);
    const std::string name = fmt::format("{:05}.png", i);
    convnext::write_png(folder / split / name, paint(scene, draws));
    images.push_back({{"id", i + 1}, {"file_name", name}, {"width", scene.width}, {"height", scene.height}});
    for (std::size_t object = 0; object < scene.objects.size(); ++object) {
      Json one = {{"id", annotations.size() + 1}, {"image_id", i + 1}};
      one.update(annotation(scene, static_cast<int>(object)));
      annotations.push_back(std::move(one));
    }
  }
  const Json all = {
      {"images", std::move(images)}, {"annotations", std::move(annotations)}, {"categories", std::move(categories)}};
  convnext::write_file_atomically(folder / (split + ".json"), all.dump() + "\n");
}

// Of an argument; nothing where it is another one.
std::optional<int> number_of(const char* text, const char* what, int least, int most) {
  const int number = std::atoi(text);
  if (number >= least && number <= most) return number;
  fmt::print(stderr, "draw_scenes: '{}' is not {} from {} to {}\n", text, what, least, most);
  return std::nullopt;
}
std::optional<int> count_of(const char* text) { return number_of(text, "a number of pictures", 1, 100'000); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5 || argv[1][0] == '-') {
    fmt::print(
        stderr,
        "usage: draw_scenes FOLDER [PICTURES to train on [PICTURES held out [SHORT SIDE of a picture, pixels]]]\n");
    return 2;
  }
  const std::optional<int> pictures = argc > 2 ? count_of(argv[2]) : 1000;
  const std::optional<int> held_out = argc > 3 ? count_of(argv[3]) : 200;
  const std::optional<int> side = argc > 4 ? number_of(argv[4], "a short side", 32, 2000) : kShortSide;
  if (!pictures || !held_out || !side) return 2;
  try {
    draw_split(argv[1], "val", *held_out, *side, 1);
    draw_split(argv[1], "train", *pictures, *side, 1'000'000);
  } catch (const std::exception& error) {
    fmt::print(stderr, "draw_scenes: {}\n", error.what());
    return 1;
  }
  return 0;
}
