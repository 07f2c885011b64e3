// Objects drawn onto pictures: what is drawn where, and that no object, name or size of a picture breaks it.
#include "plot/detection_drawing.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "plot/outline.h"
#include "tests/expect_error.h"

namespace convnext {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

Image grey(int width, int height) {
  Image image{.width = width, .height = height, .pixels = {}};
  image.pixels.assign(static_cast<std::size_t>(3 * width * height), 128);
  return image;
}

bool differs(const Image& a, const Image& b, int x, int y) {
  const auto at = static_cast<std::size_t>(3 * (y * a.width + x));
  return !std::equal(a.pixels.begin() + static_cast<std::ptrdiff_t>(at),
                     a.pixels.begin() + static_cast<std::ptrdiff_t>(at) + 3,
                     b.pixels.begin() + static_cast<std::ptrdiff_t>(at));
}

// Pixels that differ, as their bounds.
struct Changed {
  int left = 1 << 20, top = 1 << 20, right = -1, bottom = -1;
  int pixels = 0;
};
Changed changed(const Image& before, const Image& after) {
  Changed result;
  for (int y = 0; y < before.height; ++y) {
    for (int x = 0; x < before.width; ++x) {
      if (!differs(before, after, x, y)) continue;
      result.left = std::min(result.left, x);
      result.top = std::min(result.top, y);
      result.right = std::max(result.right, x);
      result.bottom = std::max(result.bottom, y);
      ++result.pixels;
    }
  }
  return result;
}

MaskRle disc(int width, int height, double cx, double cy, double radius) {
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      pixels.push_back(std::hypot(x + 0.5 - cx, y + 0.5 - cy) <= radius ? 1 : 0);
    }
  }
  return encode_mask(pixels, height, width);
}

TEST(DetectionDrawing, ColoursTheMaskAndNothingAround) {
  const Image before = grey(200, 160);
  const MaskRle mask = disc(200, 160, 100, 80, 40);
  const Image after = draw_objects(before, std::array{DrawnObject{.box = {60, 40, 80, 80}, .mask = &mask}});
  for (int y = 0; y < before.height; ++y) {
    for (int x = 0; x < before.width; ++x) {
      const double distance = std::hypot(x + 0.5 - 100, y + 0.5 - 80);
      if (distance < 38) {
        EXPECT_TRUE(differs(before, after, x, y)) << x << "," << y;
      }
      // Outline and box have lines of a few pixels.
      const bool near_box = x >= 56 && x < 144 && y >= 36 && y < 124 && !(x >= 64 && x < 136 && y >= 44 && y < 116);
      if (distance > 43 && !near_box) {
        EXPECT_FALSE(differs(before, after, x, y)) << x << "," << y;
      }
    }
  }
  // Translucent: what the picture shows is still there.
  Image striped = before;
  for (std::size_t i = 0; i < striped.pixels.size(); i += 6) striped.pixels[i] = striped.pixels[i + 1] = 250;
  const Image over = draw_objects(striped, std::array{DrawnObject{.box = {60, 40, 80, 80}, .mask = &mask}});
  EXPECT_TRUE(differs(over, after, 100, 80) || differs(over, after, 101, 80));
}

// Outlines of one mask are lines of their own: none joins them.
TEST(DetectionDrawing, LeavesOutWhatLiesBetweenThePartsOfAMask) {
  const Image before = grey(200, 160);
  const MaskRle parts[] = {disc(200, 160, 50, 50, 20), disc(200, 160, 150, 110, 20)};
  const MaskRle mask = merge_masks(parts, MaskMerge::kUnion);
  const Image after = draw_objects(before, std::array{DrawnObject{.box = {30, 30, 140, 100}, .mask = &mask}});
  EXPECT_TRUE(differs(before, after, 50, 50));
  EXPECT_TRUE(differs(before, after, 150, 110));
  for (int y = 60; y < 100; ++y) {
    for (int x = 80; x < 120; ++x) EXPECT_FALSE(differs(before, after, x, y)) << x << "," << y;
  }
}

TEST(DetectionDrawing, WithoutObjectsIsThePicture) {
  const Image before = grey(40, 30);
  EXPECT_EQ(draw_objects(before, {}).pixels, before.pixels);
}

// A plate is drawn within the picture wherever its box lies, so its pixels cannot be fewer than in the middle of it.
TEST(DetectionDrawing, KeepsPlatesOnThePicture) {
  const Image before = grey(300, 200);
  const auto drawn = [&](double left, double top, double width, double height) {
    return changed(
        before, draw_objects(
                    before, std::array{DrawnObject{.box = {left, top, width, height}, .name = "truck", .score = 0.5}}));
  };
  const int middle = drawn(120, 80, 4, 4).pixels;
  ASSERT_GT(middle, 200);
  for (const auto& [left, top] : {std::pair{0.0, 0.0}, {296.0, 0.0}, {0.0, 196.0}, {296.0, 196.0}, {150.0, 0.0}}) {
    EXPECT_GT(drawn(left, top, 4, 4).pixels, 0.9 * middle) << left << "," << top;
  }
  // Of a box that lies outside there is nothing but the plate.
  EXPECT_GT(drawn(-50, -50, 20, 20).pixels, 0);
  EXPECT_GT(drawn(-50, -50, 1000, 1000).pixels, middle);
}

TEST(DetectionDrawing, PlatesMakeWayForEachOther) {
  const Image before = grey(300, 200);
  std::vector<DrawnObject> objects;
  int alone = 0;
  for (int i = 0; i < 4; ++i) {
    objects.push_back({.box = {100, 80, 90, 90}, .name = "truck", .score = 0.9 - 0.1 * i, .class_index = i});
    alone = std::max(alone, changed(before, draw_objects(before, std::span(objects).last(1))).pixels);
  }
  const int box = changed(before, draw_objects(before, std::array{DrawnObject{.box = {100, 80, 90, 90}}})).pixels;
  EXPECT_GT(changed(before, draw_objects(before, objects)).pixels, box + 3.5 * (alone - box));
}

TEST(DetectionDrawing, HighestScoreLiesOnTop) {
  const Image before = grey(100, 100);
  const std::array better{DrawnObject{.box = {20, 20, 60, 60}, .score = 0.9, .class_index = 0},
                          DrawnObject{.box = {20, 20, 60, 60}, .score = 0.3, .class_index = 4}};
  const std::array worse{better[1], better[0]};
  EXPECT_EQ(draw_objects(before, better).pixels, draw_objects(before, worse).pixels);
  const Image drawn = draw_objects(before, better);
  const auto colour = class_colour(0);
  const std::size_t on_the_line = 3 * (50 * 100 + 20);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(drawn.pixels[on_the_line + c], colour[c], 60);
}

TEST(DetectionDrawing, OfAnySizeOfPicture) {
  for (const auto& [width, height] : {std::pair{1, 1}, {5, 300}, {300, 5}, {2, 2}, {30, 12}, {2000, 1500}}) {
    const Image before = grey(width, height);
    const MaskRle mask = disc(width, height, width / 2.0, height / 2.0, std::max(width, height));
    const Image after = draw_objects(
        before, std::array{DrawnObject{.box = {0, 0, static_cast<double>(width), static_cast<double>(height)},
                                       .name = "a name that is longer than most pictures are wide",
                                       .score = 1.0,
                                       .mask = &mask}});
    EXPECT_EQ(after.width, width);
    EXPECT_EQ(after.height, height);
    EXPECT_THAT(after.pixels, SizeIs(before.pixels.size()));
    EXPECT_GT(changed(before, after).pixels, 0) << width << "x" << height;
  }
}

// Cairo draws nothing any more after a text that is not UTF-8.
TEST(DetectionDrawing, NamesMayHoldAnyBytes) {
  const Image before = grey(200, 100);
  const std::array objects{DrawnObject{.box = {10, 30, 20, 20}, .name = "\xff\xfe\n\x01", .score = 0.5},
                           DrawnObject{.box = {100, 30, 20, 20}, .name = "Straße", .score = 0.4}};
  EXPECT_GT(changed(before, draw_objects(before, objects)).right, 150);
}

TEST(DetectionDrawing, NeedsNoFont) {
  ::setenv("FONTCONFIG_FILE", "/dev/null", 1);
  const Image before = grey(200, 100);
  const Image after = draw_objects(before, std::array{DrawnObject{.box = {10, 40, 20, 20}, .name = "zebra"}});
  ::unsetenv("FONTCONFIG_FILE");
  EXPECT_GT(changed(before, after).right, 35);
}

TEST(DetectionDrawing, RefusesWhatDoesNotFit) {
  const MaskRle mask = disc(10, 10, 5, 5, 3);
  expect_error(ErrorCode::kMismatch, {"10x10", "20x10"},
               [&] { draw_objects(grey(20, 10), std::array{DrawnObject{.mask = &mask}}); });
  expect_error(ErrorCode::kInvalidArgument, {"no pixels"}, [] { draw_objects(Image{}, {}); });
  expect_error(ErrorCode::kUnsupported, {"40000x1", "32767"}, [] { draw_objects(grey(40000, 1), {}); });
}

TEST(ClassColours, AreApartAndStable) {
  std::set<std::array<std::uint8_t, 3>> colours;
  for (int i = 0; i < 80; ++i) EXPECT_TRUE(colours.insert(class_colour(i)).second) << i;
  for (int i = 0; i < 12; ++i) {
    for (int j = 0; j < i; ++j) {
      const auto a = class_colour(i), b = class_colour(j);
      int distance = 0;
      for (std::size_t c = 0; c < 3; ++c) distance += std::abs(a[c] - b[c]);
      EXPECT_GT(distance, 60) << i << " and " << j;
    }
  }
  EXPECT_EQ(class_colour(3), class_colour(3));
}

// The area that closed lines enclose; of holes it is negative.
double area_of(const std::vector<Point>& line) {
  double area = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const Point &a = line[i], &b = line[(i + 1) % line.size()];
    area += (a.x * b.y - b.x * a.y) / 2;
  }
  return area;
}

TEST(Outlines, EncloseTheMaskAndLeaveOutItsHoles) {
  constexpr int kSide = 60;
  std::vector<std::uint8_t> ring;
  int pixels = 0;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const double distance = std::hypot(x - 30, y - 30);
      ring.push_back(distance < 25 && distance > 10 ? 1 : 0);
      pixels += ring.back();
    }
  }
  const std::vector<std::vector<Point>> lines = outlines_of(ring, kSide, kSide);
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_GT(area_of(lines[0]), 0);
  EXPECT_LT(area_of(lines[1]), 0);
  EXPECT_NEAR(area_of(lines[0]) + area_of(lines[1]), pixels, 0.02 * pixels);
}

TEST(Outlines, OfPixelsThatTouchAtACornerAreApart) {
  const std::vector<std::uint8_t> two = {1, 0, 0, 1};
  EXPECT_THAT(outlines_of(two, 2, 2), SizeIs(2));
  EXPECT_THAT(outlines_of(std::vector<std::uint8_t>(4, 0), 2, 2), IsEmpty());
  EXPECT_THAT(outlines_of(std::vector<std::uint8_t>{1}, 1, 1), SizeIs(1));
}

}  // namespace
}  // namespace convnext
