#include "metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace convnext {

std::vector<int> top_k(std::span<const float> values, int k) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [values](int a, int b) {
    const float x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  const auto end = order.begin() + std::clamp(k, 0, static_cast<int>(order.size()));
  std::partial_sort(order.begin(), end, order.end(), better);
  order.erase(end, order.end());
  return order;
}

std::vector<float> softmax(std::span<const float> logits) {
  std::vector<float> probabilities(logits.begin(), logits.end());
  if (logits.empty()) return probabilities;
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  for (float& value : probabilities) value = static_cast<float>(std::exp(value - largest) / sum);
  return probabilities;
}

double cross_entropy(std::span<const float> logits, int target) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return std::log(sum) + largest - logits[static_cast<std::size_t>(target)];
}

void ClassificationMetrics::add(std::span<const float> logits, int target) {
  const std::vector<int> best = top_k(logits, 5);
  const bool correct = best.front() == target;
  ClassCount& count = per_class_[static_cast<std::size_t>(target)];
  ++pictures_;
  ++count.pictures;
  correct_ += correct;
  count.correct += correct;
  in_top5_ += std::ranges::find(best, target) != best.end();
  loss_ += cross_entropy(logits, target);
}

void ClassificationMetrics::merge(const ClassificationMetrics& other) {
  for (std::size_t i = 0; i < per_class_.size(); ++i) {
    per_class_[i].pictures += other.per_class_[i].pictures;
    per_class_[i].correct += other.per_class_[i].correct;
  }
  pictures_ += other.pictures_;
  correct_ += other.correct_;
  in_top5_ += other.in_top5_;
  loss_ += other.loss_;
}

}  // namespace convnext
