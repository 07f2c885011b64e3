// Every step from file to tensor against Pillow, timm, torchvision and transformers, bit for bit
// (tools/goldens/pictures.py made the files).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "convnext/image.h"
#include "core/hash.h"
#include "image/resize.h"
#include "io/file.h"
#include "io/npy.h"
#include "tests/expect_error.h"
#include "tests/same_pixels.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = CONVNEXT_SOURCE_DIR "/tests/goldens/pictures";

// Names of the files below `folder` that `wanted` accepts, sorted.
template <typename Wanted>
std::vector<std::string> names_in(const fs::path& folder, const Wanted& wanted) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (wanted(entry.path())) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(0, info.param.rfind(".npy"));
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

class Decode : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsPillow, Decode,
                         testing::ValuesIn(names_in(kGoldens / "decode",
                                                    [](const fs::path& path) { return path.extension() != ".npy"; })),
                         test_name);

TEST_P(Decode, GivesPillowsPixels) {
  const Tensor expected = read_npy(kGoldens / "decode" / (GetParam() + ".npy"));
  const Image image = Image::open(kGoldens / "decode" / GetParam());
  EXPECT_TRUE(same_pixels(image, image_from(expected)));
}

class Upright : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsPillow, Upright,
                         testing::ValuesIn(names_in(kGoldens / "orientation",
                                                    [](const fs::path& path) { return path.extension() != ".npy"; })),
                         test_name);

TEST_P(Upright, TurnsAsPillowsExifTranspose) {
  const Tensor expected = read_npy(kGoldens / "orientation" / (GetParam() + ".npy"));
  const Image image = Image::open(kGoldens / "orientation" / GetParam(), {.exif_orientation = true});
  EXPECT_TRUE(same_pixels(image, image_from(expected)));
}

// The ways to go wrong with four components: ink for light, and black for all colours alike.
TEST(Decode, CmykGoldensTellInversionsApart) {
  for (const std::string name : {"cmyk.jpg", "ycck.jpg", "cmyk_without_adobe.jpg"}) {
    Image image = image_from(read_npy(kGoldens / "decode" / (name + ".npy")));
    const Image ours = Image::open(kGoldens / "decode" / name);
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(255 - value);
    EXPECT_FALSE(same_pixels(ours, image)) << name;
  }
  const auto pixels = [](const char* name) { return read_npy(kGoldens / "decode" / name); };
  EXPECT_FALSE(same_pixels(image_from(pixels("cmyk.jpg.npy")), image_from(pixels("ycck.jpg.npy"))));
}

class Resize : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsPillow, Resize,
                         testing::ValuesIn(names_in(kGoldens / "resize",
                                                    [](const fs::path& path) {
                                                      return path.extension() == ".npy" &&
                                                             !path.filename().string().starts_with("source");
                                                    })),
                         test_name);

TEST_P(Resize, GivesPillowsPixelsWithEveryFilter) {
  const std::string from = GetParam().substr(0, GetParam().find("_to_"));
  const Image source = image_from(read_npy(kGoldens / "resize" / ("source_" + from + ".npy")));
  const Tensor expected = read_npy(kGoldens / "resize" / GetParam());  // (filters, height, width, 3)
  const auto height = static_cast<int>(expected.shape()[1]);
  const auto width = static_cast<int>(expected.shape()[2]);
  const std::size_t size = expected.values<std::uint8_t>().size() / 5;
  std::size_t filter = 0;
  for (const Interpolation interpolation : {Interpolation::kBox, Interpolation::kBilinear, Interpolation::kHamming,
                                            Interpolation::kBicubic, Interpolation::kLanczos}) {
    SCOPED_TRACE(name_of(interpolation));
    EXPECT_TRUE(same_pixels(resize(source, width, height, interpolation),
                            expected.values<std::uint8_t>().subspan(size * filter++, size), width, height));
  }
}

// Rounding and order of the passes show in these goldens: what torchvision makes of it, and Pillow's own passes in the
// other order, are different pictures.
TEST(Resize, GoldensTellRoundingAndOrderOfPassesApart) {
  constexpr std::size_t kBicubic = 3;  // of the five filters
  const auto bicubic = [](const char* name, std::size_t pixels) {
    const auto values = read_npy(kGoldens / "resize" / name);
    const auto part = values.values<std::uint8_t>().subspan(kBicubic * pixels * 3, pixels * 3);
    return std::vector<std::uint8_t>(part.begin(), part.end());
  };
  const Image tall = image_from(read_npy(kGoldens / "resize/source_3x307.npy"));
  const Image columns_first = resize(resize(tall, 7, 307, Interpolation::kBicubic), 7, 19, Interpolation::kBicubic);
  EXPECT_FALSE(same_pixels(columns_first, bicubic("3x307_to_7x19.npy", 7 * 19), 7, 19));

  const Image source = image_from(read_npy(kGoldens / "resize/source_40x27.npy"));
  const Image other_rounding = resize_region(
      source, 61, 40, {.interpolation = Interpolation::kBicubic, .resizer = Resizer::kTorchvision}, {0, 0, 61, 40});
  EXPECT_FALSE(same_pixels(other_rounding, bicubic("40x27_to_61x40.npy", 61 * 40), 61, 40));
}

std::string hash_of(std::span<const std::byte> bytes) {
  return fmt::format("{:016x}", hash_name({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

TEST(Resize, GivesTorchvisionsPixelsOf8BitTensors) {
  const auto cases = nlohmann::json::parse(read_text(kGoldens / "resize/torchvision.json"));
  EXPECT_GE(cases.size(), 20u);
  for (const auto& [name, hashes] : cases.items()) {
    const std::size_t split = name.find("_to_");
    const Image source = image_from(read_npy(kGoldens / "resize" / ("source_" + name.substr(0, split) + ".npy")));
    const std::size_t size = split + 4;
    const int width = std::stoi(name.substr(size));
    const int height = std::stoi(name.substr(name.find('x', size) + 1));
    for (const auto& [mode, hash] : hashes.items()) {
      const Image resized = resize_region(
          source, width, height, {.interpolation = interpolation_from_name(mode), .resizer = Resizer::kTorchvision},
          {0, 0, width, height});
      EXPECT_EQ(hash_of(std::as_bytes(std::span(resized.pixels))), hash.get<std::string>()) << name << " " << mode;
    }
  }
}

// A case of transform/cases.json.
struct TransformCase {
  Preprocessing preprocessing;
  Image source;
  std::string hash;  // of the reference's floats
};

nlohmann::json transform_cases() { return nlohmann::json::parse(read_text(kGoldens / "transform/cases.json")); }

TransformCase transform_case(const std::string& name) {
  const nlohmann::json settings = transform_cases().at(name);
  const std::string source = settings.at("source");
  return {
      .preprocessing = {.resolution = settings.at("resolution"),
                        .mean = settings.at("mean").get<std::array<float, 3>>(),
                        .std = settings.at("std").get<std::array<float, 3>>(),
                        .interpolation = interpolation_from_name(settings.at("interpolation").get<std::string>()),
                        .crop_fraction = settings.at("crop_fraction"),
                        .crop_mode = crop_mode_from_name(settings.at("crop_mode").get<std::string>()),
                        .pipeline = pixel_pipeline_from_name(settings.at("pipeline").get<std::string>())},
      .source = source.ends_with(".npy") ? image_from(read_npy(kGoldens / "transform" / source))
                                         : Image::open(fs::path(CONVNEXT_SOURCE_DIR "/examples/pictures") / source),
      .hash = settings.at("hash"),
  };
}

std::string hash_of(const Tensor& tensor) { return hash_of(std::as_bytes(tensor.values<float>())); }

std::vector<std::string> transform_names() {
  std::vector<std::string> names;
  const nlohmann::json cases = transform_cases();
  for (const auto& [name, settings] : cases.items()) names.push_back(name);
  return names;
}

class Transform : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsItsReference, Transform, testing::ValuesIn(transform_names()), test_name);

TEST_P(Transform, GivesTheSameFloats) {
  const TransformCase expected = transform_case(GetParam());
  EXPECT_EQ(hash_of(preprocess(expected.source, expected.preprocessing)), expected.hash);
}

// Each setting shows: with another filter, mode, fraction or pipeline the floats of a picture of usual shape differ.
TEST(Transform, HashesTellEverySettingApart) {
  for (const std::string name : {"photo_center", "photo_torchvision", "photo_transformers"}) {
    const TransformCase expected = transform_case(name);
    const auto differs = [&](auto change) {
      Preprocessing changed = expected.preprocessing;
      change(changed);
      EXPECT_NE(hash_of(preprocess(expected.source, changed)), expected.hash) << name;
    };
    differs([](Preprocessing& p) {
      p.interpolation = p.interpolation == Interpolation::kBicubic ? Interpolation::kBilinear : Interpolation::kBicubic;
    });
    differs([](Preprocessing& p) { p.crop_fraction *= 0.97; });
    differs([](Preprocessing& p) { p.crop_mode = CropMode::kBorder; });
    differs([](Preprocessing& p) {
      p.crop_mode = p.crop_mode == CropMode::kSquash ? CropMode::kCenter : CropMode::kSquash;
    });
    differs([](Preprocessing& p) { p.mean[1] = std::nextafter(p.mean[1], 1.0f); });
    differs([](Preprocessing& p) { std::swap(p.mean[0], p.mean[2]); });
    for (const PixelPipeline pipeline :
         {PixelPipeline::kTimm, PixelPipeline::kTorchvision, PixelPipeline::kTransformers}) {
      if (pipeline != expected.preprocessing.pipeline) differs([&](Preprocessing& p) { p.pipeline = pipeline; });
    }
  }
}

// A resize of floats keeps what one of 8 bits rounds; it has one filter, and refuses the others.
TEST(Transform, OfFloatsIsNotThatOfBytes) {
  const TransformCase expected = transform_case("photo_dinov3");
  Preprocessing changed = expected.preprocessing;
  changed.pipeline = PixelPipeline::kTorchvision;
  const Tensor floats = preprocess(expected.source, expected.preprocessing),
               bytes = preprocess(expected.source, changed);
  EXPECT_NE(hash_of(bytes), expected.hash);
  const float step = 1.0f / 255 / *std::ranges::min_element(changed.std);
  for (std::size_t i = 0; i < floats.values<float>().size(); ++i) {
    ASSERT_NEAR(floats.values<float>()[i], bytes.values<float>()[i], 1.01f * step) << i;
  }
  changed = expected.preprocessing;
  changed.interpolation = Interpolation::kBicubic;
  expect_error(ErrorCode::kInvalidArgument, {"dinov3", "bilinear", "bicubic"},
               [&] { preprocess(expected.source, changed); });
  std::vector<float> too_few(5);
  expect_error(ErrorCode::kInvalidArgument, {"224 x 224", "5"},
               [&] { preprocess(expected.source, expected.preprocessing, too_few); });
}

// Of a crop only what it keeps is computed: a border's floats are the mean's, which is nothing.
TEST(Transform, OfFloatsPadsWithTheMean) {
  TransformCase wide = transform_case("dinov3_squash");
  wide.preprocessing.crop_mode = CropMode::kBorder;
  const Tensor tensor = preprocess(wide.source, wide.preprocessing);
  const int side = wide.preprocessing.resolution;
  EXPECT_THAT(std::vector<float>(tensor.values<float>().begin(), tensor.values<float>().begin() + side),
              testing::Each(0.0f));
  EXPECT_NE(tensor.values<float>()[static_cast<std::size_t>(side * side / 2)], 0.0f);
}

TEST(Goldens, AreThere) {
  EXPECT_GE(names_in(kGoldens / "decode", [](const fs::path&) { return true; }).size(), 80u);
  EXPECT_GE(names_in(kGoldens / "resize", [](const fs::path&) { return true; }).size(), 30u);
  EXPECT_GE(names_in(kGoldens / "orientation", [](const fs::path&) { return true; }).size(), 60u);
  EXPECT_GE(transform_names().size(), 44u);
}

}  // namespace
}  // namespace convnext
