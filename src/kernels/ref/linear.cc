#include "kernels/linear.h"

namespace convnext::ref {
namespace {

// Four sums side by side: one alone would wait for each addition to end before the next begins.
double dot(const float* a, const float* b, std::size_t count) {
  double sums[4] = {};
  std::size_t k = 0;
  for (; k + 4 <= count; k += 4) {
    for (std::size_t i = 0; i < 4; ++i) sums[i] += double{a[k + i]} * double{b[k + i]};
  }
  for (; k < count; ++k) sums[0] += double{a[k]} * double{b[k]};
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void linear(int inputs, int outputs, std::span<const float> in, std::span<const float> weight,
            std::span<const float> bias, std::span<float> out) {
  const auto depth = static_cast<std::size_t>(inputs);
  const auto columns = static_cast<std::size_t>(outputs);
  const std::size_t rows = out.size() / columns;
  for (std::size_t n = 0; n < columns; ++n) {
    for (std::size_t m = 0; m < rows; ++m) {
      out[m * columns + n] = static_cast<float>(dot(&in[m * depth], &weight[n * depth], depth) + double{bias[n]});
    }
  }
}

}  // namespace convnext::ref
