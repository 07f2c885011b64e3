#include "convnext/image.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "core/hash.h"
#include "image/resize.h"
#include "tests/expect_error.h"

namespace convnext {
namespace {

constexpr std::array kInterpolations = {Interpolation::kBox, Interpolation::kBilinear, Interpolation::kHamming,
                                        Interpolation::kBicubic, Interpolation::kLanczos};

Image noise(int width, int height) {
  Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height) * 3)};
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(mix(i));
  return image;
}

Image flat(int width, int height, std::uint8_t value) {
  return {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height) * 3, value)};
}

// Weights sum to one only after rounding to 22 bits; a sum short of it would darken white.
TEST(Resize, AFlatPictureStaysFlat) {
  for (const Interpolation interpolation : kInterpolations) {
    for (const std::uint8_t value : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{128}, std::uint8_t{255}}) {
      for (const auto& [width, height] : {std::pair{7, 5}, {31, 3}, {1, 1}, {100, 200}}) {
        const Image resized = resize(flat(23, 17, value), width, height, interpolation);
        EXPECT_EQ(resized.pixels, flat(width, height, value).pixels) << name_of(interpolation) << " " << int{value};
      }
    }
  }
}

TEST(Resize, TheSameSizeIsTheSamePicture) {
  const Image image = noise(13, 7);
  for (const Interpolation interpolation : kInterpolations) {
    EXPECT_EQ(resize(image, 13, 7, interpolation).pixels, image.pixels);
  }
}

// Black and white in turn drives the sums to both ends of 32 bits; a wrap would show as the opposite colour.
TEST(Resize, OvershootIsClippedAndDoesNotWrap) {
  Image stripes = flat(64, 1, 0);
  for (std::size_t x = 20; x < 40; ++x) std::fill_n(&stripes.pixels[x * 3], 3, std::uint8_t{255});
  for (const Interpolation interpolation : kInterpolations) {
    const Image resized = resize(stripes, 640, 1, interpolation);
    EXPECT_EQ(resized.pixels[100 * 3], 0);
    EXPECT_EQ(resized.pixels[300 * 3], 255);
    for (int x = 0; x < 640; ++x) {
      const int value = resized.pixels[static_cast<std::size_t>(x) * 3];
      if (x < 150 || x > 450) {
        EXPECT_EQ(value, 0) << x;
      } else if (x > 250 && x < 350) {
        EXPECT_EQ(value, 255) << x;
      }
    }
  }
}

TEST(Resize, ARegionIsThatPartOfTheWhole) {
  const Image image = noise(31, 23);
  for (const Interpolation interpolation : kInterpolations) {
    for (const auto& [width, height] : {std::pair{12, 9}, {31, 9}, {12, 23}, {31, 23}, {70, 50}}) {
      const Image whole = resize(image, width, height, interpolation);
      const Region region = {3, 2, 7, 5};
      const Image part = resize_region(image, width, height, interpolation, region);
      ASSERT_EQ(part.width, region.width);
      ASSERT_EQ(part.height, region.height);
      for (int y = 0; y < region.height; ++y) {
        for (int i = 0; i < region.width * 3; ++i) {
          ASSERT_EQ(part.pixels[static_cast<std::size_t>(y * region.width * 3 + i)],
                    whole.pixels[static_cast<std::size_t>((y + 2) * whole.width * 3 + 3 * 3 + i)]);
        }
      }
    }
  }
}

TEST(Resize, RefusesWhatIsNoPicture) {
  const Image image = noise(4, 4);
  EXPECT_THROW(resize(image, 0, 4, Interpolation::kBox), Error);
  EXPECT_THROW(resize(image, 4, -1, Interpolation::kBox), Error);
  EXPECT_THROW(resize(Image{}, 4, 4, Interpolation::kBox), Error);
  Image lying = image;
  lying.width = 5;
  EXPECT_THROW(resize(lying, 4, 4, Interpolation::kBox), Error);
  EXPECT_THROW(resize_region(image, 8, 8, Interpolation::kBox, {5, 0, 4, 4}), Error);
  EXPECT_THROW(resize_region(image, 8, 8, Interpolation::kBox, {-1, 0, 4, 4}), Error);
  EXPECT_THROW(resize_region(image, 8, 8, Interpolation::kBox, {std::numeric_limits<std::int64_t>::max(), 0, 4, 4}),
               Error);
}

// 1 x 50000 enlarged to 256 x 12,800,000 would take ten gigabytes before the crop throws nearly all of it away.
TEST(Preprocess, ExtremeShapesCostOnlyTheirCrop) {
  for (const auto& [width, height] : {std::pair{1, 50'000}, {50'000, 1}}) {
    const Tensor tensor = preprocess(noise(width, height), {});
    EXPECT_EQ(tensor.shape(), (Shape{3, 224, 224}));
  }
}

// Python's round() goes to the even number at halves: 5 spare pixels leave 2 on the left, 7 leave 4.
TEST(Preprocess, TheCropRoundsHalvesToEven) {
  for (const auto& [width, left] : {std::pair{37, 2}, {39, 4}, {41, 4}, {36, 2}}) {
    Image image = flat(width, 32, 0);
    for (int x = 0; x < width; ++x) image.pixels[static_cast<std::size_t>(x) * 3] = static_cast<std::uint8_t>(x);
    const Image crop = resize_and_crop(image, {.resolution = 32, .crop_fraction = 1.0});
    EXPECT_EQ(crop.pixels[0], left) << width;
    EXPECT_EQ(crop.pixels[31 * 3], left + 31) << width;
  }
}

TEST(Preprocess, PaddingIsBlackOnBothSides) {
  const Image crop = resize_and_crop(flat(5, 5, 200), {.resolution = 9, .crop_fraction = 1.5});  // 6 of 9
  ASSERT_EQ(crop.width, 9);
  ASSERT_EQ(crop.height, 9);
  for (int y = 0; y < 9; ++y) {
    for (int x = 0; x < 9; ++x) {
      const bool inside = x >= 1 && x < 7 && y >= 1 && y < 7;  // 3 to spare: 1 before, 2 after
      EXPECT_EQ(crop.pixels[static_cast<std::size_t>(y * 9 + x) * 3], inside ? 200 : 0) << x << ", " << y;
    }
  }
}

TEST(Preprocess, SettingsThatMakeNoSenseAreRefused) {
  const Image image = noise(8, 8);
  const auto refused = [&](const Preprocessing& preprocessing, const std::string& text) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kInvalidArgument, {text}, [&] { preprocess(image, preprocessing); });
  };
  refused({.resolution = 0}, "resolution");
  refused({.resolution = std::numeric_limits<int>::max()}, "resolution");
  refused({.crop_fraction = 0}, "crop fraction");
  refused({.crop_fraction = -1}, "crop fraction");
  refused({.crop_fraction = 1e-30}, "crop fraction");
  refused({.crop_fraction = std::nan("")}, "crop fraction");
  refused({.resolution = 8, .std = {1, 0, 1}}, "std 0 of channel 1");
  refused({.resolution = 8, .mean = {0, 0, std::nanf("")}}, "channel 2");
  expect_error(ErrorCode::kInvalidArgument, {"picture"}, [] { preprocess(Image{}, {}); });
}

TEST(Normalize, PutsChannelsInPlanes) {
  const Image image{2, 1, {0, 51, 102, 153, 204, 255}};
  std::vector<float> out(6);
  normalize(image, {.mean = {0, 0, 0}, .std = {1, 1, 1}}, out);
  EXPECT_EQ(out, (std::vector<float>{0.0f, 0.6f, 0.2f, 0.8f, 0.4f, 1.0f}));
  std::vector<float> small(5);
  expect_error(ErrorCode::kInvalidArgument, {"6 bytes into 5 values"}, [&] { normalize(image, {}, small); });
}

TEST(Names, ComeBackAndUnknownOnesListTheKnown) {
  for (const Interpolation interpolation : kInterpolations) {
    EXPECT_EQ(interpolation_from_name(name_of(interpolation)), interpolation);
  }
  for (const CropMode mode : {CropMode::kCenter, CropMode::kSquash}) {
    EXPECT_EQ(crop_mode_from_name(name_of(mode)), mode);
  }
  expect_error(ErrorCode::kInvalidArgument, {"'cubic'", "box, bilinear, hamming, bicubic, lanczos"},
               [] { interpolation_from_name("cubic"); });
  expect_error(ErrorCode::kInvalidArgument, {"'border'", "center, squash"}, [] { crop_mode_from_name("border"); });
}

}  // namespace
}  // namespace convnext
