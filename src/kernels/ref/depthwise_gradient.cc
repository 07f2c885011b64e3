#include "kernels/depthwise_gradient.h"

namespace convnext::ref {

void depthwise_weight_gradient(const DepthwiseGradientShape& shape, std::span<const float> in,
                               std::span<const float> out_gradient, std::span<float> gradient) {
  const int half = shape.kernel / 2;
  const auto at = [&shape](std::int64_t picture, std::int64_t y, std::int64_t x, int c) {
    return static_cast<std::size_t>(((picture * shape.height + y) * shape.width + x) * shape.channels + c);
  };
  std::size_t index = 0;
  for (int c = 0; c < shape.channels; ++c) {
    for (int i = 0; i < shape.kernel; ++i) {
      for (int j = 0; j < shape.kernel; ++j) {
        double sum = 0;
        for (std::int64_t picture = 0; picture < shape.pictures; ++picture) {
          for (std::int64_t y = 0; y < shape.height; ++y) {
            const std::int64_t in_y = y + i - half;
            if (in_y < 0 || in_y >= shape.height) continue;
            for (std::int64_t x = 0; x < shape.width; ++x) {
              const std::int64_t in_x = x + j - half;
              if (in_x < 0 || in_x >= shape.width) continue;
              sum += double{out_gradient[at(picture, y, x, c)]} * double{in[at(picture, in_y, in_x, c)]};
            }
          }
        }
        gradient[index++] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace convnext::ref
