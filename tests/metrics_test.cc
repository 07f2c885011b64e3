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
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(first.per_class()[i].pictures, whole.per_class()[i].pictures);
    EXPECT_EQ(first.per_class()[i].correct, whole.per_class()[i].correct);
  }
}

}  // namespace
}  // namespace convnext
