#include "nn/pointwise.h"

namespace convnext {

torch::Tensor pointwise_convolution(torch::Tensor x, const torch::Tensor& weight, const torch::Tensor& bias,
                                    std::int64_t stride) {
  if (!x.device().is_cpu()) return at::conv2d(x, weight, bias, stride);
  if (stride > 1) x = x.slice(2, 0, x.size(2), stride).slice(3, 0, x.size(3), stride);
  return torch::linear(x.permute({0, 2, 3, 1}), weight.flatten(1), bias).permute({0, 3, 1, 2});
}

}  // namespace convnext
