#include "kernels/convolution.h"

namespace convnext::ref {

void convolution(const ConvolutionShape& shape, std::int64_t height, std::int64_t width, std::span<const float> in,
                 std::span<const float> weight, std::span<const float> bias, std::span<float> out) {
  const std::int64_t kernel = shape.kernel;
  const std::int64_t in_channels = shape.in_channels;
  const std::int64_t out_height = shape.out_side(height);
  const std::int64_t out_width = shape.out_side(width);
  for (std::int64_t y = 0; y < out_height; ++y) {
    for (std::int64_t x = 0; x < out_width; ++x) {
      for (std::int64_t o = 0; o < shape.out_channels; ++o) {
        double sum = bias[static_cast<std::size_t>(o)];
        for (std::int64_t ky = 0; ky < kernel; ++ky) {
          const std::int64_t in_y = y * shape.stride + ky - shape.padding;
          if (in_y < 0 || in_y >= height) continue;
          for (std::int64_t kx = 0; kx < kernel; ++kx) {
            const std::int64_t in_x = x * shape.stride + kx - shape.padding;
            if (in_x < 0 || in_x >= width) continue;
            const float* pixel = &in[static_cast<std::size_t>((in_y * width + in_x) * in_channels)];
            const float* tap = &weight[static_cast<std::size_t>(((o * in_channels) * kernel + ky) * kernel + kx)];
            for (std::int64_t i = 0; i < in_channels; ++i) sum += double{pixel[i]} * double{tap[i * kernel * kernel]};
          }
        }
        out[static_cast<std::size_t>((y * out_width + x) * shape.out_channels + o)] = static_cast<float>(sum);
      }
    }
  }
}

}  // namespace convnext::ref
