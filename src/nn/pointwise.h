// 1x1 convolutions for training on a CPU.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace convnext {

// nn.functional.conv2d(x, weight, bias, stride): x (n, in, h, w), weight (out, in, 1, 1), bias (out,) or undefined. On
// a CPU it is the matrix product that it is: oneDNN's gradient of its weight (libtorch 2.15) writes beyond the end of
// its memory where channels do not fill its vectors, and 24 to 6 on a map of 16x16 breaks the heap.
torch::Tensor pointwise_convolution(torch::Tensor x, const torch::Tensor& weight, const torch::Tensor& bias,
                                    std::int64_t stride = 1);

}  // namespace convnext
