#include "train/adamw.h"

namespace convnext {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options)
    : Optimizer(std::move(groups), {"first", "second"}), options_(options) {}

void AdamW::apply(const Update& update) {
  // The kernel reads the count where the parameters are.
  const torch::Tensor count = torch::full({}, static_cast<double>(steps()),
                                          torch::dtype(torch::kFloat32).device(update.parameters.front().device()));
  const std::vector<torch::Tensor> counts(update.parameters.size(), count);
  at::_fused_adamw_(update.parameters, update.gradients, update.kept[0], update.kept[1], /*max_exp_avg_sqs=*/{}, counts,
                    update.lr, options_.beta1, options_.beta2, update.weight_decay, options_.epsilon,
                    /*amsgrad=*/false, /*maximize=*/false);
}

}  // namespace convnext
