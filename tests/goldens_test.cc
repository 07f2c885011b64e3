// The formula and the networks against tests/goldens, which timm computed in float64 (tools/goldens/networks.py).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/backend.h"
#include "model/formula.h"
#include "model/tensors.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

// Outputs by the names that they have in a golden: logits, pooled, stages.0, ...
using Outputs = std::map<std::string, Tensor>;

Outputs run_network(const Backend& backend, const NetworkConfig& config, const WeightStore& weights,
                    const Tensor& input) {
  const Shape& shape = input.shape();
  const OutputShapes shapes = output_shapes(config, shape[0], shape[2], shape[3]);
  Outputs outputs;
  const auto view_of = [&outputs](const std::string& name, const Shape& output_shape) {
    return (outputs[name] = Tensor::zeros(output_shape)).view();
  };
  OutputViews views;
  if (class_count(config) > 0) views.logits = view_of("logits", shapes.logits);
  views.pooled = view_of("pooled", shapes.pooled);
  for (std::size_t i = 0; i < shapes.stages.size(); ++i) {
    views.stages.push_back(view_of(fmt::format("stages.{}", i), shapes.stages[i]));
  }
  Workspace workspace;
  backend.compile(config, weights, Precision::kFp32)->run(std::as_const(input).view(), views, workspace);
  return outputs;
}

// The first output that is not what the golden says; success when there is none.
::testing::AssertionResult agrees(const Outputs& outputs, const Golden& golden) {
  for (const auto& [name, view] : golden.file.tensors()) {
    const auto found = outputs.find(name);
    if (found == outputs.end()) return ::testing::AssertionFailure() << "the network has no output " << name;
    const ::testing::AssertionResult close = tensors_close(found->second, golden_tensor(golden.file, name));
    if (!close) return ::testing::AssertionFailure() << name << ": " << close.message();
  }
  return ::testing::AssertionSuccess();
}

Tensor input_of(const Golden& golden) {
  const auto shape = nlohmann::json::parse(golden.file.metadata().at("input_shape")).get<Shape>();
  return formula_input("input", shape, golden.seed);
}

TensorRole role_from_name(const std::string& name) {
  static const std::map<std::string, TensorRole> kRoles = {
      {"weight", TensorRole::kWeight},          {"bias", TensorRole::kBias},
      {"norm_weight", TensorRole::kNormWeight}, {"norm_bias", TensorRole::kNormBias},
      {"layer_scale", TensorRole::kLayerScale}, {"grn_weight", TensorRole::kGrnWeight},
      {"grn_bias", TensorRole::kGrnBias},
  };
  return kRoles.at(name);
}

// All goldens are of weights that Python made by the formula: one bit off here, and they are of another network.
TEST(FormulaGolden, EveryRoleInputAndPictureHasTheBitsOfThePythonSide) {
  const SafetensorsFile file = SafetensorsFile::open(golden_path("formula.safetensors"));
  const auto roles = nlohmann::json::parse(file.metadata().at("roles")).get<std::map<std::string, std::string>>();
  std::set<std::string> seen;
  for (const auto& [key, view] : file.tensors()) {
    const std::size_t slash = key.find('/');
    const std::uint64_t seed = std::stoull(key.substr(0, slash));
    const std::string name = key.substr(slash + 1);
    const Tensor expected = golden_tensor(file, key);
    if (name == "picture") {
      const Image picture = formula_picture(static_cast<int>(view.shape[1]), static_cast<int>(view.shape[0]), seed);
      EXPECT_THAT(picture.pixels, ::testing::ElementsAreArray(expected.values<std::uint8_t>())) << key;
      seen.insert(name);
      continue;
    }
    const std::string& role = roles.at(name);
    const Tensor made = role == "input" ? formula_input(name, view.shape, seed)
                                        : formula_tensor({name, view.shape, role_from_name(role)}, seed);
    EXPECT_TRUE(std::ranges::equal(made.bytes(), expected.bytes())) << key;
    seen.insert(role);
  }
  EXPECT_EQ(seen.size(), 9u) << "seven roles, an input and a picture";
}

const std::vector<std::string> kKinds = {
    "atto",     "atto_ols",  "nano_ols", "zepto_rms",   "zepto_rms_ols",         "atto_rms",          "tiny",
    "tiny_hnf", "large_mlp", "xxlarge",  "dinov3_tiny", "test_convnext",         "test_convnext3",    "v2_atto",
    "v2_tiny",  "free",      "patch_2",  "isotropic",   "isotropic_layer_scale", "convnext_tiny_224",
};

TEST(NetworkGoldens, EveryFileInTheFolderIsTested) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("networks"))) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path().stem().string());
  }
  EXPECT_THAT(found, ::testing::UnorderedElementsAreArray(kKinds));
}

class NetworkGolden : public ::testing::TestWithParam<std::string> {
 protected:
  const ConvNextConfig& convnext() const { return std::get<ConvNextConfig>(golden_.config); }

  Golden golden_ = open_golden("networks/" + GetParam() + ".safetensors");
  Tensor input_ = input_of(golden_);
  WeightStore weights_ = formula_weights(golden_.config, golden_.seed);
};

// Logits, pooled features and the output of each stage: an error in the middle shows where it is made.
TEST_P(NetworkGolden, IsWhatTheReferenceBackendComputes) {
  EXPECT_TRUE(agrees(run_network(*make_reference_backend(), golden_.config, weights_, input_), golden_));
}

TEST_P(NetworkGolden, IsWhatEveryInstructionSetComputes) {
  const std::vector<std::string> isas = available_isas();
  ASSERT_THAT(isas, ::testing::Contains("scalar"));
  for (const std::string& isa : isas) {
    EXPECT_TRUE(agrees(run_network(*make_cpu_backend(isa), golden_.config, weights_, input_), golden_)) << isa;
  }
}

// A golden that a wrong network passes proves nothing. Each of these is wrong in one thing that a port easily gets
// wrong.
class WrongNetwork : public NetworkGolden {
 protected:
  void expect_told_apart(const NetworkConfig& config, const WeightStore& weights, const std::string& what) {
    EXPECT_FALSE(agrees(run_network(*make_reference_backend(), config, weights, input_), golden_)) << what;
  }

  // The weights with the elements of one tensor changed.
  WeightStore with_changed(const std::string& name, const std::function<void(std::span<float>)>& change) const {
    Tensor tensor = Tensor::zeros(weights_.at(name).shape);
    to_float32(weights_.at(name), tensor.values<float>());
    change(tensor.values<float>());
    WeightStore changed = weights_;
    changed.add(name, std::move(tensor));
    return changed;
  }

  // The first block of the network and the last: what is farthest from the outputs, and what has the fewest pixels.
  std::vector<std::string> blocks() const {
    const int last_stage = convnext().stages() - 1;
    return {"stages.0.blocks.0", fmt::format("stages.{}.blocks.{}", last_stage, convnext().depths.back() - 1)};
  }
};

TEST_P(WrongNetwork, WithOneBlockDroppedIsToldApart) {
  for (const std::string& block : blocks()) {
    const auto zero = [](std::span<float> values) { std::ranges::fill(values, 0.0f); };
    if (convnext().layer_scale) {
      expect_told_apart(golden_.config, with_changed(block + ".gamma", zero), block);
    } else {
      WeightStore weights = with_changed(block + ".mlp.fc2.weight", zero);
      weights.add(block + ".mlp.fc2.bias", Tensor::zeros(weights.at(block + ".mlp.fc2.bias").shape));
      expect_told_apart(golden_.config, weights, block);
    }
  }
}

TEST_P(WrongNetwork, WithTheOtherFormOfGeluIsToldApart) {
  ConvNextConfig config = convnext();
  const bool erf = config.activation == Activation::kGelu;
  config.activation = erf ? Activation::kGeluTanh : Activation::kGelu;
  expect_told_apart(config, weights_, "activation");
}

TEST_P(WrongNetwork, WithAnotherEpsilonIsToldApart) {
  ConvNextConfig config = convnext();
  config.norm_eps = config.norm_eps < 5e-6 ? 1e-5 : 1e-6;
  expect_told_apart(config, weights_, "epsilon");
}

TEST_P(WrongNetwork, WithTwoDepthwiseFiltersExchangedIsToldApart) {
  for (const std::string& block : blocks()) {
    const std::string name = block + ".conv_dw.weight";
    const std::int64_t taps = fan_in(weights_.at(name).shape);
    const auto exchange = [taps](std::span<float> values) {
      std::swap_ranges(values.begin(), values.begin() + taps, values.begin() + taps);
    };
    expect_told_apart(golden_.config, with_changed(name, exchange), name);
  }
}

const auto kName = [](const auto& info) { return info.param; };
INSTANTIATE_TEST_SUITE_P(Kinds, NetworkGolden, ::testing::ValuesIn(kKinds), kName);
INSTANTIATE_TEST_SUITE_P(Kinds, WrongNetwork, ::testing::ValuesIn(kKinds), kName);

}  // namespace
}  // namespace convnext
