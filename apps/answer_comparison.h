// How near the answers of two models to the same pictures are: one network in two precisions.
#pragma once

#include <cstdint>
#include <span>

namespace convnext::apps {

class AnswerComparison {
 public:
  // The two answers to a picture: logits, or features of a model without a classifier, whose agreement means nothing.
  void add(std::span<const float> one, std::span<const float> other);

  std::int64_t pictures() const { return pictures_; }
  // Percent of pictures whose largest value stands in the same place.
  double agreement() const { return 100.0 * static_cast<double>(same_class_) / static_cast<double>(pictures_); }
  // The mean over the pictures; 0 for one of them where it is not finite.
  double cosine() const { return cosines_ / static_cast<double>(pictures_); }

 private:
  std::int64_t pictures_ = 0;
  std::int64_t same_class_ = 0;
  double cosines_ = 0.0;
};

}  // namespace convnext::apps
