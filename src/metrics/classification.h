// How good a classifier is: one implementation for the runtime and the trainer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace convnext {

// Indices of the `k` largest values, largest first; of equal values the one that comes first.
std::vector<int> top_k(std::span<const float> values, int k);

// exp(x_i) / sum exp(x_j), computed from the largest value down so that nothing overflows.
std::vector<float> softmax(std::span<const float> logits);

// -log softmax(logits)[target], in float64.
double cross_entropy(std::span<const float> logits, int target);

// Sums over pictures as they come; memory does not grow with their number.
class ClassificationMetrics {
 public:
  explicit ClassificationMetrics(int classes) : per_class_(static_cast<std::size_t>(classes)) {}

  // `target` is a class index in [0, classes).
  void add(std::span<const float> logits, int target);
  // Another part's sums, added to these.
  void merge(const ClassificationMetrics& other);

  struct ClassCount {
    std::int64_t pictures = 0;
    std::int64_t correct = 0;
  };
  std::int64_t pictures() const { return pictures_; }
  double top1() const { return percent(correct_); }
  double top5() const { return percent(in_top5_); }  // of fewer than 6 classes, 100
  double loss() const { return pictures_ == 0 ? 0.0 : loss_ / static_cast<double>(pictures_); }
  std::int64_t correct() const { return correct_; }
  const std::vector<ClassCount>& per_class() const { return per_class_; }

 private:
  double percent(std::int64_t count) const {
    return pictures_ == 0 ? 0.0 : 100.0 * static_cast<double>(count) / static_cast<double>(pictures_);
  }

  std::vector<ClassCount> per_class_;
  std::int64_t pictures_ = 0;
  std::int64_t correct_ = 0;
  std::int64_t in_top5_ = 0;
  double loss_ = 0.0;
};

}  // namespace convnext
