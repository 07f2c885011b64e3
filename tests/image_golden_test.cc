// Every step from file to tensor against Pillow and timm, bit for bit (tools/goldens/pictures.py made the files).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "io/file.h"
#include "io/npy.h"
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

class Resize : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsPillow, Resize,
                         testing::ValuesIn(names_in(kGoldens / "resize",
                                                    [](const fs::path& path) {
                                                      return !path.filename().string().starts_with("source");
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

class Transform : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(AsTimm, Transform,
                         testing::ValuesIn(names_in(kGoldens / "transform",
                                                    [](const fs::path& path) {
                                                      return path.extension() == ".npy" &&
                                                             !path.filename().string().starts_with("source");
                                                    })),
                         test_name);

TEST_P(Transform, GivesTimmsFloats) {
  const auto cases = nlohmann::json::parse(read_text(kGoldens / "transform/cases.json"));
  const auto& settings = cases.at(GetParam().substr(0, GetParam().find('.')));
  const Preprocessing preprocessing = {
      .resolution = settings.at("resolution"),
      .mean = settings.at("mean").get<std::array<float, 3>>(),
      .std = settings.at("std").get<std::array<float, 3>>(),
      .interpolation = interpolation_from_name(settings.at("interpolation").get<std::string>()),
      .crop_fraction = settings.at("crop_fraction"),
      .crop_mode = crop_mode_from_name(settings.at("crop_mode").get<std::string>()),
  };
  const Image source = image_from(read_npy(kGoldens / "transform" / settings.at("source").get<std::string>()));
  const Tensor expected = read_npy(kGoldens / "transform" / GetParam());
  const Tensor actual = preprocess(source, preprocessing);
  ASSERT_EQ(actual.shape(), expected.shape());
  for (std::size_t i = 0; i < actual.values<float>().size(); ++i) {
    const float ours = actual.values<float>()[i];
    const float theirs = expected.values<float>()[i];
    ASSERT_EQ(std::bit_cast<std::uint32_t>(ours), std::bit_cast<std::uint32_t>(theirs))
        << "value " << i << " is " << ours << ", timm's is " << theirs;
  }
}

TEST(Goldens, AreThere) {
  EXPECT_GE(names_in(kGoldens / "decode", [](const fs::path&) { return true; }).size(), 80u);
  EXPECT_GE(names_in(kGoldens / "resize", [](const fs::path&) { return true; }).size(), 30u);
  EXPECT_GE(names_in(kGoldens / "transform", [](const fs::path&) { return true; }).size(), 30u);
}

}  // namespace
}  // namespace convnext
