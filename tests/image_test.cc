#include "convnext/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/hash.h"
#include "image/resample.h"
#include "image/resize.h"
#include "io/picture.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

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
  std::vector<Resampling> resamplings;
  for (const Interpolation interpolation : kInterpolations) resamplings.push_back({interpolation});
  for (const Interpolation interpolation :
       {Interpolation::kBilinear, Interpolation::kBicubic, Interpolation::kLanczos}) {
    resamplings.push_back({interpolation, Resizer::kTorchvision});
  }
  for (const Resampling& resampling : resamplings) {
    for (const auto& [width, height] : {std::pair{12, 9}, {31, 9}, {12, 23}, {31, 23}, {70, 50}}) {
      const Image whole = resize_region(image, width, height, resampling, {0, 0, width, height});
      const Region region = {3, 2, 7, 5};
      const Image part = resize_region(image, width, height, resampling, region);
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

// Every instruction set gives the scalar code's bytes: widths and counts on both sides of every vector length, rows
// that end where the memory does.
TEST(ResamplePasses, GiveTheScalarBytes) {
  const ResamplePasses& scalar = resample_passes().back();
  EXPECT_EQ(scalar.isa, "scalar");
  for (const ResamplePasses& passes : resample_passes()) {
    SCOPED_TRACE(passes.isa);
    for (const std::size_t outputs : {1u, 2u, 5u, 21u, 22u, 43u, 70u}) {
      for (const std::size_t others : {1u, 2u, 7u, 8u, 9u, 15u, 16u, 17u, 33u}) {
        // Windows of 1 to 6 inputs, of which the first begins at input 2.
        std::vector<Window> windows;
        std::vector<std::int32_t> weights;
        for (std::size_t i = 0; i < outputs; ++i) {
          windows.push_back({2 + i / 2, 1 + mix(i) % 6, weights.size()});
          for (std::size_t k = 0; k < windows.back().count; ++k) {
            weights.push_back(static_cast<std::int32_t>(mix(weights.size()) % (1 << 20)) - (1 << 18));
          }
        }
        std::size_t end = 0;
        for (const Window& window : windows) end = std::max(end, window.first + window.count);
        const std::size_t inputs = end - 2;
        const ResampleAxis axis = {2, windows, weights, 22};

        const Image wide = noise(static_cast<int>(inputs), static_cast<int>(others));
        std::vector<std::uint8_t> expected(outputs * others * 3), out(expected.size());
        scalar.columns(axis, wide.pixels.data(), inputs * 3, inputs, others, expected.data());
        passes.columns(axis, wide.pixels.data(), inputs * 3, inputs, others, out.data());
        ASSERT_EQ(out, expected) << outputs << " columns of " << others << " rows";

        const Image tall = noise(static_cast<int>(others), static_cast<int>(inputs));
        scalar.rows(axis, tall.pixels.data(), others * 3, others * 3, expected.data());
        passes.rows(axis, tall.pixels.data(), others * 3, others * 3, out.data());
        ASSERT_EQ(out, expected) << outputs << " rows of " << others << " pixels";
      }
    }
  }
}

TEST(Resize, TorchvisionHasNoOtherFilters) {
  for (const Interpolation interpolation : {Interpolation::kBox, Interpolation::kHamming}) {
    expect_error(ErrorCode::kInvalidArgument, {"torchvision", std::string(name_of(interpolation))}, [&] {
      preprocess(noise(9, 7),
                 {.resolution = 4, .interpolation = interpolation, .pipeline = PixelPipeline::kTorchvision});
    });
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
  EXPECT_THROW(resize_region(image, 8, 8, {Interpolation::kBox}, {5, 0, 4, 4}), Error);
  EXPECT_THROW(resize_region(image, 8, 8, {Interpolation::kBox}, {-1, 0, 4, 4}), Error);
  EXPECT_THROW(resize_region(image, 8, 8, {Interpolation::kBox}, {std::numeric_limits<std::int64_t>::max(), 0, 4, 4}),
               Error);
}

// 1 x 50000 enlarged to 256 x 12,800,000 would take ten gigabytes before the crop throws nearly all of it away. To look
// at every output of the last picture's axis, 2,560,000,000 of them, takes minutes.
TEST(Preprocess, ExtremeShapesCostOnlyTheirCrop) {
  for (const PixelPipeline pipeline :
       {PixelPipeline::kTimm, PixelPipeline::kTorchvision, PixelPipeline::kTransformers}) {
    for (const auto& [width, height] : {std::pair{1, 50'000}, {50'000, 1}, {1, 10'000'000}}) {
      const Tensor tensor = preprocess(flat(width, height, 200), {.pipeline = pipeline});
      EXPECT_EQ(tensor.shape(), (Shape{3, 224, 224}));
    }
  }
}

// Squeezing a strip of millions of pixels takes several weights for each: gigabytes for the longest that are decoded.
TEST(Resize, AStripThatWouldTakeTooManyWeightsIsRefused) {
  const Image strip = flat(1, 3'000'000, 200);
  const Preprocessing squash{
      .resolution = 8, .interpolation = Interpolation::kLanczos, .crop_fraction = 1.0, .crop_mode = CropMode::kSquash};
  for (const PixelPipeline pipeline : {PixelPipeline::kTimm, PixelPipeline::kTorchvision}) {
    Preprocessing preprocessing = squash;
    preprocessing.pipeline = pipeline;
    expect_error(ErrorCode::kUnsupported, {"from 3000000 to", "weights"}, [&] { preprocess(strip, preprocessing); });
    preprocessing.interpolation = Interpolation::kBilinear;  // a third of lanczos' support
    EXPECT_EQ(preprocess(strip, preprocessing).shape(), (Shape{3, 8, 8}));
  }
  // One window cannot reach beyond the picture.
  EXPECT_NO_THROW(resize(strip, 1, 1, Interpolation::kLanczos));
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

// The colour that becomes zero, or nearly: 255 times the mean, halves to even as Python rounds.
TEST(Preprocess, TheBorderIsOfTheMeanColor) {
  const Preprocessing preprocessing = {
      .resolution = 8, .mean = {0.485f, 0.5f, 0.406f}, .crop_fraction = 1.0, .crop_mode = CropMode::kBorder};
  const Image crop = resize_and_crop(flat(16, 4, 200), preprocessing);  // 8 x 2, from row 3 on
  for (std::size_t y = 0; y < 8; ++y) {
    const bool inside = y == 3 || y == 4;
    EXPECT_EQ(crop.pixels[y * 24], inside ? 200 : 124) << y;
    EXPECT_EQ(crop.pixels[y * 24 + 1], inside ? 200 : 128) << y;
    EXPECT_EQ(crop.pixels[y * 24 + 2], inside ? 200 : 104) << y;
  }
  EXPECT_EQ(resize_and_crop(flat(1, 1000, 200), preprocessing).width, 8);  // of which one column is the picture
}

TEST(Preprocess, ABatchOfFilesIsEachFileInItsPlace) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < 5; ++i) {
    files.push_back(folder / (std::to_string(i) + ".png"));
    write_png(files.back(), noise(20 + i, 17));
  }
  ThreadPool pool(3);
  const Preprocessing preprocessing = {.resolution = 16};
  const Tensor batch = preprocess_files(files, preprocessing, pool);
  ASSERT_EQ(batch.shape(), (Shape{5, 3, 16, 16}));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const Tensor one = preprocess(noise(20 + static_cast<int>(i), 17), preprocessing);
    EXPECT_TRUE(std::ranges::equal(batch.values<float>().subspan(i * 3 * 16 * 16, 3 * 16 * 16), one.values<float>()));
  }
  files[3] = folder / "missing.png";
  expect_error(ErrorCode::kNotFound, {"missing.png"}, [&] { preprocess_files(files, preprocessing, pool); });
  EXPECT_EQ(preprocess_files({}, preprocessing, pool).shape(), (Shape{0, 3, 16, 16}));
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
  refused({.crop_fraction = 1.01}, "crop fraction");
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
  for (const CropMode mode : {CropMode::kCenter, CropMode::kSquash, CropMode::kBorder}) {
    EXPECT_EQ(crop_mode_from_name(name_of(mode)), mode);
  }
  for (const PixelPipeline pipeline :
       {PixelPipeline::kTimm, PixelPipeline::kTorchvision, PixelPipeline::kTransformers}) {
    EXPECT_EQ(pixel_pipeline_from_name(name_of(pipeline)), pipeline);
  }
  expect_error(ErrorCode::kInvalidArgument, {"'cubic'", "box, bilinear, hamming, bicubic or lanczos"},
               [] { interpolation_from_name("cubic"); });
  expect_error(ErrorCode::kInvalidArgument, {"'middle'", "center, squash or border"},
               [] { crop_mode_from_name("middle"); });
}

}  // namespace
}  // namespace convnext
