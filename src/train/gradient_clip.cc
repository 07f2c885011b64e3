#include "train/gradient_clip.h"

#include <vector>

namespace convnext {

double clip_gradients(torch::nn::Module& network, double max_norm) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& parameter : network.parameters()) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return 0.0;
  const torch::Tensor norm = torch::stack(at::_foreach_norm(gradients, 2)).norm();
  if (max_norm > 0) at::_foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp_max(1.0));
  return norm.item<double>();
}

std::optional<std::string> find_gradient_that_is_not_finite(const torch::nn::Module& network) {
  for (const auto& parameter : network.named_parameters()) {
    const torch::Tensor& gradient = parameter.value().grad();
    if (gradient.defined() && !torch::isfinite(gradient).all().item<bool>()) return parameter.key();
  }
  return std::nullopt;
}

}  // namespace convnext
