#include "train/sgd.h"

namespace convnext {

Sgd::Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options)
    : Optimizer(std::move(groups),
                options.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
      options_(options) {}

void Sgd::apply(const Update& update) {
  const std::vector<torch::Tensor> velocities = update.kept.empty() ? std::vector<torch::Tensor>{} : update.kept[0];
  at::_fused_sgd_(update.parameters, update.gradients, velocities, update.weight_decay, options_.momentum, update.lr,
                  /*dampening=*/0.0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false);
}

}  // namespace convnext
