// Tensors between ours and libtorch's, and the outputs of a network by the names that goldens have for them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/formula.h"
#include "model/layout_names.h"
#include "model/tensors.h"
#include "nn/network.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {

// A float32 copy.
inline torch::Tensor to_torch(const Tensor& tensor) {
  const std::vector<std::int64_t> sizes(tensor.shape().begin(), tensor.shape().end());
  torch::Tensor copy = torch::empty(sizes, torch::kFloat32);
  std::memcpy(copy.data_ptr<float>(), tensor.bytes().data(), tensor.bytes().size());
  return copy;
}

inline Tensor from_torch(const torch::Tensor& tensor) {
  const torch::Tensor contiguous = tensor.detach().to(torch::kFloat32).contiguous();
  Tensor copy = Tensor::zeros({contiguous.sizes().begin(), contiguous.sizes().end()});
  std::memcpy(copy.bytes().data(), contiguous.const_data_ptr<float>(), copy.bytes().size());
  return copy;
}

// formula_input() of that shape, in the order of memory that networks like best.
inline torch::Tensor formula_pictures(const Shape& shape, std::uint64_t seed) {
  return to_torch(formula_input("input", shape, seed)).contiguous(torch::MemoryFormat::ChannelsLast);
}

// The pictures that a golden is of.
inline torch::Tensor pictures_of(const Golden& golden) {
  return formula_pictures(nlohmann::json::parse(golden.file.metadata().at("input_shape")).get<Shape>(), golden.seed);
}

// logits, pooled, stages.0, ...
using NamedOutputs = std::map<std::string, Tensor>;

inline NamedOutputs named(const NetworkOutputs& outputs) {
  NamedOutputs result;
  result["logits"] = from_torch(outputs.logits);
  result["pooled"] = from_torch(outputs.pooled);
  for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
    result[fmt::format("stages.{}", i)] = from_torch(outputs.stages[i]);
  }
  return result;
}

// The weights of a golden that another library has made, from the formula by that library's names, which the golden
// lists: a name that is taken for another, or another order inside a tensor, gives other logits than the library's.
inline WeightStore formula_weights_of(WeightLayout layout, const Golden& golden) {
  std::map<std::string, TensorSpec> specs;
  for (const TensorSpec& spec : tensor_specs(golden.config)) specs[spec.name] = spec;
  WeightStore weights;
  const auto shapes = nlohmann::json::parse(golden.file.metadata().at("shapes"));
  for (const auto& [theirs, shape] : shapes.items()) {
    const std::optional<TensorName> own = own_name(layout, theirs);
    if (!own) {
      EXPECT_TRUE(is_known_extra(layout, theirs)) << theirs;
      continue;
    }
    TensorSpec spec = specs.at(own->name);
    spec.name = theirs;
    weights.add(own->name, formula_tensor(spec, golden.seed));
  }
  return weights;
}

// Of a network in its mode of evaluation.
inline NamedOutputs outputs_of(const NetworkConfig& config, const WeightStore& weights, const torch::Tensor& pictures) {
  const torch::InferenceMode inference;
  const auto network = make_network(config);
  load_weights(*network, weights);
  network->eval();
  return named(network->forward(pictures));
}

// The first output that is not what the golden says; success when there is none.
inline testing::AssertionResult agrees(const NamedOutputs& outputs, const Golden& golden) {
  for (const auto& [name, view] : golden.file.tensors()) {
    const auto found = outputs.find(name);
    if (found == outputs.end()) return testing::AssertionFailure() << "the network has no output " << name;
    const testing::AssertionResult close = tensors_close(found->second, golden_tensor(golden.file, name));
    if (!close) return testing::AssertionFailure() << name << ": " << close.message();
  }
  return testing::AssertionSuccess();
}

// Loads the weights, and expects copy_weights() to give back the same bits.
inline void load_and_copy_back(Network& network, const WeightStore& weights, const NetworkConfig& config) {
  load_weights(network, weights);
  const WeightStore copy = copy_weights(network);
  ASSERT_EQ(copy.all().size(), weights.all().size());
  check_weights(copy, config, "the module");
  for (const auto& [name, view] : weights.all()) {
    const ConstTensorView& back = copy.at(name);
    EXPECT_EQ(std::memcmp(back.data, view.data, static_cast<std::size_t>(view.count()) * sizeof(float)), 0) << name;
  }
}

// After backward(): every parameter has a finite gradient, and not of zeros.
inline void expect_gradients(const Network& network) {
  for (const auto& parameter : network.named_parameters()) {
    const torch::Tensor& gradient = parameter.value().grad();
    ASSERT_TRUE(gradient.defined()) << parameter.key();
    EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << parameter.key();
    EXPECT_GT(gradient.abs().max().item<float>(), 0.0f) << parameter.key();
  }
}

}  // namespace convnext
