#include "kernels/activation.h"

#include <cmath>
#include <numbers>

namespace convnext::ref {
namespace {

double gelu(double x) { return 0.5 * x * std::erfc(-x * std::numbers::sqrt2 / 2); }

double gelu_tanh(double x) {
  const double scale = std::sqrt(2 * std::numbers::inv_pi);
  return 0.5 * x * (1 + std::tanh(scale * (x + 0.044715 * x * x * x)));
}

double silu(double x) { return x / (1 + std::exp(-x)); }

}  // namespace

void activation(Activation kind, std::span<float> values) {
  switch (kind) {
    case Activation::kGelu:
      for (float& x : values) x = static_cast<float>(gelu(x));
      break;
    case Activation::kGeluTanh:
      for (float& x : values) x = static_cast<float>(gelu_tanh(x));
      break;
    case Activation::kSilu:
      for (float& x : values) x = static_cast<float>(silu(x));
      break;
  }
}

}  // namespace convnext::ref
