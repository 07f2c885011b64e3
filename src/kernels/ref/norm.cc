#include "kernels/norm.h"

#include <cmath>

namespace convnext::ref {

void norm(Norm kind, double eps, int channels, std::span<const float> in, std::span<const float> weight,
          std::span<const float> bias, std::span<float> out) {
  const auto count = static_cast<std::size_t>(channels);
  for (std::size_t row = 0; row < in.size(); row += count) {
    double mean = 0;
    if (kind != Norm::kRmsNorm) {
      for (std::size_t c = 0; c < count; ++c) mean += double{in[row + c]};
      mean /= channels;
    }
    double squares = 0;
    for (std::size_t c = 0; c < count; ++c) squares += (in[row + c] - mean) * (in[row + c] - mean);
    const double variance = squares / (kind == Norm::kSimpleNorm ? channels - 1 : channels);
    const double scale = 1 / std::sqrt(variance + eps);
    for (std::size_t c = 0; c < count; ++c) {
      const double centred = kind == Norm::kLayerNorm ? in[row + c] - mean : double{in[row + c]};
      const double shift = bias.empty() ? 0.0 : double{bias[c]};
      out[row + c] = static_cast<float>(centred * scale * weight[c] + shift);
    }
  }
}

}  // namespace convnext::ref
