// What a detector makes of its heads' numbers, against torchvision and formulas (tools/goldens/detector_parts.py).
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "detect/box_coding.h"
#include "detect/detections.h"
#include "detect/mask_targets.h"
#include "detect/proposals.h"
#include "detect/pyramid_level.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

class DetectorParts : public testing::Test {
 protected:
  std::vector<float> floats(const std::string& name) const {
    const Tensor values = golden_tensor(file_, name);
    return {values.values<float>().begin(), values.values<float>().end()};
  }
  std::vector<int> integers(const std::string& name) const {
    const Tensor values = golden_tensor(file_, name);
    return {values.values<std::int64_t>().begin(), values.values<std::int64_t>().end()};
  }
  std::vector<Box> boxes(const std::string& name) const {
    const std::vector<float> rows = floats(name);
    std::vector<Box> boxes;
    for (std::size_t i = 0; i + 3 < rows.size(); i += 4) {
      boxes.push_back({rows[i], rows[i + 1], rows[i + 2], rows[i + 3]});
    }
    return boxes;
  }
  std::vector<Deltas> deltas(const std::string& name) const {
    std::vector<Deltas> deltas;
    for (const Box& row : boxes(name)) deltas.push_back({row.x1, row.y1, row.x2, row.y2});
    return deltas;
  }
  static std::vector<float> flat(const std::vector<Box>& boxes) {
    std::vector<float> values;
    for (const Box& box : boxes) values.insert(values.end(), {box.x1, box.y1, box.x2, box.y2});
    return values;
  }

  SafetensorsFile file_ = SafetensorsFile::open(golden_path("detector_parts.safetensors"));
};

// A few operations in float32, each rounded: 1e-6 is eight units in the last place.
constexpr TensorBounds kRounding{.relative = 1e-6, .largest = 2e-6};

constexpr DeltaUnits kUnits[] = {{1.0f, 1.0f}, {0.1f, 0.2f}, {0.05f, 0.1f}, {0.033f, 0.067f}};

TEST_F(DetectorParts, BoxesAreCodedAsTorchvisionDoes) {
  const std::vector<Box> from = boxes("coding.from"), to = boxes("coding.to");
  const std::vector<Deltas> changes = deltas("coding.deltas");
  for (std::size_t stage = 0; stage < std::size(kUnits); ++stage) {
    const std::string name = "coding." + std::to_string(stage);
    std::vector<float> encoded;
    std::vector<Box> decoded, back;
    for (std::size_t i = 0; i < from.size(); ++i) {
      const Deltas one = encode(from[i], to[i], kUnits[stage]);
      encoded.insert(encoded.end(), {one.x, one.y, one.width, one.height});
      decoded.push_back(decode(from[i], changes[i], kUnits[stage]));
      back.push_back(decode(from[i], one, kUnits[stage]));
    }
    EXPECT_TRUE(tensors_close(encoded, floats(name + ".encoded"), {.relative = 2e-6, .largest = 4e-6})) << name;
    EXPECT_TRUE(tensors_close(flat(decoded), floats(name + ".decoded"), kRounding)) << name;
    // The other way round, but for sides that change more than they may.
    EXPECT_TRUE(tensors_close(flat(back), flat(to), kRounding)) << name;
  }
}

TEST_F(DetectorParts, ChangesOfSizeAreBoundBothWays) {
  const std::vector<Box> from = boxes("coding.from");
  const std::vector<Deltas> changes = deltas("coding.extreme");
  std::vector<Box> decoded;
  for (std::size_t i = 0; i < from.size(); ++i) decoded.push_back(decode(from[i], changes[i], kUnits[1]));
  EXPECT_TRUE(tensors_close(flat(decoded), floats("coding.extreme_decoded"), kRounding));
  const Box shrunk = decode({0, 0, 100, 100}, {0, 0, -1000, 1000}, {});
  EXPECT_NEAR(shrunk.width(), 100 * 0.016, 1e-4);
  EXPECT_NEAR(shrunk.height(), 100 / 0.016, 1e-2);
}

TEST_F(DetectorParts, ProposalsAreTheBestOfEachLevelWithoutOverlaps) {
  std::vector<std::vector<Box>> anchors;
  std::vector<std::vector<float>> logits, changes;
  for (const char* level : {"0", "1", "2"}) {
    const std::string name = std::string("propose.") + level;
    anchors.push_back(boxes(name + ".anchors"));
    logits.push_back(floats(name + ".logits"));
    changes.push_back(floats(name + ".deltas"));
  }
  const auto proposed = [&](const ProposalOptions& options) {
    std::vector<std::vector<ScoredBox>> levels;
    for (std::size_t i = 0; i < anchors.size(); ++i) {
      levels.push_back(propose_of_level({anchors[i], logits[i], changes[i]}, 90, 125, options));
    }
    return best_of_levels(levels, options);
  };
  const ProposalOptions options{.best_of_level = 60, .kept = 50, .overlap = 0.7f};
  const std::vector<float> expected = floats("propose.kept");
  EXPECT_TRUE(tensors_close(flat(proposed(options)), expected, kRounding));
  // What each of the options is for.
  for (const ProposalOptions& wrong :
       {ProposalOptions{20, 50, 0.7f}, ProposalOptions{60, 50, 0.5f}, ProposalOptions{60, 49, 0.7f}}) {
    const std::vector<Box> others = proposed(wrong);
    EXPECT_FALSE(others.size() == 50 && tensors_close(flat(others), expected, kRounding));
  }
  logits[1][3] = std::nanf("");
  changes[0][17] = std::numeric_limits<float>::infinity();
  for (const Box& box : proposed(options))
    EXPECT_TRUE(box.width() > 0 && box.height() > 0 && std::isfinite(box.area()));
  EXPECT_THAT(best_of_levels({}, options), IsEmpty());
}

TEST(Proposals, OfEqualScoresAreThoseOfTheFirstLevel) {
  const std::vector<std::vector<ScoredBox>> levels = {
      {{{0, 0, 1, 1}, 0.9f}, {{0, 0, 2, 2}, 0.5f}}, {}, {{{0, 0, 3, 3}, 0.9f}, {{0, 0, 4, 4}, 0.7f}}};
  EXPECT_EQ(best_of_levels(levels, {.kept = 3}), (std::vector<Box>{{0, 0, 1, 1}, {0, 0, 3, 3}, {0, 0, 4, 4}}));
}

TEST_F(DetectorParts, LevelsAreThoseOfTheFormula) {
  const std::vector<Box> all = boxes("level.boxes");
  const std::vector<int> levels = integers("level.levels");
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(pyramid_level(all[i]), levels[i]) << "box " << i;
  for (const Box& box : {Box{5, 5, 5, 9}, Box{5, 5, 3, 9}, Box{0, 0, std::nanf(""), 4}})
    EXPECT_EQ(pyramid_level(box), 0);
}

TEST_F(DetectorParts, MaskTargetsAreTheMaskUnderTheBox) {
  const Tensor mask = golden_tensor(file_, "target.mask");
  const std::vector<float> means = floats("target.means");
  const std::vector<float> targets = mask_targets(mask.values<std::uint8_t>(), 48, 64, boxes("target.boxes"), 28);
  ASSERT_EQ(targets.size(), means.size());
  std::size_t compared = 0, ones = 0;
  for (std::size_t i = 0; i < means.size(); ++i) {
    if (std::abs(means[i] - 0.5f) < 1e-5f) continue;  // a sum in another order may fall to the other side
    ++compared;
    ones += targets[i] == 1.0f ? 1 : 0;
    ASSERT_EQ(targets[i], means[i] >= 0.5f ? 1.0f : 0.0f) << "bin " << i;
  }
  EXPECT_GT(compared, means.size() * 95 / 100);
  EXPECT_GT(ones, means.size() / 10);
  EXPECT_LT(ones, means.size() * 9 / 10);
  EXPECT_THAT(mask_targets(mask.values<std::uint8_t>(), 48, 64, {}, 28), IsEmpty());
}

TEST_F(DetectorParts, DetectionsAreSelectedClassByClass) {
  const std::vector<float> scores = floats("select.scores");
  const DetectionOptions options{.score = 0.2f, .overlap = 0.5f, .kept = 25};
  const std::vector<Detection> found = select_detections(boxes("select.boxes"), scores, 3, options);
  const std::vector<Box> kept = boxes("select.kept");
  const std::vector<int> classes = integers("select.classes");
  const std::vector<float> best = floats("select.best");
  ASSERT_THAT(found, SizeIs(kept.size()));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].box, kept[i]) << i;
    EXPECT_EQ(found[i].class_index, classes[i]) << i;
    EXPECT_EQ(found[i].score, best[i]) << i;
  }
  EXPECT_THAT(select_detections({}, {}, 3, options), IsEmpty());
  EXPECT_THAT(select_detections(std::vector<Box>(3, Box{0, 0, 1, 1}), std::vector<float>(4, std::nanf("")), 3, options),
              IsEmpty());
}

// A picture twice as wide and three times as high as the network saw it.
TEST(Detections, AreBroughtToThePictureWithTheirMasks) {
  Detection detection{{4, 2, 12, 8}, 3, 0.75f, std::vector<float>(4 * 4, 1.0f)};
  const PictureDetection on = on_picture(detection, {.height = 10, .width = 20}, {.height = 30, .width = 40}, 0.5f);
  EXPECT_EQ(on.box, (Box{8, 6, 24, 24}));
  EXPECT_EQ(on.class_index, 3);
  EXPECT_EQ(on.score, 0.75f);
  const BoundingBox bounds = mask_bounds(on.mask);
  EXPECT_EQ(bounds, (BoundingBox{8, 6, 16, 18}));
  EXPECT_GT(mask_area(on.mask), 260u);  // of 288: at the corners the mask is interpolated with nothing
  std::ranges::fill(detection.mask, 0.4f);
  EXPECT_EQ(mask_area(on_picture(detection, {10, 20}, {30, 40}, 0.5f).mask), 0u);
  EXPECT_GT(mask_area(on_picture(detection, {10, 20}, {30, 40}, 0.3f).mask), 200u);
}

}  // namespace
}  // namespace convnext
