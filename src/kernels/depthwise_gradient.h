// The gradient of a depthwise convolution (kernels/depthwise.h) by its weight, for training.
//
//   gradient(c, i, j) = sum over pictures, y, x of out_gradient(y, x, c) * in(y + i - k/2, x + j - k/2, c)
//
// Layout NHWC without gaps, which is PyTorch's channels_last. Cost k*k multiply-adds an input, as the convolution
// itself. PyTorch's own goes through one matrix product a channel without AVX-512, and is two fifths of a training step
// of the CIFAR-10 network (docs/performance.md). The gradient by the input needs no kernel of its own: it is the
// convolution of `out_gradient` with the turned kernel.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/isa.h"

namespace convnext {

struct DepthwiseGradientShape {
  int kernel = 0;  // odd
  std::int64_t pictures = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  int channels = 0;
};

namespace ref {

// in, out_gradient (pictures, height, width, channels); gradient (channels, 1, kernel, kernel). Float64 sums.
void depthwise_weight_gradient(const DepthwiseGradientShape& shape, std::span<const float> in,
                               std::span<const float> out_gradient, std::span<float> gradient);

}  // namespace ref

namespace cpu {

// The same for channels [first, last) only, which is how threads share the work: no value depends on the cut. The sums
// are float32, a picture at a time.
using DepthwiseWeightGradientFunction = void (*)(const DepthwiseGradientShape& shape, const float* in,
                                                 const float* out_gradient, int first, int last, float* gradient);
DepthwiseWeightGradientFunction depthwise_weight_gradient_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
