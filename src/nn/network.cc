#include "nn/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "convnext/error.h"
#include "core/hash.h"
#include "nn/convnext.h"

namespace convnext {
namespace {

Shape shape_of(const torch::Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

}  // namespace

std::shared_ptr<Network> make_network(const NetworkConfig& config, double drop_path_rate) {
  return std::visit(
      [drop_path_rate](const ConvNextConfig& convnext) -> std::shared_ptr<Network> {
        return std::make_shared<ConvNextNetwork>(convnext, drop_path_rate);
      },
      config);
}

double drop_path_rate_of_block(double rate, int block, int blocks) {
  return blocks > 1 ? rate * block / (blocks - 1) : 0.0;
}

torch::Tensor drop_path_mask(std::uint64_t key, int block, double rate, std::int64_t n,
                             const torch::TensorOptions& options) {
  torch::Tensor mask = torch::empty({n, 1, 1, 1}, torch::kFloat32);
  const std::uint64_t block_key = mix(key + static_cast<std::uint64_t>(block));
  for (std::int64_t b = 0; b < n; ++b) {
    const bool keep = unit_float(mix(block_key + static_cast<std::uint64_t>(b))) >= rate;
    mask.data_ptr<float>()[b] = keep ? static_cast<float>(1.0 / (1.0 - rate)) : 0.0f;
  }
  return mask.to(options);
}

void load_weights(Network& network, const WeightStore& weights) {
  torch::NoGradGuard no_grad;
  for (auto& parameter : network.named_parameters()) {
    const std::string& name = parameter.key();
    const Shape shape = shape_of(parameter.value());
    if (!weights.contains(name)) {
      throw Error(ErrorCode::kMismatch, fmt::format("there are no weights for '{}' {}", name, to_string(shape)));
    }
    if (weights.at(name).shape != shape) {
      throw Error(ErrorCode::kMismatch, fmt::format("the weights for '{}' are {}, expected {}", name,
                                                    to_string(weights.at(name).shape), to_string(shape)));
    }
    std::vector<float> values = weights.floats(name);
    parameter.value().copy_(torch::from_blob(values.data(), parameter.value().sizes(), torch::kFloat32));
  }
}

WeightStore copy_weights(const Network& network) {
  torch::NoGradGuard no_grad;
  WeightStore weights;
  for (const auto& parameter : network.named_parameters()) {
    const torch::Tensor values = parameter.value().detach().to(torch::kCPU, torch::kFloat32).contiguous();
    Tensor copy = Tensor::zeros(shape_of(values));
    std::memcpy(copy.bytes().data(), values.const_data_ptr<float>(), copy.bytes().size());
    weights.add(parameter.key(), std::move(copy));
  }
  return weights;
}

}  // namespace convnext
