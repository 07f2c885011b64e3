// ViT, DeiT and Swin in libtorch against timm's and torchvision's results, and what each registered one has to have.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "convnext/error.h"
#include "model/description.h"
#include "model/formula.h"
#include "model/layout_names.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "nn/network.h"
#include "tests/expect_error.h"
#include "tests/torch_tensors.h"

namespace convnext {
namespace {

// The network, which if it is a Swin takes any size that its patches divide.
NetworkConfig of_any_size(NetworkConfig config) {
  if (auto* swin = std::get_if<SwinConfig>(&config)) swin->pads_windows = true;
  return config;
}

Golden open_transformer(const std::string& kind) {
  Golden golden = open_golden("vision_transformers/" + kind + ".safetensors");
  golden.config = of_any_size(std::move(golden.config));
  if (kind == "swin_of_32_pixels") set_input_size(std::get<SwinConfig>(golden.config), 32);
  return golden;
}

const std::vector<std::string> kKinds = {
    "vit",
    "vit_resized",
    "deit_distilled",
    "swin",
    "swin_padded",
    "swin_of_32_pixels",
    "swin_window12",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
};

TEST(TransformerGoldens, EveryFileInTheFolderIsTested) {
  std::vector<std::string> found, tested = kKinds;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("vision_transformers"))) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path().stem().string());
  }
  tested.insert(tested.end(), {"torchvision_vit", "torchvision_swin"});
  EXPECT_THAT(found, ::testing::UnorderedElementsAreArray(tested));
}

class TransformerGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(TransformerGolden, LogitsPooledAndEveryStageAreTimms) {
  const Golden golden = open_transformer(GetParam());
  EXPECT_TRUE(
      agrees(outputs_of(golden.config, formula_weights(golden.config, golden.seed), pictures_of(golden)), golden));
}

INSTANTIATE_TEST_SUITE_P(Kinds, TransformerGolden, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param; });

TEST(TorchvisionGolden, NamesAndOrdersAreThoseOfItsNetworks) {
  for (const auto& [kind, layout] : {std::pair{"torchvision_vit", WeightLayout::kVisionTransformerTorchvision},
                                     std::pair{"torchvision_swin", WeightLayout::kSwinTorchvision}}) {
    const Golden golden = open_transformer(kind);
    const WeightStore weights = formula_weights_of(layout, golden);
    EXPECT_TRUE(agrees(outputs_of(golden.config, weights, pictures_of(golden)), golden)) << kind;
  }
}

// A golden that a wrong network passes proves nothing. What the configuration and the weights cannot make wrong is
// tried where the goldens are made: shifts and masks, the form of GELU.
class WrongTransformer : public ::testing::TestWithParam<std::string> {
 protected:
  void expect_told_apart(const NetworkConfig& config, const WeightStore& weights, const std::string& what) {
    EXPECT_FALSE(agrees(outputs_of(config, weights, input_), golden_)) << what;
  }

  // The weights with every tensor whose name ends so changed: `change` gets it as a matrix, or as a vector.
  WeightStore with_changed(const std::string& ending, const std::function<torch::Tensor(torch::Tensor)>& change) const {
    WeightStore changed;
    int count = 0;
    for (const TensorSpec& spec : tensor_specs(golden_.config)) {
      const torch::Tensor tensor = to_torch(formula_tensor(spec, golden_.seed));
      const bool is_one = spec.name.ends_with(ending);
      changed.add(spec.name, from_torch(is_one ? change(tensor) : tensor));
      count += is_one ? 1 : 0;
    }
    EXPECT_GT(count, 0) << ending;
    return changed;
  }

  Golden golden_ = open_transformer(GetParam());
  torch::Tensor input_ = pictures_of(golden_);
  WeightStore weights_ = formula_weights(golden_.config, golden_.seed);
};

torch::Tensor in_order(const torch::Tensor& tensor, std::int64_t dim, const std::vector<std::size_t>& order) {
  const std::vector<torch::Tensor> parts = tensor.chunk(static_cast<std::int64_t>(order.size()), dim);
  std::vector<torch::Tensor> ordered;
  for (const std::size_t i : order) ordered.push_back(parts[i]);
  return torch::cat(ordered, dim);
}

TEST_P(WrongTransformer, WithAnotherOrderOfQueriesKeysAndValues) {
  const auto exchange = [](std::vector<std::size_t> order) {
    return [order](const torch::Tensor& tensor) { return in_order(tensor, 0, order); };
  };
  expect_told_apart(golden_.config, with_changed("attn.qkv.weight", exchange({1, 0, 2})), "k, q, v");
  expect_told_apart(golden_.config, with_changed("attn.qkv.weight", exchange({0, 2, 1})), "q, v, k");
}

TEST_P(WrongTransformer, WithAnotherEpsilonOrOtherHeads) {
  NetworkConfig config = golden_.config;
  if (auto* swin = std::get_if<SwinConfig>(&config)) {
    swin->norm_eps = 1e-6;
    expect_told_apart(config, weights_, "eps 1e-6");
    return;
  }
  auto& vit = std::get<VisionTransformerConfig>(config);
  vit.norm_eps = 1e-5;
  expect_told_apart(config, weights_, "eps 1e-5");
  vit.norm_eps = 1e-6;
  vit.heads = 1;
  expect_told_apart(config, weights_, "other heads");
}

class WrongSwin : public WrongTransformer {};

TEST_P(WrongSwin, WithAnotherMergingOrOtherPositions) {
  expect_told_apart(golden_.config,
                    with_changed("downsample.reduction.weight",
                                 [](const torch::Tensor& tensor) {
                                   return in_order(tensor, 1, {0, 2, 1, 3});
                                 }),
                    "merging along rows");
  expect_told_apart(
      golden_.config,
      with_changed("relative_position_bias_table", [](const torch::Tensor& table) { return table.flip(0); }),
      "offsets reversed");
}

class WrongVisionTransformer : public WrongTransformer {};

TEST_P(WrongVisionTransformer, WithOtherTokensBeforeThePatches) {
  const auto& config = std::get<VisionTransformerConfig>(golden_.config);
  expect_told_apart(golden_.config,
                    with_changed("pos_embed",
                                 [&](const torch::Tensor& positions) {
                                   torch::Tensor moved = positions.clone();
                                   moved.select(1, config.prefix_tokens() - 1).zero_();
                                   return moved;
                                 }),
                    "a prefix without its position");
  if (!config.distilled) return;
  VisionTransformerConfig plain = config;
  plain.distilled = false;
  expect_told_apart(plain,
                    with_changed("pos_embed",
                                 [](const torch::Tensor& positions) {
                                   return torch::cat({positions.slice(1, 0, 1), positions.slice(1, 2)}, 1);
                                 }),
                    "no distillation token");
}

const std::vector<std::string> kVisionTransformers = {"vit", "vit_resized", "deit_distilled"};
const std::vector<std::string> kSwins = {"swin", "swin_padded", "swin_of_32_pixels", "swin_window12"};

std::string kind_name(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(VisionTransformers, WrongTransformer, ::testing::ValuesIn(kVisionTransformers), kind_name);
INSTANTIATE_TEST_SUITE_P(Swins, WrongTransformer, ::testing::ValuesIn(kSwins), kind_name);
INSTANTIATE_TEST_SUITE_P(Kinds, WrongVisionTransformer, ::testing::ValuesIn(kVisionTransformers), kind_name);
INSTANTIATE_TEST_SUITE_P(Kinds, WrongSwin, ::testing::ValuesIn(kSwins), kind_name);

// The network that has position embeddings of the input's own grid, made by resizing once.
TEST(PositionEmbeddings, AreResizedAsByBicubicWithAntialiasAndNoOtherWay) {
  const Golden golden = open_transformer("vit_resized");
  const torch::Tensor input = pictures_of(golden);
  VisionTransformerConfig config = std::get<VisionTransformerConfig>(golden.config);
  const torch::Tensor positions =
      to_torch(formula_tensor({"pos_embed", {1, 197, config.dim}, TensorRole::kEmbedding}, golden.seed));
  set_input_size(config, input.size(2), input.size(3));

  namespace F = torch::nn::functional;
  const auto run_with = [&](F::InterpolateFuncOptions options) {
    options.size(std::vector<std::int64_t>{config.grid_height, config.grid_width}).align_corners(false);
    const torch::Tensor grid = positions.slice(1, 1).view({1, 14, 14, config.dim}).permute({0, 3, 1, 2});
    const torch::Tensor resized = F::interpolate(grid, options).permute({0, 2, 3, 1}).flatten(1, 2);
    WeightStore weights;
    for (const TensorSpec& spec : tensor_specs(config)) {
      const bool is_position = spec.name == "pos_embed";
      weights.add(spec.name, is_position ? from_torch(torch::cat({positions.slice(1, 0, 1), resized}, 1))
                                         : formula_tensor(spec, golden.seed));
    }
    return agrees(outputs_of(config, weights, input), golden);
  };
  EXPECT_TRUE(run_with(F::InterpolateFuncOptions().mode(torch::kBicubic).antialias(true)));
  EXPECT_FALSE(run_with(F::InterpolateFuncOptions().mode(torch::kBicubic)));
  EXPECT_FALSE(run_with(F::InterpolateFuncOptions().mode(torch::kBilinear).antialias(true)));
}

std::vector<RegistryEntry> registered_transformers() {
  std::vector<RegistryEntry> found;
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kVisionTransformer || entry.family == Family::kSwin) found.push_back(entry);
  }
  return found;
}

// Every width at its own, depth cut; a Swin keeps one block that shifts.
NetworkConfig cut(const RegistryEntry& entry) {
  const bool swin = entry.family == Family::kSwin;
  return of_any_size(
      with_overrides(entry.network, {.depths = swin ? std::vector{2, 1, 1, 1} : std::vector{1}, .classes = 7}));
}

class RegisteredTransformer : public ::testing::TestWithParam<RegistryEntry> {};

TEST_P(RegisteredTransformer, HasTheShapesFiniteOutputAndAGradientInEveryParameter) {
  const NetworkConfig config = cut(GetParam());
  const WeightStore weights = formula_weights(config, 5);
  const auto network = make_network(config, {.drop_path = 0.2});
  load_and_copy_back(*network, weights, config);

  // 64 pixels: a grid of 4x4 patches of 16, and maps of 16, 8, 4 and 2, which are longer than a window and shorter.
  const torch::Tensor pictures = to_torch(formula_input("input", {2, 3, 64, 64}, 5));
  network->train();
  const NetworkOutputs outputs = network->forward(pictures.contiguous(torch::MemoryFormat::ChannelsLast));
  EXPECT_EQ(outputs.logits.sizes(), (std::vector<std::int64_t>{2, 7}));
  EXPECT_EQ(outputs.pooled.sizes(), (std::vector<std::int64_t>{2, embedding_channels(config)}));
  const std::vector<MapShape> maps = stage_maps(config, 64, 64);
  ASSERT_EQ(outputs.stages.size(), maps.size());
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_EQ(outputs.stages[i].sizes(),
              (std::vector<std::int64_t>{2, maps[i].channels, maps[i].height, maps[i].width}))
        << "stage " << i;
  }
  EXPECT_TRUE(outputs.logits.isfinite().all().item<bool>());
  torch::log_softmax(outputs.logits, 1).select(1, 3).sum().backward();
  expect_gradients(*network);
}

INSTANTIATE_TEST_SUITE_P(Registry, RegisteredTransformer, ::testing::ValuesIn(registered_transformers()),
                         [](const auto& info) { return info.param.name; });

const NetworkConfig& small_vit() {
  static const NetworkConfig config =
      with_overrides(architecture("deit_tiny_distilled_patch16_224").network,
                     {.depths = std::vector{2}, .dims = std::vector{64}, .patch_size = 8, .classes = 5});
  return config;
}

const NetworkConfig& small_swin() {
  static const NetworkConfig config =
      of_any_size(with_overrides(architecture("swin_tiny_patch4_window7_224").network,
                                 {.depths = std::vector{2}, .dims = std::vector{32}, .classes = 5}));
  return config;
}

// Equal pictures through a last block whose branches are each kept for half of them.
TEST(TransformerDropPath, DropsTheTwoBranchesOfABlockIndependently) {
  for (const NetworkConfig& config : {small_vit(), small_swin()}) {
    const auto network = make_network(config, {.drop_path = 0.5});
    load_weights(*network, formula_weights(config, 2));
    network->train();
    torch::NoGradGuard no_grad;
    const torch::Tensor pictures = to_torch(formula_input("input", {1, 3, 32, 32}, 2)).expand({64, -1, -1, -1});
    const auto different = [&](std::optional<std::uint64_t> key) {
      const torch::Tensor pooled = network->forward(pictures, key).pooled;
      std::set<std::int64_t> values;
      for (std::int64_t i = 0; i < 64; ++i) {
        values.insert(std::llround(1e4 * pooled[i].abs().sum().item<double>()));
      }
      return values.size();
    };
    EXPECT_EQ(different(std::nullopt), 1u);
    EXPECT_EQ(different(11), 4u) << "both branches, either, none";
    EXPECT_TRUE(torch::equal(network->forward(pictures, 11).logits, network->forward(pictures, 11).logits));
    EXPECT_FALSE(torch::equal(network->forward(pictures, 11).logits, network->forward(pictures, 12).logits));
  }
}

TEST(TransformerInputs, ThatPatchesDoNotDivideAreRefused) {
  const auto refused = [](const NetworkConfig& config, int height, int width, const char* sides) {
    const auto network = make_network(config);
    expect_error(ErrorCode::kInvalidArgument, {fmt::format("{}x{}", height, width), sides}, [&] {
      network->forward(torch::zeros({1, 3, height, width}));
    });
  };
  refused(small_vit(), 30, 32, "24 or 32");
  refused(small_swin(), 32, 33, "32 or 36");
}

// An input that is not channels_last, of one picture, without a classifier, and of a side that is one patch.
TEST(TransformerInputs, OfEveryLayoutGiveTheSame) {
  for (NetworkConfig config : {small_vit(), small_swin()}) {
    set_class_count(config, 0);
    const auto network = make_network(config);
    load_weights(*network, formula_weights(config, 2));
    network->eval();
    torch::InferenceMode inference;
    const torch::Tensor pictures = to_torch(formula_input("input", {1, 3, 8, 56}, 2));
    const NetworkOutputs plain = network->forward(pictures);
    const NetworkOutputs last = network->forward(pictures.contiguous(torch::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(tensors_close(from_torch(last.logits), from_torch(plain.logits)));
    EXPECT_TRUE(torch::equal(plain.logits, plain.pooled));
  }
}

}  // namespace
}  // namespace convnext
