#include "kernels/grn.h"

#include <cmath>
#include <vector>

namespace convnext::ref {

void grn(int channels, std::span<const float> weight, std::span<const float> bias, std::span<float> map) {
  const auto count = static_cast<std::size_t>(channels);
  std::vector<double> response(count);
  for (std::size_t i = 0; i < map.size(); ++i) response[i % count] += double{map[i]} * double{map[i]};
  double mean = 0;
  for (double& g : response) {
    g = std::sqrt(g);
    mean += g / channels;
  }
  for (std::size_t i = 0; i < map.size(); ++i) {
    const std::size_t c = i % count;
    const double x = map[i];
    map[i] = static_cast<float>(weight[c] * (x * response[c] / (mean + kGrnEps)) + bias[c] + x);
  }
}

}  // namespace convnext::ref
