// The libtorch networks against timm's results, against the runtime, and their gradients against PyTorch's.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "convnext/error.h"
#include "engine/backend.h"
#include "model/formula.h"
#include "model/registry.h"
#include "nn/network.h"
#include "tests/expect_error.h"
#include "tests/torch_tensors.h"
#include "train/loss.h"

namespace convnext {
namespace {

std::shared_ptr<Network> formula_network(const NetworkConfig& config, std::uint64_t seed) {
  auto network = make_network(config);
  load_weights(*network, formula_weights(config, seed));
  network->eval();
  return network;
}

std::vector<std::string> golden_kinds() {
  std::vector<std::string> kinds;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("networks"))) {
    if (entry.path().extension() == ".safetensors") kinds.push_back(entry.path().stem().string());
  }
  std::ranges::sort(kinds);
  return kinds;
}

class ModuleGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(ModuleGolden, LogitsPooledAndEveryStageAreTimms) {
  const Golden golden = open_golden("networks/" + GetParam() + ".safetensors");
  EXPECT_TRUE(
      agrees(outputs_of(golden.config, formula_weights(golden.config, golden.seed), pictures_of(golden)), golden));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ModuleGolden, ::testing::ValuesIn(golden_kinds()),
                         [](const auto& info) { return info.param; });

// Full depth up to a width of 1024 in the last stage; above, one block a stage keeps the memory down.
NetworkConfig tested_config(const RegistryEntry& entry) {
  NetworkOverrides overrides;
  const auto& config = std::get<ConvNextConfig>(entry.network);
  if (config.dims.back() > 1024) overrides.depths = std::vector<int>(config.depths.size(), 1);
  return with_overrides(entry.network, overrides);
}

// What both the engine and libtorch run; the tests of the other families compare with their libraries.
std::vector<RegistryEntry> registered_convnexts() {
  std::vector<RegistryEntry> entries;
  for (const RegistryEntry& entry : registry()) {
    if (std::holds_alternative<ConvNextConfig>(entry.network)) entries.push_back(entry);
  }
  return entries;
}

class RegisteredNetwork : public ::testing::TestWithParam<RegistryEntry> {};

TEST_P(RegisteredNetwork, RuntimeAndModuleAgree) {
  const NetworkConfig config = tested_config(GetParam());
  const Tensor input = formula_input("input", {2, 3, 64, 64}, 3);
  const WeightStore weights = formula_weights(config, 3);
  const NamedOutputs expected = outputs_of(config, weights, formula_pictures(input.shape(), 3));

  const OutputShapes shapes = output_shapes(config, 2, 64, 64);
  Tensor logits = Tensor::zeros(shapes.logits), pooled = Tensor::zeros(shapes.pooled);
  std::vector<Tensor> stages;
  OutputViews views{.logits = {}, .pooled = pooled.view(), .stages = {}};
  if (class_count(config) > 0) views.logits = logits.view();
  for (const Shape& shape : shapes.stages) stages.push_back(Tensor::zeros(shape));
  for (Tensor& stage : stages) views.stages.push_back(stage.view());
  Workspace workspace;
  make_cpu_backend()->compile(config, weights, Precision::kFp32)->run(input.view(Layout::kNchw), views, workspace);

  if (class_count(config) > 0) {
    EXPECT_TRUE(tensors_close(logits, expected.at("logits")));
  }
  EXPECT_TRUE(tensors_close(pooled, expected.at("pooled")));
  for (std::size_t i = 0; i < stages.size(); ++i) {
    EXPECT_TRUE(tensors_close(stages[i], expected.at(fmt::format("stages.{}", i)))) << "stage " << i;
  }
}

TEST_P(RegisteredNetwork, WeightsComeBackBitForBit) {
  const NetworkConfig config = tested_config(GetParam());
  load_and_copy_back(*make_network(config), formula_weights(config, 5), config);
}

INSTANTIATE_TEST_SUITE_P(Registry, RegisteredNetwork, ::testing::ValuesIn(registered_convnexts()),
                         [](const auto& info) { return info.param.name; });

TEST(LoadWeights, NamesTheParameterThatDoesNotFit) {
  const NetworkConfig config =
      with_overrides(architecture("convnext_atto").network, {.depths = std::vector{1, 1, 1, 1}});
  const NetworkConfig wider = with_overrides(config, {.classes = 7});
  const auto network = make_network(config);
  expect_error(ErrorCode::kMismatch, {"head.fc.weight", "(7, 320)", "(1000, 320)"},
               [&] { load_weights(*network, formula_weights(wider, 1)); });
}

class Gradients : public ::testing::TestWithParam<std::string> {};

TEST_P(Gradients, OfEveryParameterArePyTorchs) {
  const Golden golden = open_golden("training/gradients_" + GetParam() + ".safetensors");
  const auto network = formula_network(golden.config, golden.seed);
  const torch::Tensor input = formula_pictures({4, 3, 32, 32}, 1);
  const torch::Tensor targets = (torch::arange(4) * 3 + 1).remainder(10);
  const torch::Tensor loss = smoothed_cross_entropy(network->forward(input, std::nullopt).logits, targets, 0.1);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), golden_tensor(golden.file, "loss").values<double>()[0], 1e-6);
  std::size_t compared = 0;
  for (const auto& parameter : network->named_parameters()) {
    ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
    EXPECT_TRUE(tensors_close(from_torch(parameter.value().grad()), golden_tensor(golden.file, parameter.key())))
        << parameter.key();
    ++compared;
  }
  EXPECT_EQ(compared + 1, golden.file.tensors().size()) << "every tensor of the golden but the loss";
}

INSTANTIATE_TEST_SUITE_P(Kinds, Gradients, ::testing::Values("v1", "v2", "isotropic"),
                         [](const auto& info) { return info.param; });

TEST(DropPath, KeepsTheStatedPartAndScalesIt) {
  const torch::Tensor mask = drop_path_mask(/*key=*/11, /*block=*/2, /*rate=*/0.25, 4000, torch::kFloat32);
  const auto kept = (mask > 0).sum().item<std::int64_t>();
  // Five deviations of a binomial of 4000 at 0.75: 137.
  EXPECT_NEAR(static_cast<double>(kept), 3000.0, 137.0);
  EXPECT_FLOAT_EQ(mask.max().item<float>(), 1.0f / 0.75f);
  EXPECT_DOUBLE_EQ(drop_path_rate_of_block(0.1, 17, 18), 0.1);
  EXPECT_DOUBLE_EQ(drop_path_rate_of_block(0.1, 1, 18), 0.1 / 17);
  EXPECT_DOUBLE_EQ(drop_path_rate_of_block(0.1, 0, 1), 0.0);
}

}  // namespace
}  // namespace convnext
