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

TEST(Dropout, KeepsTheExpectationOfEveryFeature) {
  const torch::Tensor features = torch::ones({64, 500});
  const torch::Tensor dropped = keyed_dropout(features, /*rate=*/0.2, /*key=*/11);
  // Five deviations of the mean of 32000 values that are 1.25 with probability 0.8: 0.014.
  EXPECT_NEAR(dropped.mean().item<float>(), 1.0f, 0.014f);
  EXPECT_TRUE((dropped.eq(0) | dropped.eq(1.25f)).all().item<bool>());
  // Five deviations of a mean of 64, and of 500: no feature and no picture is dropped more than another.
  EXPECT_LT((dropped.mean(0) - 1).abs().max().item<float>(), 0.32f);
  EXPECT_LT((dropped.mean(1) - 1).abs().max().item<float>(), 0.12f);

  EXPECT_TRUE(torch::equal(keyed_dropout(features, 0.2, 11), dropped));
  EXPECT_FALSE(torch::equal(keyed_dropout(features, 0.2, 12), dropped));
  // What a picture loses does not depend on how many there are.
  EXPECT_TRUE(torch::equal(keyed_dropout(features.slice(0, 0, 3), 0.2, 11), dropped.slice(0, 0, 3)));
  EXPECT_TRUE(torch::equal(keyed_dropout(features, 0.2, std::nullopt), features));
  EXPECT_TRUE(torch::equal(keyed_dropout(features, 0.0, 11), features));
}

struct SmallNetwork {
  const char* name;
  NetworkOverrides overrides;
  const char* classifier = "head.fc";
};

TEST(Dropout, IsBeforeTheClassifierOfEveryFamily) {
  const std::vector<int> one_of_four = {1, 1, 1, 1}, one_of_seven(7, 1);
  const SmallNetwork networks[] = {
      {"convnext_atto", {.depths = one_of_four, .dims = std::vector{8, 16, 24, 32}}},
      {"resnet50", {.depths = one_of_four, .dims = std::vector{8, 16, 24, 32}}, "fc"},
      {"regnety_040", {.depths = one_of_four, .dims = std::vector{64, 64, 64, 64}}},
      {"efficientnet_b0", {.depths = one_of_seven, .dims = std::vector{8, 16, 24, 32, 40, 48, 56}}, "classifier"},
      {"vit_tiny_patch16_224", {.depths = std::vector{1}, .dims = std::vector{64}}, "head"},
      {"swin_tiny_patch4_window7_224", {.depths = one_of_four, .dims = std::vector{32, 32, 64, 64}}},
  };
  constexpr std::uint64_t kKey = 5;
  const torch::Tensor pictures = to_torch(formula_input("input", {2, 3, 112, 112}, 1));
  torch::NoGradGuard no_grad;
  for (const SmallNetwork& small : networks) {
    SCOPED_TRACE(small.name);
    const NetworkConfig config = with_overrides(architecture(small.name).network, small.overrides);
    const auto network = make_network(config, {.dropout = 0.5});
    load_weights(*network, formula_weights(config, 1));
    network->train();
    // Norms over a batch would learn from it, and the second run differ for that.
    for (const auto& module : network->modules()) {
      if (module->as<torch::nn::BatchNorm2d>()) module->eval();
    }
    const NetworkOutputs plain = network->forward(pictures), dropped = network->forward(pictures, kKey);
    EXPECT_TRUE(torch::equal(dropped.pooled, plain.pooled));
    const auto parameters = network->named_parameters();
    const std::string classifier = small.classifier;
    const torch::Tensor expected = torch::linear(keyed_dropout(plain.pooled, 0.5, kKey),
                                                 parameters[classifier + ".weight"], parameters[classifier + ".bias"]);
    EXPECT_TRUE(tensors_close(from_torch(dropped.logits), from_torch(expected)));
    EXPECT_FALSE(tensors_close(from_torch(dropped.logits), from_torch(plain.logits)));
    network->eval();
    EXPECT_TRUE(torch::equal(network->forward(pictures).logits, plain.logits));
  }
}

// DeiT's two tokens lose features of their own (timm's deit.py, forward_head()).
TEST(Dropout, IsBeforeBothClassifiersOfADistilledNetwork) {
  const NetworkConfig config = with_overrides(architecture("deit_tiny_distilled_patch16_224").network,
                                              {.depths = std::vector{1}, .dims = std::vector{64}, .classes = 3});
  const WeightStore weights = formula_weights(config, 1);
  const auto network = make_network(config, {.dropout = 0.5});
  torch::NoGradGuard no_grad;
  auto parameters = network->named_parameters();
  const torch::Tensor pictures = to_torch(formula_input("input", {1, 3, 224, 224}, 1));
  std::vector<torch::Tensor> of_one;
  for (const char* silenced : {"head", "head_dist"}) {
    load_weights(*network, weights);
    for (const char* tensor : {".weight", ".bias"}) parameters[silenced + std::string(tensor)].zero_();
    of_one.push_back(network->forward(pictures, 5).logits);
    EXPECT_FALSE(tensors_close(from_torch(of_one.back()), from_torch(network->forward(pictures).logits))) << silenced;
  }
  load_weights(*network, weights);
  EXPECT_TRUE(tensors_close(from_torch(of_one[0] + of_one[1]), from_torch(network->forward(pictures, 5).logits)));
}

}  // namespace
}  // namespace convnext
