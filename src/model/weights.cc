#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "convnext/error.h"
#include "core/float16.h"
#include "io/file.h"
#include "model/tensors.h"

namespace convnext {
namespace {

// Reads elements of type T, which may lie unaligned in a mapped file.
template <typename T, typename Convert>
void convert_all(const std::byte* data, std::span<float> out, const Convert& convert) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T element;
    std::memcpy(&element, data + i * sizeof(T), sizeof(T));
    out[i] = convert(element);
  }
}

void to_float32(const WeightStore& weights, std::string_view name, std::span<float> out) {
  const ConstTensorView* scales = weights.scales(name);
  if (scales == nullptr) {
    to_float32(weights.at(name), out);
  } else {
    to_float32(weights.at(name), *scales, out);
  }
}

}  // namespace

void WeightStore::add(std::string name, ConstTensorView view, std::shared_ptr<const void> owner) {
  scales_.erase(name);
  views_.insert_or_assign(std::move(name), std::move(view));
  keep_alive(std::move(owner));
}

void WeightStore::keep_alive(std::shared_ptr<const void> owner) {
  if (owner && (owners_.empty() || owners_.back() != owner)) owners_.push_back(std::move(owner));
}

void WeightStore::add(std::string name, Tensor tensor) {
  auto owned = std::make_shared<const Tensor>(std::move(tensor));
  ConstTensorView view = owned->view();
  add(std::move(name), std::move(view), std::move(owned));
}

void WeightStore::add(std::string name, ConstTensorView integers, ConstTensorView scales,
                      std::shared_ptr<const void> owner) {
  add(name, std::move(integers), std::move(owner));
  scales_.emplace(std::move(name), std::move(scales));
}

void WeightStore::add(std::string name, Tensor integers, Tensor scales) {
  auto owned = std::make_shared<const std::pair<Tensor, Tensor>>(std::move(integers), std::move(scales));
  ConstTensorView view = owned->first.view(), view_of_scales = owned->second.view();
  add(std::move(name), std::move(view), std::move(view_of_scales), std::move(owned));
}

bool WeightStore::contains(std::string_view name) const { return views_.find(name) != views_.end(); }

const ConstTensorView& WeightStore::at(std::string_view name) const {
  const auto found = views_.find(name);
  if (found == views_.end()) throw Error(ErrorCode::kNotFound, fmt::format("there is no tensor '{}'", name));
  return found->second;
}

const ConstTensorView* WeightStore::scales(std::string_view name) const {
  const auto found = scales_.find(name);
  return found == scales_.end() ? nullptr : &found->second;
}

std::vector<float> WeightStore::floats(std::string_view name) const {
  std::vector<float> values(static_cast<std::size_t>(at(name).count()));
  to_float32(*this, name, values);
  return values;
}

void WeightStore::release(std::string_view name) const {
  const ConstTensorView& view = at(name);
  const std::span bytes(view.data, static_cast<std::size_t>(view.count()) * size_of(view.dtype));
  for (const std::shared_ptr<const void>& owner : owners_) release_pages(owner, bytes);
}

std::uint64_t WeightStore::bytes() const {
  std::uint64_t total = 0;
  for (const auto* views : {&views_, &scales_}) {
    for (const auto& [name, view] : *views) total += static_cast<std::uint64_t>(view.count()) * size_of(view.dtype);
  }
  return total;
}

bool is_float(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32 || dtype == DType::kF64;
}

void to_float32(const ConstTensorView& view, std::span<float> out) {
  switch (view.dtype) {
    case DType::kF32:
      std::memcpy(out.data(), view.data, out.size_bytes());
      return;
    case DType::kF16:
      convert_all<std::uint16_t>(view.data, out, float16_to_float);
      return;
    case DType::kBF16:
      convert_all<std::uint16_t>(view.data, out, bfloat16_to_float);
      return;
    case DType::kF64:
      convert_all<double>(view.data, out, [](double value) { return static_cast<float>(value); });
      return;
    default:
      throw Error(ErrorCode::kUnsupported, fmt::format("{} is not a float type", name_of(view.dtype)));
  }
}

void to_float32(const ConstTensorView& integers, const ConstTensorView& scales, std::span<float> out) {
  std::vector<float> factors(static_cast<std::size_t>(scales.count()));
  to_float32(scales, factors);
  const std::size_t run = factors.empty() ? 0 : out.size() / factors.size();
  for (std::size_t n = 0, i = 0; n < factors.size(); ++n) {
    for (const std::size_t end = i + run; i < end; ++i) {
      out[i] = static_cast<float>(std::to_integer<std::int8_t>(integers.data[i])) * factors[n];
    }
  }
}

Tensor converted(const WeightStore& weights, std::string_view name, DType dtype) {
  Tensor tensor = Tensor::zeros(weights.at(name).shape, dtype);
  if (dtype == DType::kF32) {
    to_float32(weights, name, tensor.values<float>());
    return tensor;
  }
  if (dtype != DType::kF16 && dtype != DType::kBF16) {
    throw Error(ErrorCode::kUnsupported, fmt::format("weights are not stored as {}", name_of(dtype)));
  }
  const std::vector<float> values = weights.floats(name);
  const auto narrow = dtype == DType::kBF16 ? float_to_bfloat16 : float_to_float16;
  std::ranges::transform(values, tensor.values<std::uint16_t>().begin(), narrow);
  return tensor;
}

void check_weights(const WeightStore& weights, const NetworkConfig& config, std::string_view source) {
  check_weights(weights, tensor_specs(config), source);
}

void check_weights(const WeightStore& weights, std::span<const TensorSpec> specs, std::string_view source) {
  for (const TensorSpec& spec : specs) {
    if (!weights.contains(spec.name)) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' has no tensor '{}', which the network needs with shape {}",
                                                    source, spec.name, to_string(spec.shape)));
    }
    const ConstTensorView& view = weights.at(spec.name);
    if (view.shape != spec.shape) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}': '{}' is {}, expected {}", source, spec.name,
                                                    to_string(view.shape), to_string(spec.shape)));
    }
  }
  if (weights.all().size() == specs.size()) return;
  for (const auto& [name, view] : weights.all()) {
    const bool known = std::ranges::any_of(specs, [&name = name](const TensorSpec& spec) { return spec.name == name; });
    if (!known) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' holds '{}' {}, which is no part of the network", source, name,
                                                    to_string(view.shape)));
    }
  }
}

}  // namespace convnext
