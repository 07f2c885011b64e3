// Operations of augmentation against Pillow, bit for bit (tools/goldens/augmentation.py made the files).
#include "image/pixel_operations.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "io/safetensors.h"
#include "model/formula.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/same_pixels.h"

namespace convnext {
namespace {

constexpr Rgb kFill = {124, 116, 104};

// One case of the golden file; a test may change it.
struct Case {
  std::string operation;
  std::string source;
  double argument = 0;
  std::string filter = {};
  Rgb fill = kFill;
  AffineMatrix matrix = {};
  Region region = {};
  int width = 0;  // of the result
  int height = 0;
};

AffineFilter affine_filter(const std::string& name) {
  if (name == "nearest") return AffineFilter::kNearest;
  return name == "bilinear" ? AffineFilter::kBilinear : AffineFilter::kBicubic;
}

Image run(const Image& image, const Case& made) {
  const int whole = static_cast<int>(made.argument);
  const auto move = [&](const AffineMatrix& matrix) {
    return affine(image, matrix, affine_filter(made.filter), made.fill);
  };
  const std::map<std::string, std::function<Image()>> operations = {
      {"auto_contrast", [&] { return auto_contrast(image); }},
      {"equalize", [&] { return equalize(image); }},
      {"invert", [&] { return invert(image); }},
      {"posterize", [&] { return posterize(image, whole); }},
      {"solarize", [&] { return solarize(image, whole); }},
      {"solarize_add", [&] { return solarize_add(image, whole); }},
      {"color", [&] { return enhance_color(image, made.argument); }},
      {"contrast", [&] { return enhance_contrast(image, made.argument); }},
      {"brightness", [&] { return enhance_brightness(image, made.argument); }},
      {"sharpness", [&] { return enhance_sharpness(image, made.argument); }},
      {"flip", [&] { return flip_horizontally(image); }},
      {"rotate", [&] { return move(rotation(image, made.argument)); }},
      {"shear_x", [&] { return move(shear_x(made.argument)); }},
      {"shear_y", [&] { return move(shear_y(made.argument)); }},
      {"translate_x_abs", [&] { return move(translate_x(made.argument)); }},
      {"translate_y_abs", [&] { return move(translate_y(made.argument)); }},
      {"affine", [&] { return move(made.matrix); }},
      {"resized_crop",
       [&] { return resized_crop(image, made.region, made.width, made.height, interpolation_from_name(made.filter)); }},
  };
  return operations.at(made.operation)();
}

class PixelOperations : public testing::Test {
 protected:
  PixelOperations() : file_(SafetensorsFile::open(golden_path("augmentation/operations.safetensors"))) {
    for (const auto& described : nlohmann::json::parse(file_.metadata().at("cases"))) {
      Case made{.operation = described.at("operation"), .source = described.at("source")};
      if (!described.at("argument").is_null()) made.argument = described.at("argument");
      made.filter = described.value("filter", "");
      if (described.contains("matrix")) {
        const auto m = described.at("matrix").get<std::array<double, 6>>();
        made.matrix = {m[0], m[1], m[2], m[3], m[4], m[5]};
      }
      if (described.contains("region")) {
        const auto box = described.at("region").get<std::array<int, 4>>();
        made.region = {box[0], box[1], box[2], box[3]};
      }
      const Image expected = image_from(golden_tensor(file_, std::to_string(cases_.size())));
      made.width = expected.width;
      made.height = expected.height;
      cases_.emplace_back(made, expected);
    }
  }

  testing::AssertionResult is_pillows(const Case& made, const Image& expected) const {
    return same_pixels(run(image_from(golden_tensor(file_, "source." + made.source)), made), expected);
  }

  SafetensorsFile file_;
  std::vector<std::pair<Case, Image>> cases_;
};

TEST_F(PixelOperations, GivePillowsPixels) {
  ASSERT_GE(cases_.size(), 200u);
  for (const auto& [made, expected] : cases_) {
    EXPECT_TRUE(is_pillows(made, expected))
        << made.operation << "(" << made.argument << ") " << made.filter << " of " << made.source;
  }
}

// What is slightly wrong gives other pixels in at least one case of each operation that it concerns.
TEST_F(PixelOperations, AreToldApartFromWrongOnes) {
  using Names = std::vector<std::string>;
  const Names moves = {"rotate", "shear_x", "shear_y", "translate_x_abs", "translate_y_abs"};
  const Names enhancements = {"color", "contrast", "brightness", "sharpness"};
  struct Mistake {
    std::string name;
    Names operations;
    std::function<void(Case&)> make;
  };
  const auto factor = [](double by) { return [by](Case& made) { made.argument *= by; }; };
  const auto instead = [](const std::string& other) { return [other](Case& made) { made.operation = other; }; };
  const std::vector<Mistake> mistakes = {
      {"a factor that is 1 % off", enhancements, factor(1.01)},
      {"an angle or a way that is 1 % off", moves, factor(1.01)},
      {"the other direction", moves, factor(-1.0)},
      {"one bit, level or step more", {"posterize", "solarize", "solarize_add"}, [](Case& made) { ++made.argument; }},
      {"another fill", moves,
       [](Case& made) {
         made.fill = {124, 117, 104};
       }},
      {"the nearest pixel",
       {"rotate", "shear_x", "shear_y", "translate_x_abs", "translate_y_abs", "affine"},
       [](Case& made) { made.filter = "nearest"; }},
      {"bilinear",
       {"rotate", "shear_x", "shear_y", "translate_x_abs", "translate_y_abs", "affine", "resized_crop"},
       [](Case& made) { made.filter = "bilinear"; }},
      {"bicubic",
       {"rotate", "shear_x", "shear_y", "translate_x_abs", "translate_y_abs", "affine", "resized_crop"},
       [](Case& made) { made.filter = "bicubic"; }},
      {"a crop that lies a pixel lower", {"resized_crop"}, [](Case& made) { --made.region.top; }},
      {"stretching for equalising", {"equalize"}, instead("auto_contrast")},
      {"equalising for stretching", {"auto_contrast"}, instead("equalize")},
      {"inversion for mirroring", {"flip"}, instead("invert")},
  };
  for (const Mistake& mistake : mistakes) {
    for (const std::string& operation : mistake.operations) {
      bool noticed = false;
      for (const auto& [made, expected] : cases_) {
        if (made.operation != operation || made.source == "one") continue;
        Case wrong = made;
        mistake.make(wrong);
        if (wrong.region.top < 0) continue;
        noticed = noticed || !is_pillows(wrong, expected);
      }
      EXPECT_TRUE(noticed) << mistake.name << " passes for " << operation;
    }
  }
}

// At its strongest RandAugment asks for no bits at all, and at magnitudes beyond for fewer than that.
TEST(Posterize, ToNoBitsIsBlack) {
  const Image image = formula_picture(5, 4, 1);
  for (const int bits : {0, -1, -100}) {
    EXPECT_EQ(posterize(image, bits).pixels, std::vector<std::uint8_t>(image.pixels.size(), 0)) << bits;
  }
  EXPECT_EQ(posterize(image, 8).pixels, image.pixels);
  EXPECT_EQ(posterize(image, 100).pixels, image.pixels);
}

// A matrix that leaves the picture, or an angle of many turns, must not read outside of it.
TEST(Affine, FillsWhatComesFromOutsideWhateverTheMatrix) {
  const Image image = formula_picture(6, 5, 2);
  for (const AffineFilter filter : {AffineFilter::kNearest, AffineFilter::kBilinear, AffineFilter::kBicubic}) {
    for (const AffineMatrix& matrix :
         {AffineMatrix{.c = 1e300}, AffineMatrix{.a = -1e300, .b = 1e300, .c = 1.1e300}, AffineMatrix{.f = -6},
          AffineMatrix{.a = 0, .c = -0.01}, AffineMatrix{.a = 1e308, .b = 1e308, .c = 1e308, .d = 1}}) {
      const Image moved = affine(image, matrix, filter, kFill);
      for (std::size_t i = 0; i < moved.pixels.size(); ++i) ASSERT_EQ(moved.pixels[i], kFill[i % 3]);
    }
    EXPECT_EQ(affine(image, {}, filter, kFill).pixels, image.pixels);
    EXPECT_EQ(affine(image, rotation(image, 720), filter, kFill).pixels, image.pixels);
  }
}

// Pillow rounds the entries to 15 decimals, without which a quarter turn would not be one.
TEST(Rotation, HasEntriesOf15Decimals) {
  const Image image = formula_picture(6, 4, 2);
  const AffineMatrix twelfth = rotation(image, 30);
  EXPECT_EQ(twelfth.a, 0.866025403784439);
  EXPECT_EQ(twelfth.b, -0.5);
  EXPECT_EQ(twelfth.d, 0.5);
  EXPECT_EQ(twelfth.e, 0.866025403784439);
  const AffineMatrix quarter = rotation(image, -90);
  EXPECT_EQ(quarter.a, 0.0);
  EXPECT_EQ(quarter.b, 1.0);
  EXPECT_EQ(quarter.c, 1.0);
  EXPECT_EQ(quarter.f, 5.0);
}

TEST(Shift, TakesPixelsFromAsFarAwayAsItSays) {
  const Image image = formula_picture(9, 7, 3);
  for (const auto& [dx, dy] : {std::pair{0, 0}, {2, 0}, {-3, 1}, {8, -6}, {20, 2}, {-9, -7}}) {
    const Image moved = shift(image, dx, dy, ShiftPadding::kBlack);
    for (int y = 0; y < 7; ++y) {
      for (int x = 0; x < 9; ++x) {
        const bool inside = x + dx >= 0 && x + dx < 9 && y + dy >= 0 && y + dy < 7;
        const int expected = inside ? image.pixels[static_cast<std::size_t>((y + dy) * 9 + x + dx) * 3 + 1] : 0;
        ASSERT_EQ(moved.pixels[static_cast<std::size_t>(y * 9 + x) * 3 + 1], expected) << dx << ", " << dy;
      }
    }
  }
}

// numpy.pad(range(4), 6, "reflect"): the outermost pixel is not repeated.
TEST(Shift, ReflectsAtTheOutermostPixel) {
  Image image{.width = 4, .height = 1, .pixels = std::vector<std::uint8_t>(12)};
  for (std::size_t i = 0; i < 12; ++i) image.pixels[i] = static_cast<std::uint8_t>(i / 3);
  const std::vector<int> padded = {0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3};
  for (int dx = -6; dx <= 6; ++dx) {
    const Image moved = shift(image, dx, 5, ShiftPadding::kReflection);
    for (int x = 0; x < 4; ++x) {
      EXPECT_EQ(moved.pixels[static_cast<std::size_t>(x) * 3], padded[static_cast<std::size_t>(x + dx + 6)]) << dx;
    }
  }
}

TEST(Flip, TwiceIsNothing) {
  const Image image = formula_picture(7, 5, 1);
  EXPECT_NE(flip_horizontally(image).pixels, image.pixels);
  EXPECT_EQ(flip_horizontally(flip_horizontally(image)).pixels, image.pixels);
  EXPECT_EQ(flip_horizontally(image).pixels[1], image.pixels[6 * 3 + 1]);
}

TEST(PixelOperation, RefusesWhatIsNoPictureAndNoNumber) {
  const Image image = formula_picture(4, 3, 1);
  Image lying = image;
  lying.width = 5;
  for (const auto& operation : std::vector<std::function<Image(const Image&)>>{
           auto_contrast, equalize, invert, flip_horizontally, [](const Image& it) { return posterize(it, 3); },
           [](const Image& it) { return enhance_color(it, 0.5); },
           [](const Image& it) { return enhance_contrast(it, 2); },
           [](const Image& it) { return enhance_brightness(it, 2); },
           [](const Image& it) { return enhance_sharpness(it, 2); },
           [](const Image& it) { return shift(it, 1, 1, ShiftPadding::kReflection); },
           [](const Image& it) { return affine(it, {}, AffineFilter::kBicubic, kFill); },
           [](const Image& it) {
             return crop(it, {0, 0, 1, 1});
           }}) {
    expect_error(ErrorCode::kInvalidArgument, {"0 x 0"}, [&] { operation(Image{}); });
    expect_error(ErrorCode::kInvalidArgument, {"5 x 3", "36 bytes"}, [&] { operation(lying); });
  }
  const double infinite = std::numeric_limits<double>::infinity();
  expect_error(ErrorCode::kInvalidArgument, {"color", "nan"}, [&] { enhance_color(image, std::nan("")); });
  expect_error(ErrorCode::kInvalidArgument, {"sharpness", "inf"}, [&] { enhance_sharpness(image, infinite); });
  expect_error(ErrorCode::kInvalidArgument, {"inf"},
               [&] { affine(image, shear_x(infinite), AffineFilter::kNearest, kFill); });
  expect_error(ErrorCode::kInvalidArgument, {"nan"},
               [&] { affine(image, rotation(image, infinite), AffineFilter::kNearest, kFill); });
  expect_error(ErrorCode::kInvalidArgument, {"4 x 3 at (1, 0)"}, [&] {
    resized_crop(image, {1, 0, 4, 3}, 2, 2, Interpolation::kBicubic);
  });
}

}  // namespace
}  // namespace convnext
