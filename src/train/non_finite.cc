#include "train/non_finite.h"

#include <fmt/format.h>

namespace convnext {
namespace {

bool is_finite(const torch::Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

}  // namespace

std::string where_not_finite(Network& network, const torch::Tensor& pictures, std::span<const std::size_t> samples,
                             const PictureSource& source) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (is_finite(pictures[static_cast<std::int64_t>(i)])) continue;
    return fmt::format("the picture '{}' is not finite after augmentation",
                       source.samples()[samples[i]].picture.name());
  }
  for (const auto& parameter : network.named_parameters()) {
    if (is_finite(parameter.value())) continue;
    return fmt::format("'{}' was not finite before this step: an earlier one went too far", parameter.key());
  }
  const NetworkOutputs outputs = network.forward(pictures);
  for (std::size_t stage = 0; stage < outputs.stages.size(); ++stage) {
    if (is_finite(outputs.stages[stage])) continue;
    return fmt::format("the weights are finite, and the maps overflow in stage {}", stage);
  }
  if (!is_finite(outputs.pooled)) return "the maps are finite, and the pooled features are not";
  if (!is_finite(outputs.logits)) return "the features are finite, and the classifier's logits are not";
  return "the network's logits are finite without dropped branches: the loss overflowed by the branches kept";
}

}  // namespace convnext
