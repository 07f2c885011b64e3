// Depthwise convolution for training on a CPU: libtorch's forward, and our own kernel where its backward is slow.
#pragma once

#include <torch/torch.h>

namespace convnext {

// nn.functional.conv2d(x, weight, bias, padding=k/2, groups=channels), stride 1, k odd: x (n, channels, h, w), weight
// (channels, 1, k, k), bias (channels,) or undefined. The gradient is the same function's; in float32 on the CPU it
// comes from kernels/depthwise_gradient.h, which says why.
torch::Tensor depthwise_convolution(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

}  // namespace convnext
