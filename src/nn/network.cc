#include "nn/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "convnext/error.h"
#include "core/hash.h"
#include "model/registry.h"

namespace convnext {
namespace {

Shape shape_of(const torch::Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

// What a file holds of a network: its parameters, and the buffers that are floats. The others, which count batches or
// follow from the shape, are not stored.
std::vector<std::pair<std::string, torch::Tensor>> stored_tensors(const torch::nn::Module& network) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  for (const auto& parameter : network.named_parameters()) tensors.emplace_back(parameter.key(), parameter.value());
  for (const auto& buffer : network.named_buffers()) {
    if (buffer.value().is_floating_point()) tensors.emplace_back(buffer.key(), buffer.value());
  }
  return tensors;
}

// What multiplies a value that is dropped with that rate: 0, or what makes up for those that are.
float kept(std::uint64_t hash, double rate) {
  return unit_float(hash) >= rate ? static_cast<float>(1.0 / (1.0 - rate)) : 0.0f;
}

}  // namespace

std::shared_ptr<Network> make_network(const NetworkConfig& config, DropRates rates) {
  return std::visit([rates](const auto& network) { return make_network(network, rates); }, config);
}

std::shared_ptr<Network> make_backbone(const NetworkConfig& config, double drop_path_rate) {
  if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) return make_backbone(*convnext, drop_path_rate);
  if (const auto* resnet = std::get_if<ResNetConfig>(&config)) return make_backbone(*resnet, drop_path_rate);
  if (const auto* swin = std::get_if<SwinConfig>(&config)) return make_backbone(*swin, drop_path_rate);
  throw Error(ErrorCode::kUnsupported,
              fmt::format("a {} is no backbone here: ConvNeXt, ResNet and Swin are", name_of(family_of(config))));
}

double drop_path_rate_of_block(double rate, int block, int blocks) {
  return blocks > 1 ? rate * block / (blocks - 1) : 0.0;
}

torch::Tensor drop_path_mask(std::uint64_t key, int block, double rate, std::int64_t n,
                             const torch::TensorOptions& options) {
  torch::Tensor mask = torch::empty({n, 1, 1, 1}, torch::kFloat32);
  const std::uint64_t block_key = mix(key + static_cast<std::uint64_t>(block));
  for (std::int64_t b = 0; b < n; ++b) {
    mask.data_ptr<float>()[b] = kept(mix(block_key + static_cast<std::uint64_t>(b)), rate);
  }
  return mask.to(options);
}

torch::Tensor keyed_dropout(const torch::Tensor& features, double rate, std::optional<std::uint64_t> key) {
  if (!key || rate <= 0) return features;
  constexpr std::uint64_t kDropout = hash_name("dropout");
  const std::int64_t n = features.size(0), values = features.numel() / n;
  torch::Tensor mask = torch::empty(features.sizes(), torch::kFloat32);
  float* factor = mask.data_ptr<float>();
  for (std::int64_t b = 0; b < n; ++b) {
    const std::uint64_t picture_key = mix(mix(*key ^ kDropout) + static_cast<std::uint64_t>(b));
    for (std::int64_t i = 0; i < values; ++i) {
      *factor++ = kept(mix(picture_key + static_cast<std::uint64_t>(i)), rate);
    }
  }
  return features * mask.to(features.options());
}

void load_weights(torch::nn::Module& network, const WeightStore& weights) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : stored_tensors(network)) {
    const Shape shape = shape_of(tensor);
    if (!weights.contains(name)) {
      throw Error(ErrorCode::kMismatch, fmt::format("there are no weights for '{}' {}", name, to_string(shape)));
    }
    if (weights.at(name).shape != shape) {
      throw Error(ErrorCode::kMismatch, fmt::format("the weights for '{}' are {}, expected {}", name,
                                                    to_string(weights.at(name).shape), to_string(shape)));
    }
    std::vector<float> values = weights.floats(name);
    tensor.copy_(torch::from_blob(values.data(), tensor.sizes(), torch::kFloat32));
  }
}

WeightStore copy_weights(const torch::nn::Module& network) {
  torch::NoGradGuard no_grad;
  WeightStore weights;
  for (const auto& [name, tensor] : stored_tensors(network)) {
    const torch::Tensor values = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    Tensor copy = Tensor::zeros(shape_of(values));
    std::memcpy(copy.bytes().data(), values.const_data_ptr<float>(), copy.bytes().size());
    weights.add(name, std::move(copy));
  }
  return weights;
}

}  // namespace convnext
