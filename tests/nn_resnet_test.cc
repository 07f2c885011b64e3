// ResNet, ResNeXt and the steps of the roadmap in libtorch, against timm's results (tools/goldens/resnets.py).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <ostream>
#include <string>

#include "model/formula.h"
#include "model/registry.h"
#include "model/roadmap.h"
#include "model/tensors.h"
#include "nn/network.h"
#include "tests/torch_tensors.h"

namespace convnext {

void PrintTo(const RoadmapStep& step, std::ostream* out) { *out << step.architecture; }

namespace {

// Of the training mode: the logits by the statistics of the batch, and the running ones behind it.
NamedOutputs trained_outputs_of(const NetworkConfig& config, const WeightStore& weights,
                                const torch::Tensor& pictures) {
  const auto network = make_network(config);
  load_weights(*network, weights);
  const torch::NoGradGuard no_grad;
  NamedOutputs outputs = named(network->forward(pictures));
  for (const auto& buffer : network->named_buffers()) outputs[buffer.key()] = from_torch(buffer.value());
  return outputs;
}

class ResNetGolden : public ::testing::TestWithParam<std::string> {
 protected:
  bool training() const { return GetParam() == "training"; }
  NamedOutputs run(const NetworkConfig& config, const WeightStore& weights) const {
    return training() ? trained_outputs_of(config, weights, pictures_) : outputs_of(config, weights, pictures_);
  }
  // The golden's network with one thing about it changed.
  NetworkConfig with(const std::function<void(ResNetConfig&)>& change) const {
    ResNetConfig config = std::get<ResNetConfig>(golden_.config);
    change(config);
    return config;
  }
  void expect_told_apart(const NetworkConfig& config, const WeightStore& weights, const std::string& what) const {
    EXPECT_FALSE(agrees(run(config, weights), golden_)) << what;
  }

  Golden golden_ = open_golden("resnets/" + GetParam() + ".safetensors");
  torch::Tensor pictures_ = pictures_of(golden_);
  WeightStore weights_ = formula_weights(golden_.config, golden_.seed);
};

// Logits, pooled features and the output of each stage; of the training mode the logits by the statistics of the batch
// and the running ones after it, which move by a tenth.
TEST_P(ResNetGolden, IsWhatTimmComputes) { EXPECT_TRUE(agrees(run(golden_.config, weights_), golden_)); }

// A golden that a wrong network passes proves nothing. Those that no config of ours can be, a stride on the 1x1
// convolution among them, are told apart where the goldens are made.
TEST_P(ResNetGolden, TellsWrongNetworksApart) {
  expect_told_apart(with([](ResNetConfig& c) { c.norm_eps = 1e-3; }), weights_, "another epsilon");
  expect_told_apart(with([](ResNetConfig& c) { c.activation = ResNetConfig::Activation::kGelu; }), weights_, "GELU");
  expect_told_apart(with([](ResNetConfig& c) { c.fewer_activations = true; }), weights_, "activations left out");

  WeightStore dropped = weights_;
  for (const char* name : {"layer4.0.bn3.weight", "layer4.0.bn3.bias"}) {
    dropped.add(name, Tensor::zeros(weights_.at(name).shape));
  }
  expect_told_apart(golden_.config, dropped, "a block left out");

  WeightStore other_statistics = weights_;
  other_statistics.add("layer1.0.bn2.running_mean", Tensor::zeros(weights_.at("layer1.0.bn2.running_mean").shape));
  expect_told_apart(golden_.config, other_statistics, "a running mean not loaded");
}

INSTANTIATE_TEST_SUITE_P(Kinds, ResNetGolden,
                         ::testing::Values("resnet50", "resnet50_stages", "resnext50_32x4d", "resnext50_32x4d_stages",
                                           "training"),
                         [](const auto& info) { return info.param; });

// The registered networks, and the steps at a sixteenth and a quarter of their width; all that are deep with a block or
// two a stage.
std::vector<RoadmapStep> small_steps() {
  std::vector<RoadmapStep> steps;
  for (RoadmapStep step : roadmap(Track::kResNet50)) {
    step.network = with_width_divisor(step.network, 16);
    step.name = "r50_" + step.name;
    steps.push_back(step);
  }
  for (RoadmapStep step : roadmap(Track::kResNet200)) {
    step.network = with_overrides(with_width_divisor(step.network, 4), {.depths = std::vector{1, 2, 2, 1}});
    step.name = "r200_" + step.name;
    steps.push_back(step);
  }
  for (const RegistryEntry& entry : registry()) {
    if (entry.family != Family::kResNet) continue;
    RoadmapStep step;
    step.name = entry.name;
    step.network = with_overrides(entry.network, {.depths = std::vector{1, 1, 1, 1}});
    steps.push_back(step);
  }
  for (RoadmapStep& step : steps) set_class_count(step.network, 10);
  return steps;
}

class Step : public ::testing::TestWithParam<RoadmapStep> {};

TEST_P(Step, LearnsWithEveryParameter) {
  const NetworkConfig& config = GetParam().network;
  const auto network = make_network(config, {.drop_path = 0.1});
  load_weights(*network, formula_weights(config, 1));
  network->train();
  const NetworkOutputs outputs = network->forward(formula_pictures({4, 3, 64, 64}, 1), /*drop_key=*/7);
  EXPECT_EQ(outputs.logits.sizes(), torch::IntArrayRef({4, 10}));
  EXPECT_TRUE(torch::isfinite(outputs.logits).all().item<bool>());
  ASSERT_EQ(outputs.stages.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t side = 16 >> i;
    EXPECT_EQ(outputs.stages[i].size(2), side);
    EXPECT_EQ(outputs.stages[i].size(3), side);
  }
  const torch::Tensor targets = torch::arange(4);
  torch::nn::functional::cross_entropy(outputs.logits, targets).backward();
  expect_gradients(*network);
}

TEST_P(Step, KeepsWeightsBitForBit) {
  const NetworkConfig& config = GetParam().network;
  load_and_copy_back(*make_network(config), formula_weights(config, 5), config);
}

INSTANTIATE_TEST_SUITE_P(Roadmap, Step, ::testing::ValuesIn(small_steps()),
                         [](const auto& info) { return info.param.name; });

// A stage of two blocks at rate 0.5: the second of them is the shortcut alone, or counts twice.
TEST(ResNetDropPath, LeavesOutTheBranchOfTheSamePicturesThatTheMaskSays) {
  constexpr std::uint64_t kKey = 3;
  constexpr int kPictures = 8;
  const NetworkConfig whole = with_overrides(with_width_divisor(architecture("resnet50").network, 8),
                                             {.depths = std::vector{2}, .dims = std::vector{8}});
  const NetworkConfig half = with_overrides(whole, {.depths = std::vector{1}});
  const WeightStore weights = formula_weights(whole, 2);
  const auto stage_of = [&](const NetworkConfig& config, double rate, std::optional<std::uint64_t> key) {
    const auto network = make_network(config, {.drop_path = rate});
    load_weights(*network, weights);
    network->eval();
    torch::NoGradGuard no_grad;
    return network->forward(formula_pictures({kPictures, 3, 32, 32}, 2), key).stages[0];
  };
  const torch::Tensor dropped = stage_of(whole, 0.5, kKey), kept = stage_of(whole, 0.5, std::nullopt);
  const torch::Tensor first_block = stage_of(half, 0.0, std::nullopt);
  const torch::Tensor mask = drop_path_mask(kKey, /*block=*/1, 0.5, kPictures, torch::kFloat32);
  int left_out = 0;
  for (int i = 0; i < kPictures; ++i) {
    if (mask[i].item<float>() > 0) {
      EXPECT_GT((dropped[i] - kept[i]).abs().max().item<float>(), 0.01f) << i;
    } else {
      ++left_out;
      EXPECT_TRUE(torch::equal(dropped[i], first_block[i])) << i;
    }
  }
  EXPECT_GT(left_out, 0);
  EXPECT_LT(left_out, kPictures);
}

}  // namespace
}  // namespace convnext
