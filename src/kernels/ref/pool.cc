#include "kernels/pool.h"

#include <vector>

namespace convnext::ref {

void average_pool(int channels, std::span<const float> in, std::span<float> out) {
  const auto count = static_cast<std::size_t>(channels);
  const std::size_t pixels = in.size() / count;
  std::vector<double> sums(count);
  for (std::size_t i = 0; i < in.size(); ++i) sums[i % count] += double{in[i]};
  for (std::size_t c = 0; c < count; ++c) out[c] = static_cast<float>(sums[c] / static_cast<double>(pixels));
}

}  // namespace convnext::ref
