// RegNet and EfficientNet in libtorch against timm's results, and every registered one for its shapes and gradients.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <utility>

#include "model/description.h"
#include "model/formula.h"
#include "model/registry.h"
#include "nn/depthwise.h"
#include "nn/network.h"
#include "tests/torch_tensors.h"
#include "train/autocast.h"

namespace convnext {
namespace {

Golden open_reference(const std::string& kind) {
  return open_golden("regnets_and_efficientnets/" + kind + ".safetensors");
}

const std::vector<std::string> kGoldens = {"efficientnet_b0",    "efficientnetv2_s",   "regnetx_040",
                                           "regnety_040",        "tf_efficientnet_b0", "tf_efficientnet_b0_even",
                                           "tf_efficientnetv2_s"};

class RegNetOrEfficientNetGolden : public testing::TestWithParam<std::string> {};

TEST_P(RegNetOrEfficientNetGolden, LogitsPooledAndEveryStageAreTimms) {
  const Golden golden = open_reference(GetParam());
  const NamedOutputs outputs =
      outputs_of(golden.config, formula_weights(golden.config, golden.seed), pictures_of(golden));
  EXPECT_EQ(outputs.size(), golden.file.tensors().size());
  EXPECT_TRUE(agrees(outputs, golden));
}

INSTANTIATE_TEST_SUITE_P(Kinds, RegNetOrEfficientNetGolden, testing::ValuesIn(kGoldens),
                         [](const auto& info) { return info.param; });

TEST(TorchvisionGolden, NamesAndOrdersAreThoseOfItsNetworks) {
  using enum WeightLayout;
  for (const auto& [kind, layout] : {std::pair{"torchvision_regnety_040", kRegNetTorchvision},
                                     std::pair{"torchvision_efficientnet_b0", kEfficientNetTorchvision},
                                     std::pair{"torchvision_efficientnetv2_s", kEfficientNetV2Torchvision}}) {
    const Golden golden = open_reference(kind);
    const WeightStore weights = formula_weights_of(layout, golden);
    EXPECT_TRUE(agrees(outputs_of(golden.config, weights, pictures_of(golden)), golden)) << kind;
    // With the values of timm's names they are others.
    const WeightStore of_timm = formula_weights(golden.config, golden.seed);
    EXPECT_FALSE(agrees(outputs_of(golden.config, of_timm, pictures_of(golden)), golden)) << kind;
  }
}

// The goldens tell apart what is easily wrong. (Their program tries more, in timm: a squeezed width taken from the
// output, the odd pixel of TensorFlow's padding before in place of behind, every block left out.)
TEST(RegNetAndEfficientNetGoldens, TellWrongNetworksApart) {
  using Change = std::function<void(EfficientNetConfig&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"epsilon", [](EfficientNetConfig& config) { config.norm_eps = config.norm_eps == 1e-3 ? 1e-5 : 1e-3; }},
      {"padding", [](EfficientNetConfig& config) { config.same_padding = !config.same_padding; }},
      {"squeeze and excitation", [](EfficientNetConfig& config) { std::ranges::fill(config.se_ratios, 0.0); }},
  };
  for (const char* kind : {"efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnet_b0_even", "efficientnetv2_s",
                           "tf_efficientnetv2_s"}) {
    const Golden golden = open_reference(kind);
    const torch::Tensor input = pictures_of(golden);
    const WeightStore weights = formula_weights(golden.config, golden.seed);
    for (const auto& [name, change] : changes) {
      auto config = std::get<EfficientNetConfig>(golden.config);
      change(config);
      EXPECT_FALSE(agrees(outputs_of(config, weights, input), golden)) << kind << " with another " << name;
    }
  }
  const Golden golden = open_reference("regnety_040");
  auto config = std::get<RegNetConfig>(golden.config);
  config.se_ratio = 0;
  EXPECT_FALSE(agrees(outputs_of(config, formula_weights(golden.config, golden.seed), pictures_of(golden)), golden));
}

// One block a stage and two in the second keep the memory down.
NetworkConfig cut(const RegistryEntry& entry) {
  const auto* regnet = std::get_if<RegNetConfig>(&entry.network);
  const int stages = regnet ? regnet->stages() : std::get<EfficientNetConfig>(entry.network).stages();
  std::vector<int> depths(static_cast<std::size_t>(stages), 1);
  depths[1] = 2;
  return with_overrides(entry.network, {.depths = depths, .classes = 5});
}

class RegisteredRegNetOrEfficientNet : public testing::TestWithParam<RegistryEntry> {};

TEST_P(RegisteredRegNetOrEfficientNet, TrainsEveryParameter) {
  const NetworkConfig config = cut(GetParam());
  const WeightStore weights = formula_weights(config, 3);
  const auto network = make_network(config, {.drop_path = 0.1});
  load_and_copy_back(*network, weights, config);

  network->train();
  const NetworkOutputs outputs = network->forward(formula_pictures({2, 3, 65, 71}, 3));
  EXPECT_EQ(outputs.logits.sizes(), (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(outputs.pooled.sizes(), (std::vector<std::int64_t>{2, embedding_channels(config)}));
  const std::vector<MapShape> maps = stage_maps(config, 65, 71);
  ASSERT_EQ(outputs.stages.size(), maps.size());
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_EQ(outputs.stages[i].sizes(),
              (std::vector<std::int64_t>{2, maps[i].channels, maps[i].height, maps[i].width}))
        << "stage " << i;
  }
  EXPECT_TRUE(torch::isfinite(outputs.logits).all().item<bool>());

  torch::cross_entropy_loss(outputs.logits, torch::tensor({1, 3}, torch::kLong)).backward();
  expect_gradients(*network);
}

std::vector<RegistryEntry> regnets_and_efficientnets() {
  std::vector<RegistryEntry> entries;
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kRegNet || entry.family == Family::kEfficientNet) entries.push_back(entry);
  }
  return entries;
}

INSTANTIATE_TEST_SUITE_P(Registry, RegisteredRegNetOrEfficientNet, testing::ValuesIn(regnets_and_efficientnets()),
                         [](const auto& info) { return info.param.name; });

TEST(RegNetAndEfficientNet, ComputeWithoutAClassifierAndOnGreyPictures) {
  for (const char* name : {"regnety_032", "tf_efficientnetv2_s"}) {
    NetworkConfig config = with_overrides(cut(architecture(name)), {.classes = 0, .input_channels = 1});
    const auto outputs = outputs_of(config, formula_weights(config, 3), formula_pictures({2, 1, 33, 40}, 3));
    EXPECT_TRUE(tensors_close(outputs.at("logits"), outputs.at("pooled"))) << name;
    EXPECT_EQ(outputs.at("pooled").shape(), (Shape{2, embedding_channels(config)})) << name;
  }
}

// The second block of a stage: a dropped picture passes through as if the branch were zero, a kept one does not.
TEST(RegNet, DropsTheBranchOfThePicturesThatTheKeySays) {
  RegNetConfig config{.depths = {1, 2}, .dims = {16, 24}, .group_width = 8, .classes = 0};
  const double rate = 0.5;
  const int last = 2;
  std::uint64_t key = 0;
  torch::Tensor mask;
  do {
    mask = drop_path_mask(++key, last, rate, 2, torch::kFloat32).flatten();
  } while (mask[0].item<float>() != 0.0f || mask[1].item<float>() == 0.0f);

  const torch::Tensor x = formula_pictures({2, 3, 24, 20}, 1);
  const auto network = make_network(config, {.drop_path = rate}),
             without_branch = make_network(config, {.drop_path = rate});
  load_weights(*network, formula_weights(config, 1));
  load_weights(*without_branch, formula_weights(config, 1));
  network->eval();
  without_branch->eval();
  torch::NoGradGuard no_grad;
  for (const char* tensor : {"weight", "bias"}) {
    without_branch->named_parameters()[fmt::format("s2.b2.conv3.bn.{}", tensor)].zero_();
  }
  const torch::Tensor dropped = network->forward(x, key).logits, passed = without_branch->forward(x, key).logits;
  EXPECT_TRUE(tensors_close(from_torch(dropped[0]), from_torch(passed[0])));
  EXPECT_FALSE(tensors_close(from_torch(dropped[1]), from_torch(passed[1])));
  EXPECT_FALSE(tensors_close(from_torch(network->forward(x).logits), from_torch(dropped)));
}

TEST(EfficientNet, NeverDropsABlockThatAddsNoShortcut) {
  const NetworkConfig config =
      with_overrides(architecture("efficientnet_b0").network,
                     {.depths = std::vector<int>(7, 1), .dims = std::vector{8, 16, 24, 32, 40, 48, 56}, .classes = 0});
  const auto network = make_network(config, {.drop_path = 0.9});
  load_weights(*network, formula_weights(config, 1));
  network->eval();
  torch::NoGradGuard no_grad;
  const torch::Tensor x = formula_pictures({2, 3, 40, 40}, 1);
  EXPECT_TRUE(torch::equal(network->forward(x, 7).logits, network->forward(x).logits));
}

// The gradients of libtorch's own convolution, which takes its time.
TEST(DepthwiseConvolution, NeedsNoBias) {
  for (const int kernel : {3, 5}) {
    const auto gradients = [kernel](bool ours) {
      torch::Tensor x = formula_pictures({2, 20, 9, 7}, 1).requires_grad_();
      torch::Tensor weight = to_torch(formula_input("weight", {20, 1, kernel, kernel}, 2)).requires_grad_();
      const torch::Tensor y = ours ? depthwise_convolution(x, weight, {})
                                   : at::conv2d(x, weight, {}, /*stride=*/1, /*padding=*/kernel / 2, 1, 20);
      (y * y).sum().backward();
      return std::pair{from_torch(x.grad()), from_torch(weight.grad())};
    };
    const auto [x, weight] = gradients(true);
    const auto [expected_x, expected_weight] = gradients(false);
    EXPECT_TRUE(tensors_close(x, expected_x)) << kernel;
    EXPECT_TRUE(tensors_close(weight, expected_weight)) << kernel;
  }
}

// The bits of float32, forwards and backwards; what comes in bfloat16 is widened first.
TEST(DepthwiseConvolution, StaysInFloat32UnderAutocast) {
  for (const torch::ScalarType type : {torch::kFloat32, torch::kBFloat16}) {
    const auto run = [type](bool autocast) {
      const torch::Tensor x = formula_pictures({2, 20, 9, 7}, 1).to(type).requires_grad_();
      torch::Tensor weight = to_torch(formula_input("weight", {20, 1, 7, 7}, 2)).requires_grad_();
      torch::Tensor y;
      {
        const Autocast scope(torch::kCPU, autocast);
        y = depthwise_convolution(autocast ? x : x.to(torch::kFloat32), weight, {});
      }
      (y * y).sum().backward();
      return std::vector<torch::Tensor>{y, x.grad(), weight.grad()};
    };
    const std::vector<torch::Tensor> expected = run(false), under_autocast = run(true);
    EXPECT_EQ(under_autocast[0].scalar_type(), torch::kFloat32);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(torch::equal(under_autocast[i], expected[i])) << i;
  }
}

}  // namespace
}  // namespace convnext
