#include "kernels/depthwise.h"

namespace convnext::ref {

void depthwise(int kernel, std::int64_t height, std::int64_t width, int channels, std::span<const float> in,
               std::span<const float> weight, std::span<const float> bias, std::span<float> out) {
  const std::int64_t half = kernel / 2;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < channels; ++c) {
        double sum = bias[static_cast<std::size_t>(c)];
        for (std::int64_t i = 0; i < kernel; ++i) {
          const std::int64_t in_y = y + i - half;
          if (in_y < 0 || in_y >= height) continue;
          for (std::int64_t j = 0; j < kernel; ++j) {
            const std::int64_t in_x = x + j - half;
            if (in_x < 0 || in_x >= width) continue;
            sum += double{in[static_cast<std::size_t>((in_y * width + in_x) * channels + c)]} *
                   double{weight[static_cast<std::size_t>((c * kernel + i) * kernel + j)]};
          }
        }
        out[static_cast<std::size_t>((y * width + x) * channels + c)] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace convnext::ref
