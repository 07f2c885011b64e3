#include "train/optimizer.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "train/adamw.h"
#include "train/sgd.h"

namespace convnext {

Optimizer::Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> kinds)
    : groups_(std::move(groups)), kinds_(std::move(kinds)) {
  for (const ParameterGroup& group : groups_) {
    auto& kept = kept_.emplace_back(kinds_.size());
    for (std::vector<torch::Tensor>& tensors : kept) {
      for (const torch::Tensor& parameter : group.parameters) tensors.push_back(torch::zeros_like(parameter.detach()));
    }
  }
}

void Optimizer::step(double lr, std::optional<double> weight_decay) {
  torch::NoGradGuard no_grad;
  ++steps_;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const ParameterGroup& group = groups_[g];
    Update update;
    update.kept.resize(kinds_.size());
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      const torch::Tensor& gradient = group.parameters[i].grad();
      if (!gradient.defined()) continue;
      update.parameters.push_back(group.parameters[i]);
      update.gradients.push_back(gradient);
      for (std::size_t k = 0; k < kinds_.size(); ++k) update.kept[k].push_back(kept_[g][k][i]);
    }
    if (update.parameters.empty()) continue;
    update.lr = lr * group.lr_scale;
    update.weight_decay = group.weight_decay > 0 ? weight_decay.value_or(group.weight_decay) : 0.0;
    apply(update);
  }
}

void Optimizer::zero_grad() {
  for (ParameterGroup& group : groups_) {
    for (torch::Tensor& parameter : group.parameters) parameter.mutable_grad() = torch::Tensor();
  }
}

std::map<std::string, torch::Tensor> Optimizer::state() const {
  std::map<std::string, torch::Tensor> state;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::size_t k = 0; k < kinds_.size(); ++k) {
      for (std::size_t i = 0; i < groups_[g].names.size(); ++i) {
        state[kinds_[k] + "." + groups_[g].names[i]] = kept_[g][k][i];
      }
    }
  }
  return state;
}

std::unique_ptr<Optimizer> make_optimizer(const RunSettings& s, std::vector<ParameterGroup> groups) {
  if (s.optimizer == OptimizerKind::kSgd) return std::make_unique<Sgd>(std::move(groups), SgdOptions{s.momentum});
  return std::make_unique<AdamW>(std::move(groups),
                                 AdamWOptions{.beta1 = s.beta1, .beta2 = s.beta2, .epsilon = s.epsilon});
}

}  // namespace convnext
