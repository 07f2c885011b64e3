#include "train/adamw.h"

#include <fmt/format.h>

#include "convnext/error.h"

namespace convnext {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options)
    : groups_(std::move(groups)), options_(options) {
  for (const ParameterGroup& group : groups_) {
    Moments& moments = moments_.emplace_back();
    for (const torch::Tensor& parameter : group.parameters) {
      moments.first.push_back(torch::zeros_like(parameter));
      moments.second.push_back(torch::zeros_like(parameter));
    }
  }
}

void AdamW::step(double lr) {
  torch::NoGradGuard no_grad;
  ++steps_;
  const torch::Tensor count = torch::scalar_tensor(static_cast<double>(steps_), torch::kFloat32);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const ParameterGroup& group = groups_[g];
    std::vector<torch::Tensor> gradients;
    gradients.reserve(group.parameters.size());
    for (const torch::Tensor& parameter : group.parameters) gradients.push_back(parameter.grad());
    const std::vector<torch::Tensor> counts(group.parameters.size(), count);
    at::_fused_adamw_(group.parameters, gradients, moments_[g].first, moments_[g].second, /*max_exp_avg_sqs=*/{},
                      counts, lr * group.lr_scale, options_.beta1, options_.beta2, group.weight_decay, options_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

void AdamW::zero_grad() {
  for (ParameterGroup& group : groups_) {
    for (torch::Tensor& parameter : group.parameters) parameter.mutable_grad() = torch::Tensor();
  }
}

std::map<std::string, torch::Tensor> AdamW::state() const {
  std::map<std::string, torch::Tensor> state;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::size_t i = 0; i < groups_[g].names.size(); ++i) {
      state["first." + groups_[g].names[i]] = moments_[g].first[i];
      state["second." + groups_[g].names[i]] = moments_[g].second[i];
    }
  }
  return state;
}

void AdamW::restore(const std::map<std::string, torch::Tensor>& saved, std::int64_t steps) {
  torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : state()) {
    const auto found = saved.find(name);
    if (found == saved.end()) throw Error(ErrorCode::kMismatch, fmt::format("the optimiser's state has no '{}'", name));
    if (found->second.sizes() != tensor.sizes()) {
      throw Error(ErrorCode::kMismatch, fmt::format("the optimiser's '{}' has another shape than its parameter", name));
    }
    torch::Tensor(tensor).copy_(found->second);
  }
  steps_ = steps;
}

}  // namespace convnext
