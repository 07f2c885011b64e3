#include "model/detector_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "convnext/error.h"
#include "model/formula.h"

namespace convnext {
namespace {

constexpr std::string_view kBackbone = "backbone.";

Tensor fresh(const TensorSpec& spec, std::uint64_t seed) {
  const std::string_view name = spec.name;
  const auto has = [name](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (spec.role == TensorRole::kNormWeight || spec.role == TensorRole::kRunningVariance) {
    Tensor ones = Tensor::zeros(spec.shape);
    std::ranges::fill(ones.values<float>(), 1.0f);
    return ones;
  }
  if (spec.role != TensorRole::kWeight) return Tensor::zeros(spec.shape);
  if (name.starts_with("box_heads.") && has(".deltas.")) return normal_tensor(spec, seed, 0.001);
  if (name.starts_with("proposals.") || has(".scores.")) return normal_tensor(spec, seed, 0.01);
  if (name.starts_with("pyramid.") || has(".linears.")) {
    const auto fans = static_cast<double>(fan_in(spec.shape) + spec.fan_out);
    return uniform_tensor(spec, seed, static_cast<float>(std::sqrt(6.0 / fans)));
  }
  return normal_tensor(spec, seed, std::sqrt(2.0 / static_cast<double>(spec.fan_out)));
}

}  // namespace

WeightStore random_weights(const DetectorConfig& config, std::uint64_t seed, const WeightStore* backbone) {
  WeightStore random;
  if (!backbone) {
    random = random_weights(config.backbone, seed, {.layer_scale = 1.0f});
    backbone = &random;
  }
  WeightStore weights;
  for (const TensorSpec& spec : tensor_specs(config)) {
    if (!spec.name.starts_with(kBackbone)) {
      weights.add(spec.name, fresh(spec, seed));
      continue;
    }
    const std::string own = spec.name.substr(kBackbone.size());
    if (!backbone->contains(own) || backbone->at(own).shape != spec.shape) {
      throw Error(
          ErrorCode::kMismatch,
          fmt::format("the backbone needs '{}' with shape {}, and the weights have {}", own, to_string(spec.shape),
                      backbone->contains(own) ? to_string(backbone->at(own).shape) : std::string("none")));
    }
    weights.add(spec.name, converted(*backbone, own, DType::kF32));
  }
  return weights;
}

}  // namespace convnext
