// The resize of floats. Two passes, columns first. Weights are made in float32 with steps in double where a constant of
// C++ is one, and the order of a sum is that of the compiled loop: the bits depend on both.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "image/resample.h"
#include "image/resize.h"

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

// One axis of a resize: windows of the outputs [begin, begin + outputs).
struct FloatAxis {
  std::vector<Window> windows;
  std::vector<float> weights;

  std::size_t first_input() const { return windows.front().first; }
  std::size_t end_input() const { return windows.back().first + windows.back().count; }
};

float bilinear(float x) {
  x = std::fabs(x);
  return x < 1.0f ? 1.0f - x : 0.0f;
}

FloatAxis make_axis(int input, std::int64_t output, std::int64_t begin, int outputs) {
  const float scale = static_cast<float>(input) / static_cast<float>(output);
  const float support = std::max(scale, 1.0f);  // reduction widens the filter: antialiasing
  const float inverse = scale >= 1.0f ? static_cast<float>(1.0 / scale) : 1.0f;
  check_weights(2.0 * support + 1, input, output, outputs);
  FloatAxis axis;
  axis.windows.reserve(static_cast<std::size_t>(outputs));
  for (std::int64_t i = begin; i < begin + outputs; ++i) {
    const auto center = static_cast<float>(scale * (static_cast<double>(i) + 0.5));
    // Cut towards zero, here and at the end, as torch does: no rounding is meant.
    // NOLINTBEGIN(bugprone-incorrect-roundings)
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
    const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(center + support + 0.5), input);
    // NOLINTEND(bugprone-incorrect-roundings)
    const std::size_t weights = axis.weights.size();
    float sum = 0.0f;
    for (std::int64_t x = first; x < end; ++x) {
      const float from_center = static_cast<float>(x) - center;
      axis.weights.push_back(bilinear(static_cast<float>((from_center + 0.5) * inverse)));
      sum += axis.weights.back();
    }
    for (std::size_t k = weights; k < axis.weights.size(); ++k) {
      if (sum != 0.0f) axis.weights[k] /= sum;
    }
    axis.windows.push_back({static_cast<std::size_t>(first), axis.weights.size() - weights, weights});
  }
  return axis;
}

// How torch's loop adds: the first product, by fours rounded products, and what is left of them fused.
constexpr std::size_t kTogether = 4;
constexpr std::size_t first_fused(std::size_t count) { return 1 + (count - 1) / kTogether * kTogether; }

// Rows [first_row, first_row + rows) of the picture, as wide as the axis has windows: (rows, windows, 3).
std::vector<float> resize_columns(const Image& image, const FloatAxis& axis, std::size_t first_row, std::size_t rows) {
  std::array<float, 256> scaled;
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] = static_cast<float>(i) * static_cast<float>(1.0 / 255.0);
  const std::size_t stride = static_cast<std::size_t>(image.width) * kChannels;
  std::vector<float> row(stride), out;
  out.reserve(rows * axis.windows.size() * kChannels);
  for (std::size_t y = first_row; y < first_row + rows; ++y) {
    const std::uint8_t* const pixels = image.pixels.data() + y * stride;
    for (std::size_t i = axis.first_input() * kChannels; i < axis.end_input() * kChannels; ++i) {
      row[i] = scaled[pixels[i]];
    }
    for (const Window& window : axis.windows) {
      const float* const weights = axis.weights.data() + window.weights;
      for (std::size_t c = 0; c < kChannels; ++c) {
        const float* const in = row.data() + window.first * kChannels + c;
        float sum = in[0] * weights[0];
        std::size_t k = 1;
        for (; k < first_fused(window.count); ++k) sum += in[k * kChannels] * weights[k];
        for (; k < window.count; ++k) sum = std::fma(in[k * kChannels], weights[k], sum);
        out.push_back(sum);
      }
    }
  }
  return out;
}

// One row of the result, of rows of `values` values.
void resize_rows(const float* in, std::size_t values, const float* weights, std::size_t count,
                 std::vector<float>& out) {
  for (std::size_t i = 0; i < values; ++i) out[i] = in[i] * weights[0];
  std::size_t k = 1;
  for (; k < first_fused(count); ++k) {
    for (std::size_t i = 0; i < values; ++i) out[i] += in[k * values + i] * weights[k];
  }
  for (; k < count; ++k) {
    for (std::size_t i = 0; i < values; ++i) out[i] = std::fma(in[k * values + i], weights[k], out[i]);
  }
}

}  // namespace

void resize_region_of_floats(const Image& image, std::int64_t width, std::int64_t height, const Region& region,
                             std::span<float> out) {
  check_resize(image, width, height, region);
  const FloatAxis across = make_axis(image.width, width, region.left, region.width);
  const FloatAxis down = make_axis(image.height, height, region.top, region.height);
  const std::size_t first_row = down.first_input();
  const std::vector<float> narrowed = resize_columns(image, across, first_row, down.end_input() - first_row);
  const auto columns = static_cast<std::size_t>(region.width);
  const std::size_t plane = columns * static_cast<std::size_t>(region.height);
  std::vector<float> row(columns * kChannels);
  for (std::size_t y = 0; y < down.windows.size(); ++y) {
    const Window& window = down.windows[y];
    resize_rows(narrowed.data() + (window.first - first_row) * row.size(), row.size(),
                down.weights.data() + window.weights, window.count, row);
    for (std::size_t x = 0; x < columns; ++x) {
      for (std::size_t c = 0; c < kChannels; ++c) out[c * plane + y * columns + x] = row[x * kChannels + c];
    }
  }
}

}  // namespace convnext
