#include "core/int8.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace convnext {

float quantize_weights(std::span<const float> weights, std::span<std::int8_t> values) {
  float largest = 0;
  bool finite = true;
  for (const float weight : weights) {
    largest = std::max(largest, std::fabs(weight));
    finite = finite && std::isfinite(weight);
  }
  // A scale that is no normal number would round the largest beyond 64.
  if (!finite || largest < 64 * std::numeric_limits<float>::min()) {
    std::ranges::fill(values, std::int8_t{0});
    return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const float scale = largest / 64.0f;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    values[i] = static_cast<std::int8_t>(std::nearbyint(weights[i] / scale));
  }
  return scale;
}

}  // namespace convnext
