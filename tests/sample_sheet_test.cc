// Pictures that people look at: the PNG that we write, the sheet of samples, and the way back from a batch.
#include "train/sample_sheet.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "io/file.h"
#include "io/picture.h"
#include "model/formula.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

Image plain(int width, int height, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Image image{.width = width, .height = height, .pixels = {}};
  for (int i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), {red, green, blue});
  return image;
}

std::array<int, 3> pixel(const Image& image, int x, int y) {
  const std::size_t at = static_cast<std::size_t>(y * image.width + x) * 3;
  return {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]};
}

using Rgb = std::array<int, 3>;

Image decoded(const std::string& bytes) { return Image::decode(std::as_bytes(std::span(bytes)), "picture"); }

TEST(Png, GivesBackThePixelsThatWereWritten) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 37}, {300, 1}, {43, 29}}) {
    const Image image = formula_picture(width, height, 5);
    const Image back = decoded(encode_png(image));
    EXPECT_EQ(back.width, width);
    EXPECT_EQ(back.height, height);
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(Png, IsTheSameFileForTheSamePicture) {
  EXPECT_EQ(encode_png(formula_picture(20, 30, 1)), encode_png(formula_picture(20, 30, 1)));
  EXPECT_NE(encode_png(formula_picture(20, 30, 1)), encode_png(formula_picture(20, 30, 2)));
}

TEST(Png, CompressesWhatIsPlain) { EXPECT_LT(encode_png(plain(300, 300, 9, 9, 9)).size(), 3000u); }

TEST(Png, RefusesPicturesThatAreNone) {
  expect_error(ErrorCode::kInvalidArgument, {"0 x 4"}, [] { encode_png({.width = 0, .height = 4, .pixels = {}}); });
  expect_error(ErrorCode::kInvalidArgument, {"2 x -1"}, [] { encode_png({.width = 2, .height = -1, .pixels = {}}); });
  Image short_of_a_byte = plain(4, 4, 1, 2, 3);
  short_of_a_byte.pixels.pop_back();
  expect_error(ErrorCode::kInvalidArgument, {"4 x 4", "47"}, [&] { encode_png(short_of_a_byte); });
}

TEST(Png, LeavesTheOldFileWhereAPictureCannotBeWritten) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", plain(2, 2, 1, 1, 1));
  const std::string before = read_text(folder / "a.png");
  EXPECT_THROW(write_png(folder / "a.png", Image{}), Error);
  EXPECT_EQ(read_text(folder / "a.png"), before);
  EXPECT_EQ(folder.entries(), 1u);
  expect_error(ErrorCode::kNotFound, {"missing/a.png"},
               [&] { write_png(folder / "missing/a.png", plain(1, 1, 0, 0, 0)); });
}

TEST(SampleSheet, PlacesPicturesRowByRowWithABorderAroundEach) {
  const std::vector<Image> pictures = {plain(100, 120, 255, 0, 0), plain(100, 120, 0, 255, 0),
                                       plain(100, 120, 0, 0, 255)};
  const Image sheet = sample_sheet(pictures, 2);
  ASSERT_EQ(sheet.width, 2 * 100 + 3 * 2);
  ASSERT_EQ(sheet.height, 2 * 120 + 3 * 2);
  EXPECT_EQ(pixel(sheet, 2, 2), (Rgb{255, 0, 0}));
  EXPECT_EQ(pixel(sheet, 101, 121), (Rgb{255, 0, 0}));
  EXPECT_EQ(pixel(sheet, 104, 2), (Rgb{0, 255, 0}));
  EXPECT_EQ(pixel(sheet, 203, 121), (Rgb{0, 255, 0}));
  EXPECT_EQ(pixel(sheet, 2, 124), (Rgb{0, 0, 255}));
  EXPECT_EQ(pixel(sheet, 101, 243), (Rgb{0, 0, 255}));
  // Borders, and the place where a fourth would be.
  const Rgb border = pixel(sheet, 0, 0);
  for (const auto& [x, y] :
       {std::pair{1, 50}, {102, 50}, {103, 50}, {204, 50}, {205, 50}, {50, 122}, {50, 244}, {104, 124}, {203, 243}}) {
    EXPECT_EQ(pixel(sheet, x, y), border) << x << ", " << y;
  }
}

TEST(SampleSheet, EnlargesSmallPicturesByAWholeFactor) {
  Image image = plain(20, 10, 0, 0, 0);
  image.pixels[(3 * 20 + 7) * 3] = 200;  // one red pixel at (7, 3)
  const Image sheet = sample_sheet(std::vector{image}, 1);
  // 20 pixels need a factor of 5 for 96.
  ASSERT_EQ(sheet.width, 20 * 5 + 4);
  ASSERT_EQ(sheet.height, 10 * 5 + 4);
  for (int y = 0; y < 50; ++y) {
    for (int x = 0; x < 100; ++x) {
      const bool inside = x / 5 == 7 && y / 5 == 3;
      ASSERT_EQ(pixel(sheet, x + 2, y + 2), (Rgb{inside ? 200 : 0, 0, 0})) << x << ", " << y;
    }
  }
  EXPECT_EQ(sample_sheet(std::vector{plain(32, 32, 0, 0, 0)}, 1).width, 96 + 4);
  EXPECT_EQ(sample_sheet(std::vector{plain(96, 96, 0, 0, 0)}, 1).width, 96 + 4);
  EXPECT_EQ(sample_sheet(std::vector{plain(95, 95, 0, 0, 0)}, 1).width, 190 + 4);
}

TEST(SampleSheet, IsNoWiderThanItsPictures) {
  EXPECT_EQ(sample_sheet(std::vector{plain(100, 100, 0, 0, 0)}, 8).width, 104);
}

TEST(SampleSheet, RefusesWhatMakesNoSheet) {
  const std::vector<Image> unequal = {plain(4, 4, 0, 0, 0), plain(4, 5, 0, 0, 0)};
  expect_error(ErrorCode::kInvalidArgument, {"4 x 5", "4 x 4"}, [&] { sample_sheet(unequal, 2); });
  expect_error(ErrorCode::kInvalidArgument, {"0 pictures"}, [] { sample_sheet({}, 2); });
  expect_error(ErrorCode::kInvalidArgument, {"0 columns"}, [&] { sample_sheet(std::span(unequal).first(1), 0); });
  expect_error(ErrorCode::kInvalidArgument, {"0 x 0"}, [] { sample_sheet(std::vector{Image{}}, 1); });
  const std::vector<Image> many(400, plain(1000, 1000, 0, 0, 0));
  expect_error(ErrorCode::kInvalidArgument, {"show fewer"}, [&] { sample_sheet(many, 20); });
}

// Every byte of every channel comes back from what normalize() made of it: a mean or deviation of the wrong channel, or
// a cut instead of a rounding, does not.
TEST(Denormalize, IsTheInverseOfNormalize) {
  const Preprocessing preprocessing;
  Image image{.width = 256, .height = 3, .pixels = {}};
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 256; ++x) {
      for (int c = 0; c < 3; ++c) image.pixels.push_back(static_cast<std::uint8_t>(x * (2 * c + 1) + 85 * y));
    }
  }
  std::vector<float> planes(256 * 3 * 3), batch(2 * planes.size());
  normalize(image, preprocessing, planes);
  for (std::size_t i = 0; i < 256 * 3; ++i) {
    for (std::size_t c = 0; c < 3; ++c) batch[i * 3 + c] = planes[c * 256 * 3 + i];
  }
  std::copy_n(batch.begin(), planes.size(), batch.begin() + static_cast<std::ptrdiff_t>(planes.size()));
  const std::vector<Image> pictures = denormalize(batch, 256, 3, preprocessing);
  ASSERT_EQ(pictures.size(), 2u);
  for (const Image& picture : pictures) {
    EXPECT_EQ(picture.width, 256);
    EXPECT_EQ(picture.height, 3);
    EXPECT_EQ(picture.pixels, image.pixels);
  }
}

TEST(Denormalize, CutsOffTheNoiseOfErasedPlaces) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> batch = {-9, 9, 0, kNan, kInfinity, -kInfinity};
  const std::vector<Image> pictures = denormalize(batch, 2, 1, {});
  EXPECT_EQ(pixel(pictures[0], 0, 0), (Rgb{0, 255, static_cast<int>(std::lround(0.406 * 255))}));
  EXPECT_EQ(pixel(pictures[0], 1, 0), (Rgb{0, 255, 0}));
}

TEST(Denormalize, RefusesABatchThatIsNoWholeNumberOfPictures) {
  const std::vector<float> batch(25);
  expect_error(ErrorCode::kInvalidArgument, {"25", "2 x 2"}, [&] { denormalize(batch, 2, 2, {}); });
  expect_error(ErrorCode::kInvalidArgument, {"0 x 2"}, [&] { denormalize(batch, 0, 2, {}); });
}

}  // namespace
}  // namespace convnext
