// The parts of a detector that are no network, against torchvision and formulas (tools/goldens/detection.py).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/hash.h"
#include "detect/anchors.h"
#include "detect/assignment.h"
#include "detect/mask_pasting.h"
#include "detect/nms.h"
#include "detect/roi_align.h"
#include "model/formula.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

class DetectionGolden : public testing::Test {
 protected:
  Tensor tensor(const std::string& name) const { return golden_tensor(file_, name); }
  std::vector<Box> boxes(const std::string& name) const {
    const Tensor values = tensor(name);
    const auto rows = values.values<float>();
    std::vector<Box> boxes;
    for (std::size_t i = 0; i + 3 < rows.size(); i += 4)
      boxes.push_back({rows[i], rows[i + 1], rows[i + 2], rows[i + 3]});
    return boxes;
  }
  std::vector<float> floats(const std::string& name) const {
    const Tensor values = tensor(name);
    return {values.values<float>().begin(), values.values<float>().end()};
  }
  std::vector<int> integers(const std::string& name) const {
    const Tensor values = tensor(name);
    return {values.values<std::int64_t>().begin(), values.values<std::int64_t>().end()};
  }

  SafetensorsFile file_ = SafetensorsFile::open(golden_path("detection.safetensors"));
};

TEST_F(DetectionGolden, SuppressionKeepsTheBoxesThatTorchvisionKeeps) {
  const std::vector<Box> all = boxes("nms.boxes");
  const std::vector<float> scores = floats("nms.scores");
  const std::vector<int> groups = integers("nms.groups");
  for (const char* threshold : {"0.0", "0.3", "0.5", "0.7"}) {
    const float value = std::stof(threshold);
    EXPECT_EQ(non_maximum_suppression(all, scores, value), integers(std::string("nms.kept_") + threshold)) << threshold;
    EXPECT_EQ(non_maximum_suppression(all, scores, groups, value),
              integers(std::string("nms.kept_in_groups_") + threshold))
        << threshold;
  }
}

TEST(Suppression, OfNothingAndOfNaN) {
  EXPECT_THAT(non_maximum_suppression({}, {}, 0.5f), IsEmpty());
  EXPECT_THAT(non_maximum_suppression({}, {}, std::span<const int>(), 0.5f), IsEmpty());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Box> apart = {{0, 0, 1, 1}, {5, 5, 6, 6}, {9, 9, 10, 10}};
  EXPECT_THAT(non_maximum_suppression(apart, std::vector<float>{nan, 0.1f, 0.9f}, 0.5f), ElementsAre(2, 1, 0));
  const std::vector<Box> broken = {{nan, 0, 1, 1}, {0, 0, 1, 1}};
  EXPECT_THAT(non_maximum_suppression(broken, std::vector<float>{0.9f, 0.5f}, 0.5f), ElementsAre(0, 1));
}

struct AlignCase {
  int bins, stride;
};

class RoiAlign : public DetectionGolden, public testing::WithParamInterface<AlignCase> {
 protected:
  RoiAlign() : options_{.bins = GetParam().bins, .scale = 1.0f / static_cast<float>(GetParam().stride)} {
    const Tensor rows = tensor("align.regions");
    for (auto row = rows.values<float>().begin(); row != rows.values<float>().end(); row += 5) {
      regions_.push_back({static_cast<int>(row[0]), {row[1], row[2], row[3], row[4]}});
    }
    size_ = {.pictures = 2, .height = 72 / GetParam().stride, .width = 104 / GetParam().stride, .channels = 5};
  }
  std::string name() const {
    return "align." + std::to_string(GetParam().bins) + "_" + std::to_string(GetParam().stride);
  }
  Shape out_shape() const {
    return {static_cast<std::int64_t>(regions_.size()), options_.bins, options_.bins, size_.channels};
  }
  Shape map_shape() const { return {size_.pictures, size_.height, size_.width, size_.channels}; }
  // As PyTorch has it in (n, c, h, w), in our order.
  static Tensor channels_last(const Tensor& nchw) {
    const Shape& s = nchw.shape();
    Tensor nhwc = Tensor::zeros({s[0], s[2], s[3], s[1]});
    std::size_t i = 0;
    for (std::int64_t n = 0; n < s[0]; ++n) {
      for (std::int64_t y = 0; y < s[2]; ++y) {
        for (std::int64_t x = 0; x < s[3]; ++x) {
          for (std::int64_t c = 0; c < s[1]; ++c, ++i) {
            nhwc.values<float>()[i] =
                nchw.values<float>()[static_cast<std::size_t>(((n * s[1] + c) * s[2] + y) * s[3] + x)];
          }
        }
      }
    }
    return nhwc;
  }
  Tensor map() const { return channels_last(formula_input("map", {2, 5, size_.height, size_.width}, 1)); }
  Tensor aligned(const RoiAlignOptions& options) const {
    Tensor out = Tensor::zeros(out_shape());
    std::ranges::fill(out.values<float>(), 7.0f);  // what was there is overwritten
    const Tensor map = this->map();
    roi_align(map.values<float>().data(), size_, regions_, options, out.values<float>().data());
    return out;
  }

  RoiAlignOptions options_;
  std::vector<RegionOfInterest> regions_;
  MapBatch size_;
};

TEST_P(RoiAlign, IsTorchvisions) {
  EXPECT_TRUE(tensors_close(aligned(options_), tensor(name() + ".out"), {.relative = 1e-6, .largest = 2e-6}));
}

TEST_P(RoiAlign, OfAnotherScaleIsNot) {
  RoiAlignOptions wrong = options_;
  wrong.scale *= 1.001f;
  EXPECT_FALSE(tensors_close(aligned(wrong), tensor(name() + ".out"), {.relative = 1e-6, .largest = 2e-6}));
}

TEST_P(RoiAlign, GradientIsTorchvisions) {
  const Shape& out = out_shape();
  const Tensor gradient = channels_last(formula_input("gradient", {out[0], out[3], out[1], out[2]}, 2));
  Tensor map = Tensor::zeros(map_shape());
  for (const auto& [first, last] : {std::pair{0, 2}, std::pair{2, 5}}) {
    roi_align_gradient(gradient.values<float>().data(), size_, regions_, options_, first, last,
                       map.values<float>().data());
  }
  EXPECT_TRUE(tensors_close(map, tensor(name() + ".gradient"), {.relative = 2e-6, .largest = 5e-6}));
}

TEST_P(RoiAlign, OfBoxesThatAreNotFiniteIsZero) {
  const float infinity = std::numeric_limits<float>::infinity();
  regions_ = {{0, {0, 0, infinity, 20}}, {1, {std::nanf(""), 0, 20, 20}}, {0, {-3e38f, -3e38f, 3e38f, 3e38f}}};
  const Tensor out = aligned(options_);
  const std::size_t two = 2 * out.values<float>().size() / 3;
  EXPECT_THAT(out.values<float>().first(two), Each(0.0f));
  for (const float value : out.values<float>()) EXPECT_TRUE(std::isfinite(value));
}

INSTANTIATE_TEST_SUITE_P(Sizes, RoiAlign, testing::Values(AlignCase{7, 8}, AlignCase{4, 4}, AlignCase{1, 16}),
                         [](const auto& info) { return "Bins" + std::to_string(info.param.bins); });

// The gradient is the transpose of a linear map: <align(map), g> = <map, gradient(g)>, whatever the sizes.
TEST(RoiAlignGradient, IsTheTransposeForAllSizes) {
  std::uint64_t key = 5;
  for (const int channels : {1, 3, 63, 64, 65, 130}) {
    for (const int bins : {1, 2, 7, 14}) {
      const MapBatch size{.pictures = 1, .height = 9, .width = 13, .channels = channels};
      std::vector<RegionOfInterest> regions;
      for (int i = 0; i < 6; ++i) {
        const auto place = [&key](float range) { return unit_float(mix(++key)) * range; };
        const float x = place(60) - 10, y = place(50) - 10;
        regions.push_back({0, {x, y, x + place(90), y + place(70)}});
      }
      const RoiAlignOptions options{.bins = bins, .scale = 0.25f};
      const Tensor map = formula_input("map", {1, 9, 13, channels}, key);
      const Tensor gradient = formula_input("gradient", {6, bins, bins, channels}, key);
      Tensor out = Tensor::zeros(gradient.shape()), back = Tensor::zeros(map.shape());
      roi_align(map.values<float>().data(), size, regions, options, out.values<float>().data());
      roi_align_gradient(gradient.values<float>().data(), size, regions, options, 0, channels,
                         back.values<float>().data());
      const auto product = [](const Tensor& a, const Tensor& b) {
        return std::inner_product(a.values<float>().begin(), a.values<float>().end(), b.values<float>().begin(), 0.0);
      };
      const auto length = [&product](const Tensor& a) { return std::sqrt(product(a, a)); };
      EXPECT_NEAR(product(out, gradient), product(map, back), 1e-5 * length(out) * length(gradient))
          << channels << " channels, " << bins << " bins";
    }
  }
}

TEST_F(DetectionGolden, MasksArePastedAsBySamplingTheGrid) {
  const std::vector<Box> all = boxes("paste.boxes");
  const std::vector<float> masks = floats("paste.masks");
  const Tensor pictures = tensor("paste.pictures");
  constexpr std::size_t kMask = 14 * 14, kPicture = 40 * 56;
  int differing_from_half_a_pixel_off = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::span<const float> mask(masks.data() + i * kMask, kMask);
    const auto expected = pictures.values<std::uint8_t>().subspan(i * kPicture, kPicture);
    const std::vector<std::uint8_t> pasted = paste_mask(mask, 14, all[i], 40, 56);
    EXPECT_TRUE(std::ranges::equal(pasted, expected)) << "box " << i;
    const Box moved{all[i].x1 + 0.5f, all[i].y1, all[i].x2 + 0.5f, all[i].y2};
    differing_from_half_a_pixel_off += std::ranges::equal(paste_mask(mask, 14, moved, 40, 56), expected) ? 0 : 1;
  }
  EXPECT_GE(differing_from_half_a_pixel_off, 3);
}

TEST(MaskPasting, OfABoxWithoutAreaIsEmpty) {
  const std::vector<float> mask(4, 1.0f);
  for (const Box& box : {Box{3, 3, 3, 5}, Box{3, 3, 1, 5}, Box{0, 0, std::nanf(""), 5},
                         Box{0, 0, std::numeric_limits<float>::infinity(), 5}}) {
    EXPECT_THAT(paste_mask(mask, 2, box, 6, 6), Each(0));
  }
}

TEST_F(DetectionGolden, AnchorsAreThoseOfTheFormula) {
  constexpr double kRatios[] = {0.5, 1.0, 2.0};
  for (const int stride : {4, 64}) {
    EXPECT_EQ(anchors_of_level(3, 5, stride, 8, kRatios), boxes("anchors." + std::to_string(stride))) << stride;
  }
}

TEST_F(DetectionGolden, BoxesAreAssignedByOverlap) {
  const std::vector<Box> all = boxes("assign.boxes"), objects = boxes("assign.objects");
  EXPECT_EQ(assign(all, objects, {}), integers("assign.proposals"));
  const AssignmentOptions heads{.positive = 0.5f, .negative = 0.5f, .low_quality = false, .low_quality_least = 0.5f};
  EXPECT_EQ(assign(all, objects, heads), integers("assign.heads"));
  EXPECT_NE(assign(all, objects, {.low_quality = false}), integers("assign.proposals"));
  EXPECT_THAT(assign(all, {}, {}), Each(kBackground));
  EXPECT_THAT(assign({}, objects, {}), IsEmpty());
}

TEST_F(DetectionGolden, SamplesFollowFromTheirDraws) {
  struct Case {
    const char* name;
    int count;
    double share;
  };
  const std::vector<int> draws = integers("sample.draws");
  for (const Case& one : {Case{"both", 64, 0.5}, Case{"quarter", 50, 0.25}, Case{"few_objects", 64, 0.25},
                          Case{"no_objects", 32, 0.5}, Case{"no_background", 64, 0.25}, Case{"all", 256, 0.5}}) {
    std::size_t drawn = 0;
    const std::string name = fmt::format("sample.{}.", one.name);
    const SampledBoxes sampled = sample(integers(name + "assigned"), one.count, one.share, [&](std::uint64_t n) {
      return static_cast<std::uint64_t>(draws[drawn++]) % n;
    });
    EXPECT_EQ(sampled.positive, integers(name + "positive")) << one.name;
    EXPECT_EQ(sampled.negative, integers(name + "negative")) << one.name;
  }
}

TEST(Sampling, TakesNoMoreThanItsShareAndFillsWithBackground) {
  std::uint64_t key = 1;
  const auto draw = [&key](std::uint64_t n) { return mix(++key) % n; };
  std::vector<int> assigned(1000, kBackground);
  for (std::size_t i = 0; i < 100; ++i) assigned[7 * i] = static_cast<int>(i % 5);
  for (std::size_t i = 0; i < 50; ++i) assigned[7 * i + 1] = kLeftOut;
  const SampledBoxes many = sample(assigned, 64, 0.5, draw);
  EXPECT_EQ(many.positive.size(), 32u);
  EXPECT_EQ(many.negative.size(), 32u);
  for (const int i : many.positive) EXPECT_GE(assigned[static_cast<std::size_t>(i)], 0);
  for (const int i : many.negative) EXPECT_EQ(assigned[static_cast<std::size_t>(i)], kBackground);
  EXPECT_TRUE(std::ranges::is_sorted(many.positive));
  EXPECT_EQ(std::ranges::adjacent_find(many.positive), many.positive.end());

  const SampledBoxes few = sample(std::span(assigned).first(20), 512, 0.25, draw);
  EXPECT_EQ(few.positive.size(), 3u);
  EXPECT_EQ(few.negative.size(), 14u);
}

TEST(Sampling, DrawsEachObjectAlikeOften) {
  std::uint64_t key = 9;
  const auto draw = [&key](std::uint64_t n) { return mix(++key) % n; };
  const std::vector<int> assigned(20, 0);
  std::vector<int> counts(20, 0);
  constexpr int kRounds = 4000;
  for (int round = 0; round < kRounds; ++round) {
    for (const int i : sample(assigned, 10, 0.5, draw).positive) ++counts[static_cast<std::size_t>(i)];
  }
  // Each is drawn with probability 1/4: five standard deviations are 137.
  for (const int count : counts) EXPECT_NEAR(count, kRounds / 4, 137);
}

}  // namespace
}  // namespace convnext
