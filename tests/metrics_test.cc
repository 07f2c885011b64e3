#include <gmock/gmock.h>

#include <cmath>

#include "metrics/classification.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TopK, OrdersByValueAndThenByIndex) {
  const std::vector<float> values = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};
  EXPECT_THAT(top_k(values, 3), ElementsAre(1, 3, 2));
  EXPECT_THAT(top_k(values, 99), ElementsAre(1, 3, 2, 0, 4));
  EXPECT_THAT(top_k(values, 0), IsEmpty());
  EXPECT_THAT(top_k({}, 5), IsEmpty());
}

TEST(Softmax, OfKnownLogits) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f)};
  EXPECT_THAT(softmax(logits), ElementsAre(testing::FloatNear(0.125f, 1e-7f), testing::FloatNear(0.25f, 1e-7f),
                                           testing::FloatNear(0.625f, 1e-7f)));
}

TEST(Softmax, DoesNotOverflow) {
  const std::vector<float> logits = {3e38f, 3e38f, -3e38f};
  EXPECT_THAT(softmax(logits), ElementsAre(0.5f, 0.5f, 0.0f));
  EXPECT_THAT(softmax({}), IsEmpty());
}

TEST(CrossEntropy, OfKnownLogits) {
  const std::vector<float> logits = {0.0f, std::log(3.0f)};
  EXPECT_NEAR(cross_entropy(logits, 0), std::log(4.0), 1e-7);
  EXPECT_NEAR(cross_entropy(logits, 1), std::log(4.0 / 3.0), 1e-7);
  const std::vector<float> far = {1000.0f, 0.0f};
  EXPECT_DOUBLE_EQ(cross_entropy(far, 1), 1000.0);
}

// Seven classes; the target is the best, the fifth and the sixth.
TEST(ClassificationMetrics, CountsTopOneTopFiveAndLoss) {
  const std::vector<float> logits = {7, 6, 5, 4, 3, 2, 1};
  ClassificationMetrics metrics(7);
  metrics.add(logits, 0);
  metrics.add(logits, 4);
  metrics.add(logits, 5);
  metrics.add(logits, 0);
  EXPECT_EQ(metrics.pictures(), 4);
  EXPECT_DOUBLE_EQ(metrics.top1(), 50.0);
  EXPECT_DOUBLE_EQ(metrics.top5(), 75.0);
  const double normalizer =
      std::log(std::exp(7) + std::exp(6) + std::exp(5) + std::exp(4) + std::exp(3) + std::exp(2) + std::exp(1));
  EXPECT_NEAR(metrics.loss(), normalizer - (7 + 3 + 2 + 7) / 4.0, 1e-9);
  EXPECT_EQ(metrics.per_class()[0].pictures, 2);
  EXPECT_EQ(metrics.per_class()[0].correct, 2);
  EXPECT_EQ(metrics.per_class()[5].pictures, 1);
  EXPECT_EQ(metrics.per_class()[5].correct, 0);
}

TEST(ClassificationMetrics, TopFiveOfFewClassesIsEverything) {
  ClassificationMetrics metrics(2);
  const std::vector<float> logits = {1, 0};
  metrics.add(logits, 1);
  EXPECT_DOUBLE_EQ(metrics.top1(), 0.0);
  EXPECT_DOUBLE_EQ(metrics.top5(), 100.0);
}

TEST(ClassificationMetrics, OfNoPicturesIsZeroAndNotNaN) {
  const ClassificationMetrics metrics(3);
  EXPECT_EQ(metrics.top1(), 0.0);
  EXPECT_EQ(metrics.top5(), 0.0);
  EXPECT_EQ(metrics.loss(), 0.0);
}

TEST(ClassificationMetrics, MergedPartsEqualTheWhole) {
  ClassificationMetrics whole(6), first(6), second(6);
  for (int i = 0; i < 12; ++i) {
    std::vector<float> logits(6, 0.0f);
    logits[static_cast<std::size_t>(i % 5)] = 1.0f;
    whole.add(logits, i % 6);
    (i < 5 ? first : second).add(logits, i % 6);
  }
  first.merge(second);
  EXPECT_EQ(first.pictures(), whole.pictures());
  EXPECT_EQ(first.correct(), whole.correct());
  EXPECT_EQ(first.top5(), whole.top5());
  EXPECT_NEAR(first.loss(), whole.loss(), 1e-12);
  EXPECT_NEAR(first.calibration_error(), whole.calibration_error(), 1e-12);
  for (int target = 0; target < 6; ++target) {
    for (int predicted = 0; predicted < 6; ++predicted) {
      EXPECT_EQ(first.confusion(target, predicted), whole.confusion(target, predicted));
    }
  }
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(first.per_class()[i].pictures, whole.per_class()[i].pictures);
    EXPECT_EQ(first.per_class()[i].correct, whole.per_class()[i].correct);
    EXPECT_EQ(first.per_class()[i].predicted, whole.per_class()[i].predicted);
  }
}

// Logits of three classes whose softmax is `probabilities`.
std::vector<float> logits_of(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (const double probability : probabilities) logits.push_back(static_cast<float>(std::log(probability)));
  return logits;
}

// Class 0 shown three times and taken for 0, 0, 1; class 1 once, taken for 0; class 2 never shown, never taken for.
TEST(ClassificationMetrics, PrecisionRecallAndF1ByHand) {
  ClassificationMetrics metrics(3);
  metrics.add(logits_of({0.8, 0.1, 0.1}), 0);
  metrics.add(logits_of({0.6, 0.3, 0.1}), 0);
  metrics.add(logits_of({0.3, 0.6, 0.1}), 0);
  metrics.add(logits_of({0.7, 0.2, 0.1}), 1);
  const auto& first = metrics.per_class()[0];
  EXPECT_EQ(first.predicted, 3);
  EXPECT_DOUBLE_EQ(first.recall(), 200.0 / 3);
  EXPECT_DOUBLE_EQ(first.precision(), 200.0 / 3);
  EXPECT_DOUBLE_EQ(first.f1(), 200.0 / 3);
  EXPECT_EQ(metrics.per_class()[1].precision(), 0.0);
  EXPECT_EQ(metrics.per_class()[1].f1(), 0.0);
  EXPECT_EQ(metrics.per_class()[2].recall(), 0.0);
  EXPECT_EQ(metrics.per_class()[2].precision(), 0.0);
  EXPECT_EQ(metrics.confusion(0, 0), 2);
  EXPECT_EQ(metrics.confusion(0, 1), 1);
  EXPECT_EQ(metrics.confusion(1, 0), 1);
  EXPECT_EQ(metrics.confusion(1, 1), 0);
}

TEST(ClassificationMetrics, TheMistakesThatHappenMostComeFirst) {
  ClassificationMetrics metrics(3);
  const auto add = [&metrics](int target, int predicted, int times) {
    std::vector<float> logits(3, 0.0f);
    logits[static_cast<std::size_t>(predicted)] = 1.0f;
    for (int i = 0; i < times; ++i) metrics.add(logits, target);
  };
  add(0, 0, 9);
  add(2, 1, 3);
  add(0, 2, 5);
  add(0, 1, 3);
  const auto worst = metrics.most_confused(2);
  ASSERT_EQ(worst.size(), 2u);
  EXPECT_EQ(worst[0].target, 0);
  EXPECT_EQ(worst[0].predicted, 2);
  EXPECT_EQ(worst[0].pictures, 5);
  EXPECT_EQ(worst[1].target, 0) << "of equal ones the first";
  EXPECT_EQ(worst[1].predicted, 1);
  EXPECT_EQ(metrics.most_confused(99).size(), 3u);
}

// Two pictures at confidence 0.9, one of them right, and two at 0.7, both right: (|0.5 - 0.9| + |1 - 0.7|) / 2.
TEST(ClassificationMetrics, CalibrationErrorByHand) {
  ClassificationMetrics metrics(3);
  EXPECT_EQ(metrics.calibration_error(), 0.0);
  metrics.add(logits_of({0.9, 0.05, 0.05}), 0);
  metrics.add(logits_of({0.9, 0.05, 0.05}), 1);
  metrics.add(logits_of({0.7, 0.2, 0.1}), 0);
  metrics.add(logits_of({0.7, 0.2, 0.1}), 0);
  EXPECT_NEAR(metrics.calibration_error(), 35.0, 1e-5);
  const auto& high = metrics.reliability()[13];  // (13/15, 14/15]
  EXPECT_EQ(high.pictures, 2);
  EXPECT_NEAR(high.confidence(), 90.0, 1e-5);
  EXPECT_DOUBLE_EQ(high.accuracy(), 50.0);
  EXPECT_EQ(metrics.reliability()[10].pictures, 2);  // (10/15, 11/15]
}

// A bin has its upper edge, and certainty is in the last one.
TEST(ClassificationMetrics, EdgesOfBinsBelongBelow) {
  ClassificationMetrics metrics(3);
  metrics.add(std::vector<float>{0, 0, 0}, 0);      // 1/3 = 5/15
  metrics.add(std::vector<float>{1000, 0, 0}, 0);   // 1
  metrics.add(std::vector<float>{0, 0, -1000}, 0);  // 1/2
  EXPECT_EQ(metrics.reliability()[4].pictures, 1);
  EXPECT_EQ(metrics.reliability()[14].pictures, 1);
  EXPECT_EQ(metrics.reliability()[7].pictures, 1);
}

// Sixty pictures of seven classes, of which three never occur, against a few lines of NumPy:
//   p = softmax(logits); m = confusion matrix by np.add.at; recall = diag(m) / m.sum(1), precision = diag(m) /
//   m.sum(0); b = np.digitize(p.max(1), np.linspace(0, 1, 16), right=True); ece = sum over bins of |accuracy -
//   confidence| * share
// With 10 bins the calibration error would be 14.94, with 20 bins 18.30.
TEST(ClassificationMetrics, AgreesWithNumPy) {
  constexpr int kPictures = 60, kClasses = 7;
  ClassificationMetrics metrics(kClasses);
  for (int i = 0; i < kPictures; ++i) {
    const int target = (i * 5 + i / 4) % kClasses;
    std::vector<float> logits;
    for (int j = 0; j < kClasses; ++j) {
      logits.push_back(static_cast<float>((i * 37 + j * 101 + i * j * 13) % 97) / 16 - 3 + (j == target ? 2.0f : 0.0f));
    }
    metrics.add(logits, target);
  }
  const int expected[kClasses][kClasses] = {{7, 2, 1, 1, 2, 0, 2}, {2, 8, 1, 1, 2, 0, 1}, {0, 0, 0, 0, 0, 0, 0},
                                            {1, 2, 2, 7, 1, 2, 0}, {0, 0, 0, 0, 0, 0, 0}, {1, 3, 0, 1, 0, 8, 2},
                                            {0, 0, 0, 0, 0, 0, 0}};
  for (int target = 0; target < kClasses; ++target) {
    for (int predicted = 0; predicted < kClasses; ++predicted) {
      EXPECT_EQ(metrics.confusion(target, predicted), expected[target][predicted]) << target << ", " << predicted;
    }
  }
  EXPECT_NEAR(metrics.calibration_error(), 16.214135649964568, 1e-9);
  EXPECT_NEAR(metrics.loss(), 1.51496640968615, 1e-12);
  EXPECT_DOUBLE_EQ(metrics.top1(), 50.0);
  EXPECT_NEAR(metrics.top5(), 96.66666666666667, 1e-12);
  const int bins[] = {0, 0, 0, 0, 2, 8, 10, 13, 6, 7, 4, 4, 1, 5, 0};
  for (std::size_t i = 0; i < std::size(bins); ++i) EXPECT_EQ(metrics.reliability()[i].pictures, bins[i]) << i;
  EXPECT_NEAR(metrics.per_class()[0].precision(), 63.63636363636363, 1e-9);
  EXPECT_NEAR(metrics.per_class()[0].recall(), 46.666666666666664, 1e-9);
  EXPECT_NEAR(metrics.per_class()[0].f1(), 53.84615384615385, 1e-9);
  EXPECT_NEAR(metrics.per_class()[5].f1(), 64.0, 1e-9);
}

// A network whose weights are not finite is measured, not crashed on.
TEST(ClassificationMetrics, LogitsThatAreNoNumbersAreMistakes) {
  const float nan = std::nanf("");
  EXPECT_THAT(top_k(std::vector<float>{nan, 1.0f, nan, 2.0f}, 4), ElementsAre(3, 1, 0, 2));
  ClassificationMetrics metrics(4);
  metrics.add(std::vector<float>{nan, nan, nan, nan}, 3);
  EXPECT_EQ(metrics.pictures(), 1);
  EXPECT_EQ(metrics.top1(), 0.0);
  EXPECT_EQ(metrics.reliability()[0].pictures, 1);
  EXPECT_TRUE(std::isfinite(metrics.calibration_error()));
  EXPECT_TRUE(std::isnan(metrics.loss()));
}

}  // namespace
}  // namespace convnext
