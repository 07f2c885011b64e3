#include "model/formula.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/hash.h"

namespace convnext {
namespace {

std::uint64_t tensor_key(std::string_view name, std::uint64_t seed) { return hash_name(name) + mix(seed); }

// Calls value(i, u) for the elements of a tensor, u uniform in [0, 1).
template <typename Value>
void fill(Tensor& tensor, std::string_view name, std::uint64_t seed, const Value& value) {
  const std::uint64_t key = tensor_key(name, seed);
  const auto values = tensor.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value(unit_float(mix(key + i)));
}

// Normal with that deviation, cut at +-2, by Box and Muller from two hashes an element.
void fill_normal(Tensor& tensor, std::string_view name, std::uint64_t seed, double deviation) {
  const std::uint64_t key = tensor_key(name, seed);
  const auto values = tensor.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double first = 1.0 - unit_float(mix(key + 2 * i));  // in (0, 1]: its logarithm exists
    const double second = unit_float(mix(key + 2 * i + 1));
    const double normal = std::sqrt(-2.0 * std::log(first)) * std::cos(2.0 * std::numbers::pi * second);
    values[i] = static_cast<float>(std::clamp(deviation * normal, -2.0, 2.0));
  }
}

constexpr double kPublishedDeviation = 0.02;

// What the authors of each family begin with: the convolutions of those with batch norm as He et al. 2015 (fan out).
double published_deviation(const NetworkConfig& config, const TensorSpec& spec) {
  constexpr double kClassifierOfBatchNormNetwork = 0.01;
  const bool has_batch_norm = std::holds_alternative<ResNetConfig>(config) ||
                              std::holds_alternative<RegNetConfig>(config) ||
                              std::holds_alternative<EfficientNetConfig>(config);
  if (!has_batch_norm) return kPublishedDeviation;
  return spec.is_classifier ? kClassifierOfBatchNormNetwork : std::sqrt(2.0 / static_cast<double>(spec.fan_out));
}

double deviation(WeightInit init, const NetworkConfig& config, const TensorSpec& spec) {
  return init == WeightInit::kPublished ? published_deviation(config, spec)
                                        : 1.0 / std::sqrt(static_cast<double>(fan_in(spec.shape)));
}

void fill_constant(Tensor& tensor, float value) { std::ranges::fill(tensor.values<float>(), value); }

}  // namespace

Tensor formula_tensor(const TensorSpec& spec, std::uint64_t seed) {
  Tensor tensor = Tensor::zeros(spec.shape);
  const auto scaled = [&](float scale) {
    fill(tensor, spec.name, seed, [scale](float u) { return (2.0f * u - 1.0f) * scale; });
  };
  const auto between = [&](float low, float width) {
    fill(tensor, spec.name, seed, [low, width](float u) { return low + width * u; });
  };
  switch (spec.role) {
    case TensorRole::kWeight:
      scaled(static_cast<float>(std::sqrt(3.0 / static_cast<double>(fan_in(spec.shape)))));
      break;
    case TensorRole::kBias:
    case TensorRole::kNormBias:
      scaled(0.25f);
      break;
    case TensorRole::kNormWeight:
      between(0.75f, 0.5f);
      break;
    case TensorRole::kLayerScale:
      between(0.25f, 0.5f);
      break;
    case TensorRole::kGrnWeight:
    case TensorRole::kGrnBias:
    case TensorRole::kEmbedding:
      scaled(0.5f);
      break;
    case TensorRole::kRunningMean:
      scaled(0.25f);
      break;
    case TensorRole::kRunningVariance:
      between(0.75f, 0.5f);
      break;
  }
  return tensor;
}

WeightStore formula_weights(std::span<const TensorSpec> specs, std::uint64_t seed) {
  WeightStore weights;
  for (const TensorSpec& spec : specs) weights.add(spec.name, formula_tensor(spec, seed));
  return weights;
}

WeightStore formula_weights(const NetworkConfig& config, std::uint64_t seed) {
  return formula_weights(tensor_specs(config), seed);
}

Tensor formula_input(std::string_view name, const Shape& shape, std::uint64_t seed) {
  Tensor tensor = Tensor::zeros(shape);
  fill(tensor, name, seed, [](float u) { return (2.0f * u - 1.0f) * 0.25f; });
  return tensor;
}

Image formula_picture(int width, int height, std::uint64_t seed) {
  Image image{.width = width, .height = height, .pixels = {}};
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  const std::uint64_t key = mix(seed);
  constexpr std::uint64_t kNoise = std::uint64_t{1} << 32;
  std::size_t i = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (unsigned c = 0; c < 3; ++c, ++i) {
        const std::uint64_t block =
            static_cast<std::uint64_t>(y / 8) * 65536 + static_cast<std::uint64_t>(x / 8) * 4 + c;
        const std::uint64_t colour = mix(key + block) >> 56;
        const std::uint64_t noise = mix(key + kNoise + i) >> 56;
        image.pixels[i] = static_cast<std::uint8_t>((3 * colour + noise) / 4);
      }
    }
  }
  return image;
}

Tensor normal_tensor(const TensorSpec& spec, std::uint64_t seed, double deviation) {
  Tensor tensor = Tensor::zeros(spec.shape);
  fill_normal(tensor, spec.name, seed, deviation);
  return tensor;
}

Tensor uniform_tensor(const TensorSpec& spec, std::uint64_t seed, float bound) {
  Tensor tensor = Tensor::zeros(spec.shape);
  fill(tensor, spec.name, seed, [bound](float u) { return (2.0f * u - 1.0f) * bound; });
  return tensor;
}

WeightStore random_weights(const NetworkConfig& config, std::uint64_t seed, const Initialisation& options) {
  WeightStore weights;
  for (const TensorSpec& spec : tensor_specs(config)) {
    Tensor tensor = Tensor::zeros(spec.shape);
    switch (spec.role) {
      case TensorRole::kWeight:
        fill_normal(tensor, spec.name, seed, deviation(options.weights, config, spec));
        break;
      case TensorRole::kNormWeight:
      case TensorRole::kRunningVariance:
        fill_constant(tensor, spec.starts_at_zero ? 0.0f : 1.0f);
        break;
      case TensorRole::kEmbedding:
        fill_normal(tensor, spec.name, seed, kPublishedDeviation);
        break;
      case TensorRole::kLayerScale:
        fill_constant(tensor, options.layer_scale);
        break;
      case TensorRole::kBias:
      case TensorRole::kNormBias:
      case TensorRole::kGrnWeight:
      case TensorRole::kGrnBias:
      case TensorRole::kRunningMean:
        break;  // zero
    }
    if (spec.is_classifier) {
      for (float& value : tensor.values<float>()) value *= options.head_scale;
    }
    weights.add(spec.name, std::move(tensor));
  }
  return weights;
}

}  // namespace convnext
