#include "kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace convnext::ref {

void quantize(int inputs, std::span<const float> in, std::span<std::uint8_t> values, std::span<QuantizedRun> runs) {
  const auto columns = static_cast<std::size_t>(inputs);
  const auto row_runs = static_cast<std::size_t>(quantized_runs(inputs));
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::size_t first = run / row_runs * columns + run % row_runs * kQuantizedInputs;
    const std::size_t count = std::min<std::size_t>(kQuantizedInputs, columns - run % row_runs * kQuantizedInputs);
    const std::span<const float> x = in.subspan(first, count);
    const bool finite = std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); });
    const float low = finite ? std::min(0.0f, *std::min_element(x.begin(), x.end())) : 0.0f;
    const float high = finite ? std::max(0.0f, *std::max_element(x.begin(), x.end())) : 0.0f;
    const float range = high - low;
    if (!finite || !std::isfinite(range) || range < kLeastRange) {
      runs[run] = {finite && std::isfinite(range) ? 0.0f : std::numeric_limits<float>::quiet_NaN(), 0};
      std::fill_n(&values[first], count, std::uint8_t{0});
      continue;
    }
    const float steps = 255.0f / range;
    const float zero = std::nearbyint(-low * steps);
    runs[run] = {range / 255.0f, static_cast<std::int32_t>(zero)};
    for (std::size_t i = 0; i < count; ++i) {
      const double exact = double{x[i] * steps} + double{zero};
      values[first + i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(exact), 0.0, 255.0));
    }
  }
}

}  // namespace convnext::ref
