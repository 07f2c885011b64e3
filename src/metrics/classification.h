// How good a classifier is: one implementation for the runtime and the trainer.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace convnext {

// Indices of the `k` largest values, largest first; of equal values the one that comes first. NaN is below every
// number.
std::vector<int> top_k(std::span<const float> values, int k);

// exp(x_i) / sum exp(x_j), computed from the largest value down so that nothing overflows.
std::vector<float> softmax(std::span<const float> logits);

// -log softmax(logits)[target], in float64.
double cross_entropy(std::span<const float> logits, int target);

// Sums over pictures as they come; memory grows with the number of classes and of different confusions, not of
// pictures. Shares are in percent, and 0 where there is nothing to take a share of.
class ClassificationMetrics {
 public:
  explicit ClassificationMetrics(int classes) : per_class_(static_cast<std::size_t>(classes)) {}

  // `target` is a class index in [0, classes).
  void add(std::span<const float> logits, int target);
  // Another part's sums, added to these.
  void merge(const ClassificationMetrics& other);

  std::int64_t pictures() const { return pictures_; }
  std::int64_t correct() const { return correct_; }
  double top1() const { return percent(correct_, pictures_); }
  double top5() const { return percent(in_top5_, pictures_); }  // of fewer than 6 classes, 100
  double loss() const { return pictures_ == 0 ? 0.0 : loss_ / static_cast<double>(pictures_); }

  struct ClassCount {
    std::int64_t pictures = 0;   // of this class
    std::int64_t predicted = 0;  // taken for this class, rightly or not
    std::int64_t correct = 0;

    double recall() const { return percent(correct, pictures); }  // the class's own top-1
    double precision() const { return percent(correct, predicted); }
    double f1() const { return percent(2 * correct, pictures + predicted); }  // harmonic mean of the two
  };
  const std::vector<ClassCount>& per_class() const { return per_class_; }

  // How often pictures of class `target` were taken for class `predicted`.
  std::int64_t confusion(int target, int predicted) const;
  struct Confusion {
    int target = 0;
    int predicted = 0;  // another class
    std::int64_t pictures = 0;
  };
  // The mistakes that happen most, at most `count`; of equal ones the class that comes first.
  std::vector<Confusion> most_confused(std::size_t count) const;

  // Pictures by the probability of the class they were taken for: bin i of 15 has those in (i / 15, (i + 1) / 15].
  struct ReliabilityBin {
    std::int64_t pictures = 0;
    std::int64_t correct = 0;
    double confidence_sum = 0.0;

    double accuracy() const { return percent(correct, pictures); }
    double confidence() const {  // the mean
      return pictures == 0 ? 0.0 : 100.0 * confidence_sum / static_cast<double>(pictures);
    }
  };
  static constexpr std::size_t kReliabilityBins = 15;
  const std::array<ReliabilityBin, kReliabilityBins>& reliability() const { return reliability_; }
  // Expected calibration error (Guo et al. 2017, equation 3): the distance of accuracy and confidence in a bin,
  // averaged over the pictures.
  double calibration_error() const;

 private:
  static double percent(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  }

  std::vector<ClassCount> per_class_;
  std::map<std::pair<int, int>, std::int64_t> mistakes_;  // by target and prediction
  std::array<ReliabilityBin, kReliabilityBins> reliability_;
  std::int64_t pictures_ = 0;
  std::int64_t correct_ = 0;
  std::int64_t in_top5_ = 0;
  double loss_ = 0.0;
};

}  // namespace convnext
