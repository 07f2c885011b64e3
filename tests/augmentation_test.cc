// Augmentation with timm's draws gives timm's pictures (tools/goldens/augmentation.py made the files), and our own
// draws have timm's distributions.
#include "train/augmentation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "io/file.h"
#include "io/safetensors.h"
#include "model/formula.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/same_pixels.h"

namespace convnext {
namespace {

using Json = nlohmann::json;

constexpr std::array kTimmNames = {"AutoContrast", "Equalize",    "Invert", "Rotate",        "Posterize",
                                   "Solarize",     "SolarizeAdd", "Color",  "Contrast",      "Brightness",
                                   "Sharpness",    "ShearX",      "ShearY", "TranslateXRel", "TranslateYRel"};
static_assert(kTimmNames.size() == kOperationKinds);

Image source_of(const SafetensorsFile& file, const Json& made) {
  return image_from(golden_tensor(file, "source." + made.at("source").get<std::string>()));
}

// ---- timm's pictures ------------------------------------------------------------------------------------------------

class Policies : public testing::Test {
 protected:
  Json golden_ = Json::parse(read_text(golden_path("augmentation/policies.json")));
};

TEST_F(Policies, AreReadAsTimmReadsThem) {
  for (const auto& [text, expected] : golden_.at("policies").items()) {
    SCOPED_TRACE(text);
    const RandAugment policy = parse_rand_augment(text).value();
    EXPECT_EQ(policy.operations, expected.at("operations"));
    EXPECT_EQ(policy.probability, expected.at("probability"));
    EXPECT_EQ(policy.magnitude, expected.at("magnitude"));
    EXPECT_EQ(policy.max_magnitude, expected.at("max_magnitude"));
    if (expected.at("magnitude_deviation") == "infinity") {
      EXPECT_TRUE(std::isinf(policy.magnitude_deviation));
    } else {
      EXPECT_EQ(policy.magnitude_deviation, expected.at("magnitude_deviation"));
    }
    const std::set<int> with_increasing_form = {4, 5, 7, 8, 9, 10};
    for (int kind = 0; kind < kOperationKinds; ++kind) {
      const bool increasing = policy.increasing && with_increasing_form.contains(kind);
      EXPECT_EQ(expected.at("names")[static_cast<std::size_t>(kind)],
                fmt::format("{}{}", kTimmNames[static_cast<std::size_t>(kind)], increasing ? "Increasing" : ""));
    }
  }
}

TEST_F(Policies, HaveTimmsArgumentAtEachMagnitude) {
  int compared = 0;
  for (const auto& row : golden_.at("arguments")) {
    const auto kind = static_cast<OperationKind>(row[0].get<int>());
    const bool increasing = row[1];
    const bool backwards = row[3].get<bool>() && has_direction(kind, increasing);
    EXPECT_EQ(argument_at(kind, row[2], increasing, backwards), row[4].get<double>()) << row;
    ++compared;
  }
  EXPECT_GE(compared, 400);
}

TEST(Policy, OfNothingIsNone) { EXPECT_EQ(parse_rand_augment(""), std::nullopt); }

TEST(Policy, NamesThePartThatItDoesNotKnow) {
  const auto refused = [](const std::string& text, std::initializer_list<std::string> parts) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kInvalidArgument, parts, [&] { parse_rand_augment(text); });
  };
  refused("augmix-m5", {"'augmix-m5'", "'augmix'", "expected rand"});
  refused("randm9", {"'randm9'"});
  refused("rand-m9-x3", {"'x3'", "m, n, p, mstd, mmax or inc"});
  refused("rand-tweights", {"'tweights'"});
  refused("rand-t3a", {"'t3a'"});
  refused("rand-m9-", {"''"});
  refused("rand--m9", {"''"});
  refused("rand-m", {"'m'", "whole number"});
  refused("rand-m9.5", {"'m9.5'", "whole number from 0 to 100"});
  refused("rand-m9x", {"'m9x'"});
  refused("rand-m99999999999999999999", {"whole number"});
  refused("rand-n0", {"'n0'", "1 to 100"});
  refused("rand-p1.5", {"'p1.5'", "0 to 1"});
  refused("rand-mstd0.5x", {"'mstd0.5x'"});
  refused("rand-mstdinf", {"'mstdinf'"});
  refused("rand-mmax0", {"'mmax0'"});
  refused("rand-inc2", {"'inc2'"});
  refused("rand-m9-m5", {"'m5'", "twice"});
}

// The picture of each case, with the policy as it is or changed.
class TimmsOperations : public testing::Test {
 protected:
  template <typename Change>
  int differing(const Change& change) const {
    const auto cases = Json::parse(file_.metadata().at("cases"));
    int different = 0;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const auto kind = static_cast<OperationKind>(cases[i].at("kind").get<int>());
      const bool increasing = cases[i].at("increasing");
      const bool backwards = cases[i].at("backwards").get<bool>() && has_direction(kind, increasing);
      PictureOperation operation{
          .kind = kind,
          .argument = argument_at(kind, cases[i].at("magnitude"), increasing, backwards),
          .filter = cases[i].at("filter") == "bicubic" ? AffineFilter::kBicubic : AffineFilter::kBilinear};
      Rgb fill = {124, 116, 104};
      change(operation, fill);
      different += !same_pixels(apply(source_of(file_, cases[i]), operation, fill),
                                image_from(golden_tensor(file_, std::to_string(i))));
    }
    return different;
  }

  SafetensorsFile file_ = SafetensorsFile::open(golden_path("augmentation/rand_augment.safetensors"));
};

TEST_F(TimmsOperations, GiveTimmsPixels) {
  EXPECT_EQ(differing([](PictureOperation&, Rgb&) {}), 0);
}

TEST_F(TimmsOperations, AreToldApartFromWrongOnes) {
  EXPECT_GE(differing([](PictureOperation& it, Rgb&) { it.argument *= 1.1; }), 30);
  EXPECT_GE(differing([](PictureOperation& it, Rgb&) { it.argument = -it.argument; }), 30);
  EXPECT_GE(differing([](PictureOperation&, Rgb& fill) { fill[2] = 105; }), 16);
  EXPECT_GE(differing([](PictureOperation& it, Rgb&) { it.filter = AffineFilter::kNearest; }), 16);
}

// A case's settings: the augmentation, the resolution in the preprocessing, and the key.
struct Setting {
  Augmentation augmentation;
  Preprocessing preprocessing;
  SampleKey key;
};

Setting setting_of(const Json& made) {
  Setting setting;
  setting.key = {.seed = made.at("seed"), .epoch = made.at("epoch"), .sample = made.at("sample")};
  setting.preprocessing.resolution = made.at("resolution");
  Augmentation& augmentation = setting.augmentation;
  augmentation.crop = TrainCrop::kRandomResized;
  augmentation.flip_probability = made.value("hflip", 0.5);
  augmentation.color_jitter = made.value("color_jitter", 0.0);
  augmentation.rand_augment = parse_rand_augment(made.value("auto_augment", ""));
  const std::string interpolation = made.at("interpolation");
  augmentation.interpolation =
      interpolation == "random" ? std::nullopt : std::optional(interpolation_from_name(interpolation));
  if (made.contains("scale")) {
    augmentation.resized_crop.min_area = made["scale"][0];
    augmentation.resized_crop.max_area = made["scale"][1];
  }
  if (made.contains("ratio")) {
    augmentation.resized_crop.min_aspect = made["ratio"][0];
    augmentation.resized_crop.max_aspect = made["ratio"][1];
  }
  return setting;
}

class Pipeline : public testing::Test {
 protected:
  // Cases whose picture is not timm's, after `change` of their settings.
  int differing(const std::function<void(Setting&)>& change) const {
    int different = 0;
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      Setting setting = setting_of(cases_[i]);
      change(setting);
      const Image image =
          augment(source_of(file_, cases_[i]), setting.augmentation, setting.preprocessing, setting.key);
      different += !same_pixels(image, image_from(golden_tensor(file_, std::to_string(i))));
    }
    return different;
  }

  SafetensorsFile file_ = SafetensorsFile::open(golden_path("augmentation/pipeline.safetensors"));
  Json cases_ = Json::parse(file_.metadata().at("cases"));
};

TEST_F(Pipeline, GivesTimmsPixelsForTimmsDraws) {
  ASSERT_GE(cases_.size(), 40u);
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    const Setting setting = setting_of(cases_[i]);
    EXPECT_TRUE(
        same_pixels(augment(source_of(file_, cases_[i]), setting.augmentation, setting.preprocessing, setting.key),
                    image_from(golden_tensor(file_, std::to_string(i)))))
        << cases_[i];
  }
}

TEST_F(Pipeline, IsToldApartFromWrongOnes) {
  const int all = static_cast<int>(cases_.size());
  EXPECT_GE(differing([](Setting& it) { ++it.key.seed; }), all * 9 / 10);
  EXPECT_GE(differing([](Setting& it) { ++it.key.sample; }), all * 9 / 10);
  EXPECT_GE(differing([](Setting& it) { ++it.key.epoch; }), all * 9 / 10);
  EXPECT_GE(differing([](Setting& it) { it.augmentation.flip_probability = 0; }), all / 4);
  EXPECT_GE(differing([](Setting& it) { it.augmentation.resized_crop.min_area *= 1.5; }), all / 2);
  EXPECT_GE(differing([](Setting& it) { it.augmentation.resized_crop.max_aspect *= 1.5; }), all / 2);
  EXPECT_GE(differing([](Setting& it) { it.augmentation.rand_augment.reset(); }), 14);
  EXPECT_GE(differing([](Setting& it) { it.augmentation.color_jitter *= 1.05; }), 9);
  EXPECT_GE(differing([](Setting& it) { it.preprocessing.mean = {0.5, 0.5, 0.5}; }), 4);
  EXPECT_GE(differing([](Setting& it) {
              if (it.augmentation.rand_augment) it.augmentation.rand_augment->magnitude = 6;
            }),
            8);
  EXPECT_GE(differing([](Setting& it) {
              if (it.augmentation.rand_augment) it.augmentation.rand_augment->increasing ^= true;
            }),
            8);
  EXPECT_GE(differing([](Setting& it) {
              it.augmentation.interpolation =
                  it.augmentation.rand_augment ? Interpolation::kBilinear : Interpolation::kHamming;
            }),
            all / 2);
}

constexpr int kErasedWidth = 18, kErasedHeight = 13;

RandomErasing erasing_of(const Json& made) {
  const std::string mode = made.at("mode");
  return {.probability = made.at("probability"),
          .mode = mode == "const"  ? EraseMode::kConstant
                  : mode == "rand" ? EraseMode::kRandom
                                   : EraseMode::kPixel};
}

TEST(Erasing, GivesTimmsValuesForTimmsDraws) {
  const auto file = SafetensorsFile::open(golden_path("augmentation/erasing.safetensors"));
  const auto cases = Json::parse(file.metadata().at("cases"));
  ASSERT_GE(cases.size(), 9u);
  int erased = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].dump());
    const Tensor source = golden_tensor(file, "source.scene");
    const Tensor expected = golden_tensor(file, std::to_string(i));
    ASSERT_EQ(expected.shape(), (Shape{kErasedHeight, kErasedWidth, 3}));
    const auto values_for = [&](RandomErasing erasing, std::uint64_t sample) {
      std::vector<float> values(source.values<float>().begin(), source.values<float>().end());
      erase(values, kErasedWidth, kErasedHeight, Augmentation{.erasing = erasing},
            {.seed = cases[i].at("seed"), .epoch = cases[i].at("epoch"), .sample = sample});
      return values;
    };
    const RandomErasing erasing = erasing_of(cases[i]);
    const std::uint64_t sample = cases[i].at("sample");
    const std::vector<float> values = values_for(erasing, sample);
    const std::vector<float> theirs(expected.values<float>().begin(), expected.values<float>().end());
    // Logarithm and cosine may differ in the last digit between mathematical libraries.
    for (std::size_t k = 0; k < values.size(); ++k) ASSERT_NEAR(values[k], theirs[k], 1e-6) << k;
    const bool was_erased = theirs != std::vector<float>(source.values<float>().begin(), source.values<float>().end());
    erased += was_erased;
    if (!was_erased) continue;
    EXPECT_NE(values_for(erasing, sample + 100), theirs);
    RandomErasing other = erasing;
    other.mode = erasing.mode == EraseMode::kPixel ? EraseMode::kRandom : EraseMode::kPixel;
    EXPECT_NE(values_for(other, sample), theirs) << "another mode";
    other = erasing;
    other.max_area = 0.9;
    EXPECT_NE(values_for(other, sample), theirs) << "a larger area";
  }
  EXPECT_GE(erased, 6);
}

TEST(Fill, IsTheMeanColour) {
  EXPECT_EQ(fill_of({0.485f, 0.456f, 0.406f}), (Rgb{124, 116, 104}));
  EXPECT_EQ(fill_of({0.5f, 0.5f, 0.5f}), (Rgb{128, 128, 128}));
  EXPECT_EQ(fill_of({-1.0f, 0.0f, 7.0f}), (Rgb{0, 0, 255}));
}

// ---- distributions --------------------------------------------------------------------------------------------------
//
// Seeds are fixed, so that a test passes or fails for good. The bounds are those that a right generator exceeds once in
// a thousand times (Kolmogorov-Smirnov, chi squared) or in a million times (five deviations).

// sqrt(n) times the largest distance between the samples' distribution and `cdf`; 1.95 at one in a thousand.
double kolmogorov_smirnov(std::vector<double> samples, const std::function<double(double)>& cdf) {
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  double distance = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double expected = cdf(samples[i]);
    distance = std::max({distance, expected - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - expected});
  }
  return distance * std::sqrt(n);
}
constexpr double kSmirnovBound = 1.95;

std::function<double(double)> uniform_cdf(double low, double high) {
  return [=](double x) { return std::clamp((x - low) / (high - low), 0.0, 1.0); };
}

std::function<double(double)> normal_cdf(double mean, double deviation) {
  return [=](double x) { return 0.5 * std::erfc((mean - x) / deviation / std::sqrt(2.0)); };
}

// Five deviations of a count of `n` draws with this probability.
void expect_frequency(int count, int n, double probability) {
  EXPECT_NEAR(count, n * probability, 5 * std::sqrt(n * probability * (1 - probability)));
}

// Of counts that should be equal.
double chi_squared(const std::vector<int>& counts) {
  double sum = 0;
  for (const int count : counts) sum += count;
  const double expected = sum / static_cast<double>(counts.size());
  double result = 0;
  for (const int count : counts) result += (count - expected) * (count - expected) / expected;
  return result;
}

template <typename Draw>
std::vector<double> draws(int count, std::uint64_t seed, const Draw& draw) {
  KeyedRandom random({seed});
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(draw(random));
  return values;
}

TEST(Random, NormalNumbersAreNormal) {
  const auto samples = draws(20000, 1, [](KeyedRandom& random) { return random.normal(); });
  EXPECT_LT(kolmogorov_smirnov(samples, normal_cdf(0, 1)), kSmirnovBound);
  // The test can fail: of a deviation that is a tenth off, and of a mean that is 0.03 off.
  EXPECT_GT(kolmogorov_smirnov(samples, normal_cdf(0, 1.1)), kSmirnovBound);
  EXPECT_GT(kolmogorov_smirnov(samples, normal_cdf(0.03, 1)), kSmirnovBound);
  double product = 0;  // of neighbours, which come from one pair of uniform numbers in careless generators
  for (std::size_t i = 1; i < samples.size(); ++i) product += samples[i] * samples[i - 1];
  EXPECT_NEAR(product, 0, 5 * std::sqrt(20000.0));
}

TEST(Random, LogarithmsOfLogUniformNumbersAreUniform) {
  const auto samples = draws(5000, 2, [](KeyedRandom& random) { return std::log(random.log_uniform(0.3, 4)); });
  EXPECT_LT(kolmogorov_smirnov(samples, uniform_cdf(std::log(0.3), std::log(4))), kSmirnovBound);
}

TEST(Random, BetaHasItsDistributionWhereThatHasAFormula) {
  const auto beta = [](double a, double b) {
    return draws(10000, 3, [=](KeyedRandom& random) { return random.beta(a, b); });
  };
  EXPECT_LT(kolmogorov_smirnov(beta(1, 1), uniform_cdf(0, 1)), kSmirnovBound);
  const auto arcsine = [](double x) { return 2 / M_PI * std::asin(std::sqrt(x)); };
  EXPECT_LT(kolmogorov_smirnov(beta(0.5, 0.5), arcsine), kSmirnovBound);
  for (const double a : {0.05, 0.2, 0.8, 3.0, 100.0}) {
    EXPECT_LT(kolmogorov_smirnov(beta(a, 1), [=](double x) { return std::pow(x, a); }), kSmirnovBound) << a;
    if (a < 0.1) continue;  // so much of it lies near 1 that many numbers are rounded to that
    EXPECT_LT(kolmogorov_smirnov(beta(1, a), [=](double x) { return 1 - std::pow(1 - x, a); }), kSmirnovBound) << a;
  }
  EXPECT_GT(kolmogorov_smirnov(beta(0.8, 0.8), uniform_cdf(0, 1)), kSmirnovBound) << "the test cannot fail";
}

TEST(Random, BetaHasItsMeanAndVariance) {
  constexpr int kCount = 20000;
  for (const auto& [a, b] : {std::pair{0.8, 0.8}, {0.1, 0.1}, {0.2, 3.0}, {100.0, 50.0}, {1e-3, 1e-3}, {2.5, 0.7}}) {
    double sum = 0, squares = 0, fourth = 0;
    const double mean = a / (a + b);
    const double variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    for (const double x : draws(kCount, 4, [a = a, b = b](KeyedRandom& random) { return random.beta(a, b); })) {
      ASSERT_GE(x, 0.0);
      ASSERT_LE(x, 1.0);
      sum += x;
      squares += (x - mean) * (x - mean);
      fourth += std::pow(x - mean, 4);
    }
    EXPECT_NEAR(sum / kCount, mean, 5 * std::sqrt(variance / kCount)) << a << ", " << b;
    const double spread = std::sqrt(std::max(fourth / kCount - variance * variance, 1e-6 * variance) / kCount);
    EXPECT_NEAR(squares / kCount, variance, 5 * spread) << a << ", " << b;
  }
}

TEST(Random, BetaRefusesOtherParameters) {
  KeyedRandom random({1});
  for (const double wrong : {0.0, -1.0, 100.5, std::nan(""), std::numeric_limits<double>::infinity()}) {
    expect_error(ErrorCode::kInvalidArgument, {"Beta"}, [&] { random.beta(wrong, 1); });
    expect_error(ErrorCode::kInvalidArgument, {"Beta"}, [&] { random.beta(1, wrong); });
  }
}

TEST(ResizedCrop, HasUniformAreasPlacesAndLogarithmsOfShapes) {
  constexpr int kWidth = 1500, kHeight = 1400;
  const ResizedCrop ranges = {.min_area = 0.08, .max_area = 0.5};  // whatever the shape such a crop fits at once
  KeyedRandom random({5});
  std::vector<double> areas, shapes, lefts, tops;
  for (int i = 0; i < 4000; ++i) {
    const Region region = draw_resized_crop(ranges, kWidth, kHeight, random);
    areas.push_back(static_cast<double>(region.width) * region.height / (kWidth * kHeight));
    shapes.push_back(std::log(static_cast<double>(region.width) / region.height));
    lefts.push_back(static_cast<double>(region.left) / (kWidth - region.width));
    tops.push_back(static_cast<double>(region.top) / (kHeight - region.height));
  }
  EXPECT_LT(kolmogorov_smirnov(areas, uniform_cdf(0.08, 0.5)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(shapes, uniform_cdf(std::log(3.0 / 4), std::log(4.0 / 3))), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(lefts, uniform_cdf(0, 1)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(tops, uniform_cdf(0, 1)), kSmirnovBound);
  EXPECT_GT(kolmogorov_smirnov(areas, uniform_cdf(0.1, 0.5)), kSmirnovBound) << "the test cannot fail";
}

TEST(ResizedCrop, StaysInsidePicturesOfEveryShape) {
  KeyedRandom random({6});
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 50}, {50, 1}, {3, 2}, {7, 500}, {500, 7}, {64, 64}}) {
    for (int i = 0; i < 200; ++i) {
      const Region region = draw_resized_crop({}, width, height, random);
      ASSERT_GE(region.width, 1);
      ASSERT_GE(region.height, 1);
      ASSERT_GE(region.left, 0);
      ASSERT_GE(region.top, 0);
      ASSERT_LE(region.left + region.width, width);
      ASSERT_LE(region.top + region.height, height);
    }
  }
}

// No crop with 90 % of a strip's area is nearly square: what is left is the middle, as wide as the range allows.
TEST(ResizedCrop, FallsBackToTheMiddle) {
  KeyedRandom random({7});
  const ResizedCrop ranges = {.min_area = 0.9, .max_area = 1.0};
  const Region wide = draw_resized_crop(ranges, 100, 30, random);
  EXPECT_EQ(wide.width, 40);
  EXPECT_EQ(wide.height, 30);
  EXPECT_EQ(wide.left, 30);
  EXPECT_EQ(wide.top, 0);
  const Region tall = draw_resized_crop(ranges, 30, 100, random);
  EXPECT_EQ(tall.width, 30);
  EXPECT_EQ(tall.height, 40);
  EXPECT_EQ(tall.top, 30);
}

// One try in ten finds a square that is smaller than the picture.
TEST(ResizedCrop, AndErasingTryTenTimes) {
  constexpr int kPictures = 20000, kSide = 1000;
  KeyedRandom random({17});
  int whole = 0, untouched = 0;
  for (int i = 0; i < kPictures; ++i) {
    const Region region =
        draw_resized_crop({.min_area = 0.9, .max_area = 1.9, .min_aspect = 1, .max_aspect = 1}, kSide, kSide, random);
    whole += region.width == kSide;
    untouched += !draw_erased_region(
        {.probability = 1, .min_area = 0.9, .max_area = 1.9, .min_aspect = 1, .max_aspect = 1}, kSide, kSide, random);
  }
  expect_frequency(whole, kPictures, std::pow(0.9, 10));
  expect_frequency(untouched, kPictures, std::pow(0.9, 10));
}

TEST(Erasing, HasUniformAreasPlacesAndLogarithmsOfShapes) {
  constexpr int kSide = 1500;
  const RandomErasing erasing = {.probability = 0.25, .max_area = 0.25};
  constexpr int kPictures = 16000;
  KeyedRandom random({8});
  std::vector<double> areas, shapes, lefts, tops;
  for (int i = 0; i < kPictures; ++i) {
    const auto region = draw_erased_region(erasing, kSide, kSide, random);
    if (!region) continue;
    areas.push_back(static_cast<double>(region->width) * region->height / (kSide * kSide));
    shapes.push_back(std::log(static_cast<double>(region->height) / region->width));
    lefts.push_back(static_cast<double>(region->left) / (kSide - region->width));
    tops.push_back(static_cast<double>(region->top) / (kSide - region->height));
  }
  expect_frequency(static_cast<int>(areas.size()), kPictures, 0.25);
  EXPECT_LT(kolmogorov_smirnov(areas, uniform_cdf(0.02, 0.25)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(shapes, uniform_cdf(std::log(0.3), -std::log(0.3))), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(lefts, uniform_cdf(0, 1)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(tops, uniform_cdf(0, 1)), kSmirnovBound);
}

TEST(Erasing, FillsOneRectangleAsItsModeSays) {
  constexpr int kWidth = 90, kHeight = 70;
  std::vector<double> pixel_values, channel_values;
  for (std::uint64_t sample = 0; sample < 100; ++sample) {
    for (const EraseMode mode : {EraseMode::kConstant, EraseMode::kRandom, EraseMode::kPixel}) {
      std::vector<float> values(kWidth * kHeight * 3, 9.0f);
      erase(values, kWidth, kHeight, Augmentation{.erasing = {.probability = 1, .mode = mode}}, {.sample = sample});
      int left = kWidth, right = 0, top = kHeight, bottom = 0, count = 0;
      std::array<std::set<float>, 3> seen;
      for (int y = 0; y < kHeight; ++y) {
        for (int x = 0; x < kWidth; ++x) {
          const float* const pixel = &values[static_cast<std::size_t>(y * kWidth + x) * 3];
          if (pixel[0] == 9.0f) continue;
          ++count;
          left = std::min(left, x);
          right = std::max(right, x + 1);
          top = std::min(top, y);
          bottom = std::max(bottom, y + 1);
          for (std::size_t c = 0; c < 3; ++c) {
            seen[c].insert(pixel[c]);
            if (mode == EraseMode::kPixel) pixel_values.push_back(pixel[c]);
          }
        }
      }
      EXPECT_EQ(count, (right - left) * (bottom - top)) << "no rectangle";
      for (const auto& of_channel : seen) {
        if (mode == EraseMode::kConstant) {
          EXPECT_EQ(of_channel, std::set<float>{0.0f});
        } else if (mode == EraseMode::kRandom) {
          EXPECT_EQ(of_channel.size(), 1u);
          channel_values.push_back(*of_channel.begin());
        }
      }
    }
  }
  EXPECT_LT(kolmogorov_smirnov(pixel_values, normal_cdf(0, 1)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(channel_values, normal_cdf(0, 1)), kSmirnovBound);
}

TEST(Erasing, NeverCoversAWholeSideAndLeavesOthersAlone) {
  KeyedRandom random({9});
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 40}, {2, 2}, {5, 300}, {30, 30}}) {
    for (int i = 0; i < 300; ++i) {
      const auto region = draw_erased_region({.probability = 1}, width, height, random);
      if (!region) continue;
      ASSERT_LT(region->width, width);
      ASSERT_LT(region->height, height);
      ASSERT_LE(region->left + region->width, width);
      ASSERT_LE(region->top + region->height, height);
    }
  }
  std::vector<float> values(3 * 8 * 8, 1.0f);
  for (std::uint64_t sample = 0; sample < 50; ++sample) erase(values, 8, 8, Augmentation{}, {.sample = sample});
  EXPECT_EQ(values, std::vector<float>(3 * 8 * 8, 1.0f)) << "without a probability nothing is erased";
}

std::vector<PictureOperation> many_operations(const RandAugment& policy, int pictures, std::uint64_t seed,
                                              std::optional<Interpolation> interpolation = Interpolation::kBicubic) {
  std::vector<PictureOperation> all;
  KeyedRandom random({seed});
  for (int i = 0; i < pictures; ++i) {
    const auto operations = draw_operations(policy, interpolation, random);
    all.insert(all.end(), operations.begin(), operations.end());
  }
  return all;
}

TEST(RandAugment, DrawsEachOperationEquallyOftenAndDoesHalfOfThem) {
  constexpr int kPictures = 20000;
  for (const auto& [text, drawn, probability] :
       {std::tuple{"rand-m9-mstd0.5-inc1", 2, 0.5}, {"rand-n3-p0.2", 3, 0.2}, {"rand-n1-p1", 1, 1.0}}) {
    const auto operations = many_operations(*parse_rand_augment(text), kPictures, 10);
    expect_frequency(static_cast<int>(operations.size()), kPictures * drawn, probability);
    std::vector<int> counts(kOperationKinds);
    for (const PictureOperation& operation : operations) ++counts[static_cast<std::size_t>(operation.kind)];
    EXPECT_LT(chi_squared(counts), 36.12) << text;  // 14 degrees of freedom
  }
}

// With replacement: both of two are the same in one picture of fifteen.
TEST(RandAugment, DrawsWithReplacement) {
  KeyedRandom random({11});
  int equal = 0;
  for (int i = 0; i < 15000; ++i) {
    const auto operations = draw_operations({.operations = 2, .probability = 1}, Interpolation::kBicubic, random);
    equal += operations[0].kind == operations[1].kind;
  }
  expect_frequency(equal, 15000, 1.0 / 15);
}

std::vector<double> arguments_of(const std::vector<PictureOperation>& operations, OperationKind kind) {
  std::vector<double> arguments;
  for (const PictureOperation& operation : operations) {
    if (operation.kind == kind) arguments.push_back(operation.argument);
  }
  return arguments;
}

TEST(RandAugment, HasNormalMagnitudesCutAtTheLargest) {
  const auto angles = [](const std::string& text) {
    auto values = arguments_of(many_operations(*parse_rand_augment(text), 40000, 12), OperationKind::kRotate);
    for (double& value : values) value = std::fabs(value) / 3;  // back to the magnitude
    return values;
  };
  EXPECT_LT(kolmogorov_smirnov(angles("rand-m5-mstd0.5-inc1"), normal_cdf(5, 0.5)), kSmirnovBound);
  EXPECT_GT(kolmogorov_smirnov(angles("rand-m5-mstd0.5-inc1"), normal_cdf(5, 0.6)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(angles("rand-m15-mmax30-mstd1.5"), normal_cdf(15, 1.5)), kSmirnovBound);
  EXPECT_LT(kolmogorov_smirnov(angles("rand-m8-mstd101"), uniform_cdf(0, 8)), kSmirnovBound);

  const auto cut = angles("rand-m9-mstd0.5-inc1");
  const auto at_most =
      static_cast<int>(std::count_if(cut.begin(), cut.end(), [](double magnitude) { return magnitude > 10 - 1e-9; }));
  expect_frequency(at_most, static_cast<int>(cut.size()), normal_cdf(0, 1)(-2));
  EXPECT_LE(*std::max_element(cut.begin(), cut.end()), 10 + 1e-9);
  for (const double magnitude : angles("rand-m9")) ASSERT_DOUBLE_EQ(magnitude, 9.0);
}

TEST(RandAugment, GoesBothWaysEquallyOften) {
  const auto operations = many_operations(*parse_rand_augment("rand-m9-mstd0.5-inc1"), 40000, 13);
  for (const auto& [kind, middle] : {std::pair{OperationKind::kRotate, 0},
                                     {OperationKind::kShearX, 0},
                                     {OperationKind::kShearY, 0},
                                     {OperationKind::kTranslateX, 0},
                                     {OperationKind::kTranslateY, 0},
                                     {OperationKind::kColor, 1},
                                     {OperationKind::kContrast, 1},
                                     {OperationKind::kBrightness, 1},
                                     {OperationKind::kSharpness, 1}}) {
    const auto arguments = arguments_of(operations, kind);
    const auto above =
        std::count_if(arguments.begin(), arguments.end(), [middle = middle](double it) { return it > middle; });
    expect_frequency(static_cast<int>(above), static_cast<int>(arguments.size()), 0.5);
  }
}

TEST(RandAugment, DrawsItsFilterWhereNoneIsGiven) {
  const auto bilinear_rotations = [](std::optional<Interpolation> interpolation) {
    int bilinear = 0, all = 0;
    for (const PictureOperation& operation : many_operations({.probability = 1}, 10000, 14, interpolation)) {
      if (operation.kind != OperationKind::kRotate && operation.kind != OperationKind::kShearY) continue;
      bilinear += operation.filter == AffineFilter::kBilinear;
      ++all;
    }
    return std::pair{bilinear, all};
  };
  const auto [drawn, all] = bilinear_rotations(std::nullopt);
  expect_frequency(drawn, all, 0.5);
  const auto [always, of_all] = bilinear_rotations(Interpolation::kBilinear);
  EXPECT_EQ(always, of_all);
  EXPECT_EQ(bilinear_rotations(Interpolation::kBicubic).first, 0);
  expect_error(ErrorCode::kInvalidArgument, {"lanczos", "bilinear or bicubic"},
               [] { many_operations({.probability = 1}, 100, 1, Interpolation::kLanczos); });
}

TEST(ColorJitter, HasUniformFactorsInEveryOrder) {
  KeyedRandom random({15});
  std::map<std::vector<OperationKind>, int> orders;
  std::map<OperationKind, std::vector<double>> factors;
  for (int i = 0; i < 12000; ++i) {
    std::vector<OperationKind> order;
    for (const PictureOperation& operation : draw_color_jitter(0.4, random)) {
      order.push_back(operation.kind);
      factors[operation.kind].push_back(operation.argument);
    }
    ++orders[order];
  }
  std::vector<int> counts;
  for (const auto& [order, count] : orders) counts.push_back(count);
  ASSERT_EQ(counts.size(), 6u);
  EXPECT_LT(chi_squared(counts), 20.52);  // 5 degrees of freedom
  for (const OperationKind kind : {OperationKind::kBrightness, OperationKind::kContrast, OperationKind::kColor}) {
    EXPECT_LT(kolmogorov_smirnov(factors[kind], uniform_cdf(0.6, 1.4)), kSmirnovBound);
  }
  const auto strong = draws(4000, 16, [](KeyedRandom& it) { return draw_color_jitter(3, it)[0].argument; });
  EXPECT_LT(kolmogorov_smirnov(strong, uniform_cdf(0, 4)), kSmirnovBound) << "factors are not negative";
}

// ---- the whole ------------------------------------------------------------------------------------------------------

Preprocessing side_of(int resolution) { return {.resolution = resolution}; }

TEST(Flip, MirrorsHalfOfThePicturesAtRandom) {
  for (const double probability : {0.5, 0.2}) {
    int mirrored = 0, both = 0;
    for (std::uint64_t sample = 0; sample < 4000; ++sample) {
      const Augmentation augmentation{.flip_probability = probability};
      const bool first = is_mirrored(augmentation, {.seed = 1, .epoch = 0, .sample = sample});
      mirrored += first;
      both += first && is_mirrored(augmentation, {.seed = 1, .epoch = 1, .sample = sample});
    }
    expect_frequency(mirrored, 4000, probability);
    expect_frequency(both, 4000, probability * probability);
  }
  for (std::uint64_t sample = 0; sample < 100; ++sample) {
    EXPECT_FALSE(is_mirrored({.flip_probability = 0}, {.sample = sample}));
    EXPECT_TRUE(is_mirrored({.flip_probability = 1}, {.sample = sample}));
  }
}

// In any two epochs that follow each other a picture is seen once either way; a half begins mirrored.
TEST(Flip, AlternatesFromEpochToEpoch) {
  const Augmentation augmentation{.flip_mode = FlipMode::kAlternating};
  int mirrored = 0, as_with_other_seed = 0;
  for (std::uint64_t sample = 0; sample < 4000; ++sample) {
    const bool first = is_mirrored(augmentation, {.seed = 3, .epoch = 0, .sample = sample});
    for (std::uint64_t epoch = 1; epoch < 6; ++epoch) {
      ASSERT_EQ(is_mirrored(augmentation, {.seed = 3, .epoch = epoch, .sample = sample}), first != (epoch % 2 == 1));
    }
    mirrored += first;
    as_with_other_seed += first == is_mirrored(augmentation, {.seed = 4, .epoch = 0, .sample = sample});
  }
  expect_frequency(mirrored, 4000, 0.5);
  expect_frequency(as_with_other_seed, 4000, 0.5);
}

TEST(Augment, MirrorsThePictureWhenItIsItsTurn) {
  const Image image = formula_picture(8, 8, 1);
  for (const FlipMode mode : {FlipMode::kRandom, FlipMode::kAlternating}) {
    const Augmentation augmentation{.flip_mode = mode};
    for (std::uint64_t sample = 0; sample < 20; ++sample) {
      const SampleKey key{.seed = 1, .epoch = 2, .sample = sample};
      EXPECT_EQ(augment(image, augmentation, side_of(8), key).pixels,
                is_mirrored(augmentation, key) ? flip_horizontally(image).pixels : image.pixels);
    }
  }
}

TEST(Augment, MovesAPictureByUpToThePaddingInBothDirections) {
  const Image image = formula_picture(9, 9, 1);
  for (const ShiftPadding padding : {ShiftPadding::kBlack, ShiftPadding::kReflection}) {
    const Augmentation augmentation{.flip_probability = 0, .crop_padding = 2, .padding = padding};
    const auto key_of = [](const Image& picture) { return std::string(picture.pixels.begin(), picture.pixels.end()); };
    std::map<std::string, int> seen;
    for (std::uint64_t sample = 0; sample < 5000; ++sample) {
      ++seen[key_of(augment(image, augmentation, side_of(9), {.sample = sample}))];
    }
    ASSERT_EQ(seen.size(), 25u);
    std::vector<int> counts;
    for (int dy = -2; dy <= 2; ++dy) {
      for (int dx = -2; dx <= 2; ++dx) counts.push_back(seen[key_of(shift(image, dx, dy, padding))]);
    }
    EXPECT_LT(chi_squared(counts), 51.18);  // 24 degrees of freedom
  }
  const Augmentation unmoved{.flip_probability = 0, .crop = TrainCrop::kNone, .crop_padding = 2};
  EXPECT_EQ(augment(image, unmoved, side_of(9), {.sample = 1}).pixels, image.pixels);
}

TEST(Augment, MakesAnyPictureTheResolution) {
  Augmentation augmentation{.crop = TrainCrop::kRandomResized,
                            .interpolation = std::nullopt,
                            .rand_augment = parse_rand_augment("rand-m15-n6-p1-mmax20-mstd5-inc1")};
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 40}, {33, 2}, {50, 60}}) {
    for (std::uint64_t sample = 0; sample < 60; ++sample) {
      const Image image = augment(formula_picture(width, height, 2), augmentation, side_of(12), {.sample = sample});
      ASSERT_EQ(image.width, 12);
      ASSERT_EQ(image.height, 12);
      ASSERT_EQ(image.pixels.size(), 12u * 12 * 3);
    }
  }
  EXPECT_THROW(augment(formula_picture(8, 9, 1), {}, side_of(9), {}), std::logic_error);
}

TEST(Augment, DependsOnTheKeyAlone) {
  const Image image = formula_picture(40, 30, 4);
  const Augmentation augmentation{.crop = TrainCrop::kRandomResized,
                                  .rand_augment = parse_rand_augment("rand-m9-mstd0.5-inc1")};
  const auto made = [&](const SampleKey& key) { return augment(image, augmentation, side_of(16), key).pixels; };
  const SampleKey key{.seed = 5, .epoch = 6, .sample = 7};
  EXPECT_EQ(made(key), made(key));
  EXPECT_NE(made(key), made({.seed = 6, .epoch = 6, .sample = 7}));
  EXPECT_NE(made(key), made({.seed = 5, .epoch = 7, .sample = 7}));
  EXPECT_NE(made(key), made({.seed = 5, .epoch = 6, .sample = 8}));
  EXPECT_NE(made({.seed = 5, .epoch = 6, .sample = 7}), made({.seed = 5, .epoch = 7, .sample = 6}));
}

// timm's rule: RandAugment changes colours already.
TEST(Augment, DoesNotJitterColoursBesideRandAugment) {
  const Image image = formula_picture(16, 16, 4);
  Augmentation jittered{.flip_probability = 0, .color_jitter = 0.4};
  EXPECT_NE(augment(image, jittered, side_of(16), {}).pixels, image.pixels);
  Augmentation policy{.flip_probability = 0, .rand_augment = parse_rand_augment("rand-m9-inc1")};
  const Image alone = augment(image, policy, side_of(16), {});
  policy.color_jitter = 0.4;
  EXPECT_EQ(augment(image, policy, side_of(16), {}).pixels, alone.pixels);
}

TEST(Augmentation, ThatCannotWorkIsRefusedWithItsValue) {
  validate(Augmentation{});
  const auto refused = [](const Augmentation& augmentation, std::initializer_list<std::string> texts) {
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { validate(augmentation); });
  };
  refused({.flip_probability = 1.5}, {"mirroring", "1.5"});
  refused({.flip_probability = std::nan("")}, {"mirroring", "nan"});
  refused({.crop_padding = -1}, {"padding", "-1"});
  refused({.resized_crop = {.min_area = 0}}, {"least area of a crop"});
  refused({.resized_crop = {.min_area = 0.5, .max_area = 0.4}}, {"largest area of a crop", "0.4", "0.5 to 1"});
  refused({.resized_crop = {.max_aspect = std::numeric_limits<double>::infinity()}}, {"aspect"});
  refused({.color_jitter = -0.1}, {"jitter", "-0.1"});
  refused({.erasing = {.probability = -1}}, {"erasing"});
  refused({.erasing = {.max_area = 1.1}}, {"erased area", "1.1"});
  refused({.erasing = {.min_aspect = -1}}, {"erased aspect"});
  refused({.interpolation = Interpolation::kBox, .rand_augment = RandAugment{}}, {"box"});
  refused({.rand_augment = RandAugment{.operations = 0}}, {"number of operations"});
  refused({.rand_augment = RandAugment{.probability = 2}}, {"probability"});
  refused({.rand_augment = RandAugment{.magnitude_deviation = std::nan("")}}, {"deviation"});
}

}  // namespace
}  // namespace convnext
