#include "apps/answer_comparison.h"

#include <cmath>

#include "metrics/classification.h"

namespace convnext::apps {
namespace {

double cosine_of(std::span<const float> a, std::span<const float> b) {
  double product = 0;
  double a_square = 0;
  double b_square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += double{a[i]} * double{b[i]};
    a_square += double{a[i]} * double{a[i]};
    b_square += double{b[i]} * double{b[i]};
  }
  if (a_square == 0 && b_square == 0) return 1.0;
  const double cosine = product / std::sqrt(a_square * b_square);
  return std::isfinite(cosine) ? cosine : 0.0;
}

}  // namespace

void AnswerComparison::add(std::span<const float> one, std::span<const float> other) {
  ++pictures_;
  cosines_ += cosine_of(one, other);
  if (top_k(one, 1) == top_k(other, 1)) ++same_class_;
}

}  // namespace convnext::apps
