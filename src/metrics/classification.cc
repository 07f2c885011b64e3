#include "metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace convnext {
namespace {

// The softmax of value x is exp(x - largest) / sum.
struct Normalizer {
  double largest = 0.0;
  double sum = 0.0;

  double cross_entropy(double logit) const { return std::log(sum) + largest - logit; }
};

Normalizer normalizer_of(std::span<const float> logits) {
  Normalizer normalizer = {.largest = *std::ranges::max_element(logits), .sum = 0.0};
  for (const float logit : logits) normalizer.sum += std::exp(logit - normalizer.largest);
  return normalizer;
}

}  // namespace

std::vector<int> top_k(std::span<const float> values, int k) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [values](int a, int b) {
    const float x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
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
  const Normalizer normalizer = normalizer_of(logits);
  for (float& value : probabilities) {
    value = static_cast<float>(std::exp(value - normalizer.largest) / normalizer.sum);
  }
  return probabilities;
}

double cross_entropy(std::span<const float> logits, int target) {
  return normalizer_of(logits).cross_entropy(logits[static_cast<std::size_t>(target)]);
}

void ClassificationMetrics::add(std::span<const float> logits, int target) {
  const std::vector<int> best = top_k(logits, 5);
  const int predicted = best.front();
  const bool correct = predicted == target;
  ++pictures_;
  correct_ += correct;
  in_top5_ += std::ranges::find(best, target) != best.end();

  ClassCount& count = per_class_[static_cast<std::size_t>(target)];
  ++count.pictures;
  count.correct += correct;
  ++per_class_[static_cast<std::size_t>(predicted)].predicted;
  if (!correct) ++mistakes_[{target, predicted}];

  const Normalizer normalizer = normalizer_of(logits);
  loss_ += normalizer.cross_entropy(logits[static_cast<std::size_t>(target)]);
  const double confidence = 1.0 / normalizer.sum;
  // Logits that are no numbers give no confidence.
  const double known = std::isfinite(confidence) ? confidence : 0.0;
  const double upper = std::ceil(known * kReliabilityBins);
  ReliabilityBin& bin = reliability_[static_cast<std::size_t>(std::clamp(upper, 1.0, 1.0 * kReliabilityBins)) - 1];
  ++bin.pictures;
  bin.correct += correct;
  bin.confidence_sum += known;
}

void ClassificationMetrics::merge(const ClassificationMetrics& other) {
  for (std::size_t i = 0; i < per_class_.size(); ++i) {
    per_class_[i].pictures += other.per_class_[i].pictures;
    per_class_[i].predicted += other.per_class_[i].predicted;
    per_class_[i].correct += other.per_class_[i].correct;
  }
  for (const auto& [classes, count] : other.mistakes_) mistakes_[classes] += count;
  for (std::size_t i = 0; i < kReliabilityBins; ++i) {
    reliability_[i].pictures += other.reliability_[i].pictures;
    reliability_[i].correct += other.reliability_[i].correct;
    reliability_[i].confidence_sum += other.reliability_[i].confidence_sum;
  }
  pictures_ += other.pictures_;
  correct_ += other.correct_;
  in_top5_ += other.in_top5_;
  loss_ += other.loss_;
}

std::int64_t ClassificationMetrics::confusion(int target, int predicted) const {
  if (target == predicted) return per_class_[static_cast<std::size_t>(target)].correct;
  const auto found = mistakes_.find({target, predicted});
  return found == mistakes_.end() ? 0 : found->second;
}

std::vector<ClassificationMetrics::Confusion> ClassificationMetrics::most_confused(std::size_t count) const {
  std::vector<Confusion> confusions;
  for (const auto& [classes, pictures] : mistakes_) confusions.push_back({classes.first, classes.second, pictures});
  std::ranges::stable_sort(confusions, std::greater<>(), &Confusion::pictures);
  if (confusions.size() > count) confusions.resize(count);
  return confusions;
}

double ClassificationMetrics::calibration_error() const {
  double sum = 0.0;
  for (const ReliabilityBin& bin : reliability_) {
    sum += std::abs(static_cast<double>(bin.correct) - bin.confidence_sum);
  }
  return pictures_ == 0 ? 0.0 : 100.0 * sum / static_cast<double>(pictures_);
}

}  // namespace convnext
