// ViT, DeiT and Swin as descriptions: what each registered one costs, the tensors it has, what it takes and refuses.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "expect_error.h"
#include "model/description.h"
#include "model/layout_names.h"
#include "model/registry.h"
#include "model/swin.h"
#include "model/tensors.h"
#include "model/vision_transformer.h"
#include "tests/golden.h"

namespace convnext {
namespace {

using testing::ElementsAre;

// timm 1.0.31: parameters to the unit; GMAC of convolutions and linears, and those with the two products of attention,
// at the size that the name says, counted by PyTorch's FlopCounterMode.
struct Published {
  const char* name;
  std::int64_t params;
  const char* gmac;
  const char* gmac_with_attention;
};

constexpr Published kPublished[] = {
    {"vit_tiny_patch16_224", 5'717'416, "1.075", "1.254"},
    {"vit_tiny_patch16_384", 5'790'376, "3.148", "4.682"},
    {"vit_small_patch16_224", 22'050'664, "4.241", "4.599"},
    {"vit_small_patch16_384", 22'196'584, "12.422", "15.490"},
    {"vit_base_patch16_224", 86'567'656, "16.849", "17.564"},
    {"vit_base_patch16_384", 86'859'496, "49.348", "55.484"},
    {"vit_large_patch16_224", 304'326'632, "59.647", "61.555"},
    {"vit_large_patch16_384", 304'715'752, "174.702", "191.066"},
    {"deit_tiny_patch16_224", 5'717'416, "1.075", "1.254"},
    {"deit_small_patch16_224", 22'050'664, "4.241", "4.599"},
    {"deit_base_patch16_224", 86'567'656, "16.849", "17.564"},
    {"deit_base_patch16_384", 86'859'496, "49.348", "55.484"},
    {"deit_tiny_distilled_patch16_224", 5'910'800, "1.080", "1.261"},
    {"deit_small_distilled_patch16_224", 22'436'432, "4.263", "4.624"},
    {"deit_base_distilled_patch16_224", 87'338'192, "16.934", "17.657"},
    {"deit_base_distilled_patch16_384", 87'630'032, "49.434", "55.591"},
    {"swin_tiny_patch4_window7_224", 28'288'354, "4.350", "4.491"},
    {"swin_small_patch4_window7_224", 49'606'258, "8.512", "8.741"},
    {"swin_base_patch4_window7_224", 87'768'224, "15.126", "15.431"},
    {"swin_base_patch4_window12_384", 87'903'584, "44.450", "47.083"},
    {"swin_large_patch4_window7_224", 196'532'476, "34.018", "34.476"},
    {"swin_large_patch4_window12_384", 196'735'516, "99.970", "103.919"},
};

TEST(TransformerCosts, AreTimmsToTheParameterAndToThePrintedDigit) {
  for (const Published& published : kPublished) {
    const RegistryEntry& entry = architecture(published.name);
    const std::string name(published.name);
    const int side = std::stoi(name.substr(name.rfind('_') + 1));
    EXPECT_EQ(entry.preprocessing.resolution, side) << name;
    const NetworkCost cost = count_cost(entry.network, side, side);
    EXPECT_EQ(cost.params, published.params) << name;
    EXPECT_EQ(fmt::format("{:.3f}", cost.gmac), published.gmac) << name;
    EXPECT_EQ(fmt::format("{:.3f}", cost.gmac + cost.gmac_attention), published.gmac_with_attention) << name;
  }
}

TEST(TransformerCosts, AreCheckedForEveryRegisteredTransformer) {
  std::set<std::string> registered, checked;
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kVisionTransformer || entry.family == Family::kSwin) registered.insert(entry.name);
  }
  for (const Published& published : kPublished) checked.insert(published.name);
  EXPECT_EQ(registered, checked);
}

// The network, which if it is a Swin takes any size that its patches divide.
NetworkConfig of_any_size(NetworkConfig config) {
  if (auto* swin = std::get_if<SwinConfig>(&config)) swin->pads_windows = true;
  return config;
}

TEST(TransformerCosts, HaveTheMapsOfEachStage) {
  const auto maps = [](const char* name, int side) {
    std::vector<std::string> shown;
    for (const MapShape& map : stage_maps(of_any_size(architecture(name).network), side, side)) {
      shown.push_back(fmt::format("{}x{}x{}", map.channels, map.height, map.width));
    }
    return shown;
  };
  EXPECT_THAT(maps("swin_tiny_patch4_window7_224", 224), ElementsAre("96x56x56", "192x28x28", "384x14x14", "768x7x7"));
  // An odd side is filled up before it is halved.
  EXPECT_THAT(maps("swin_tiny_patch4_window7_224", 100), ElementsAre("96x25x25", "192x13x13", "384x7x7", "768x4x4"));
  EXPECT_THAT(maps("deit_tiny_distilled_patch16_224", 224), ElementsAre("192x14x14"));
  EXPECT_EQ(embedding_channels(architecture("deit_tiny_distilled_patch16_224").network), 192);
  EXPECT_EQ(embedding_channels(architecture("swin_base_patch4_window7_224").network), 1024);
}

// The windows of an 8x8 map are those of 14x14; a map of 4x4 is one window.
TEST(TransformerCosts, CountWhatWindowsCompare) {
  const NetworkConfig swin = of_any_size(with_overrides(architecture("swin_tiny_patch4_window7_224").network,
                                                        {.depths = std::vector{1}, .dims = std::vector{32}}));
  EXPECT_DOUBLE_EQ(count_cost(swin, 32, 32).gmac_attention, 2 * 4 * 49 * 49 * 32 / 1e9);
  EXPECT_DOUBLE_EQ(count_cost(swin, 16, 16).gmac_attention, 2 * 16 * 16 * 32 / 1e9);
  EXPECT_DOUBLE_EQ(count_cost(swin, 28, 56).gmac_attention, 2 * 2 * 49 * 49 * 32 / 1e9);
}

TEST(TransformerTensors, AreTimmsNamesAndShapes) {
  const auto shapes = [](const char* name, NetworkOverrides overrides) {
    std::map<std::string, Shape> found;
    for (const TensorSpec& spec : tensor_specs(with_overrides(architecture(name).network, overrides))) {
      found[spec.name] = spec.shape;
    }
    return found;
  };
  // state_dict() of timm 1.0.31's networks of one block a stage.
  const auto deit = shapes("deit_tiny_distilled_patch16_224", {.depths = std::vector{1}});
  const std::map<std::string, Shape> expected_deit = {
      {"cls_token", {1, 1, 192}},
      {"pos_embed", {1, 198, 192}},
      {"dist_token", {1, 1, 192}},
      {"patch_embed.proj.weight", {192, 3, 16, 16}},
      {"patch_embed.proj.bias", {192}},
      {"blocks.0.norm1.weight", {192}},
      {"blocks.0.norm1.bias", {192}},
      {"blocks.0.attn.qkv.weight", {576, 192}},
      {"blocks.0.attn.qkv.bias", {576}},
      {"blocks.0.attn.proj.weight", {192, 192}},
      {"blocks.0.attn.proj.bias", {192}},
      {"blocks.0.norm2.weight", {192}},
      {"blocks.0.norm2.bias", {192}},
      {"blocks.0.mlp.fc1.weight", {768, 192}},
      {"blocks.0.mlp.fc1.bias", {768}},
      {"blocks.0.mlp.fc2.weight", {192, 768}},
      {"blocks.0.mlp.fc2.bias", {192}},
      {"norm.weight", {192}},
      {"norm.bias", {192}},
      {"head.weight", {1000, 192}},
      {"head.bias", {1000}},
      {"head_dist.weight", {1000, 192}},
      {"head_dist.bias", {1000}},
  };
  EXPECT_EQ(deit, expected_deit);

  const auto swin = shapes("swin_tiny_patch4_window7_224", {.depths = std::vector{1, 1}, .dims = std::vector{96, 192}});
  const std::map<std::string, Shape> expected_swin = {
      {"patch_embed.proj.weight", {96, 3, 4, 4}},
      {"patch_embed.proj.bias", {96}},
      {"patch_embed.norm.weight", {96}},
      {"patch_embed.norm.bias", {96}},
      {"layers.0.blocks.0.norm1.weight", {96}},
      {"layers.0.blocks.0.norm1.bias", {96}},
      {"layers.0.blocks.0.attn.relative_position_bias_table", {169, 3}},
      {"layers.0.blocks.0.attn.qkv.weight", {288, 96}},
      {"layers.0.blocks.0.attn.qkv.bias", {288}},
      {"layers.0.blocks.0.attn.proj.weight", {96, 96}},
      {"layers.0.blocks.0.attn.proj.bias", {96}},
      {"layers.0.blocks.0.norm2.weight", {96}},
      {"layers.0.blocks.0.norm2.bias", {96}},
      {"layers.0.blocks.0.mlp.fc1.weight", {384, 96}},
      {"layers.0.blocks.0.mlp.fc1.bias", {384}},
      {"layers.0.blocks.0.mlp.fc2.weight", {96, 384}},
      {"layers.0.blocks.0.mlp.fc2.bias", {96}},
      {"layers.1.downsample.norm.weight", {384}},
      {"layers.1.downsample.norm.bias", {384}},
      {"layers.1.downsample.reduction.weight", {192, 384}},
      {"layers.1.blocks.0.norm1.weight", {192}},
      {"layers.1.blocks.0.norm1.bias", {192}},
      {"layers.1.blocks.0.attn.relative_position_bias_table", {169, 6}},
      {"layers.1.blocks.0.attn.qkv.weight", {576, 192}},
      {"layers.1.blocks.0.attn.qkv.bias", {576}},
      {"layers.1.blocks.0.attn.proj.weight", {192, 192}},
      {"layers.1.blocks.0.attn.proj.bias", {192}},
      {"layers.1.blocks.0.norm2.weight", {192}},
      {"layers.1.blocks.0.norm2.bias", {192}},
      {"layers.1.blocks.0.mlp.fc1.weight", {768, 192}},
      {"layers.1.blocks.0.mlp.fc1.bias", {768}},
      {"layers.1.blocks.0.mlp.fc2.weight", {192, 768}},
      {"layers.1.blocks.0.mlp.fc2.bias", {192}},
      {"norm.weight", {192}},
      {"norm.bias", {192}},
      {"head.fc.weight", {1000, 192}},
      {"head.fc.bias", {1000}},
  };
  EXPECT_EQ(swin, expected_swin);
}

// Positions and tokens are no weights of a product: they are neither decayed nor scaled like one.
TEST(TransformerTensors, TellEmbeddingsFromWeights) {
  for (const char* name : {"deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224"}) {
    for (const TensorSpec& spec : tensor_specs(architecture(name).network)) {
      const bool embedding = !spec.name.ends_with(".weight") && !spec.name.ends_with(".bias");
      EXPECT_EQ(spec.role == TensorRole::kEmbedding, embedding) << spec.name;
      EXPECT_EQ(spec.is_classifier, spec.name.starts_with("head")) << spec.name;
    }
  }
}

// Every tensor of a file, by the shape that it has there, and the other way round.
void expect_layout(WeightLayout layout, const std::map<std::string, Shape>& file, const NetworkConfig& network) {
  std::map<std::string, Shape> own;
  for (const TensorSpec& spec : tensor_specs(network)) own[spec.name] = spec.shape;
  std::map<std::string, Shape> named;
  for (const auto& [key, shape] : file) {
    const std::optional<TensorName> name = own_name(layout, key);
    if (!name) {
      EXPECT_TRUE(is_known_extra(layout, key)) << key;
      continue;
    }
    named[name->name] = shape;
    const std::optional<TensorName> back = name_in(layout, name->name);
    EXPECT_EQ(back ? back->name : "", key);
  }
  EXPECT_EQ(named, own);
}

TEST(TransformerLayouts, OfTorchvisionHaveAllTensorsOfItsNetworks) {
  for (const auto& [file, layout] : {std::pair{"vit", WeightLayout::kVisionTransformerTorchvision},
                                     std::pair{"swin", WeightLayout::kSwinTorchvision}}) {
    const Golden golden = open_golden(fmt::format("vision_transformers/torchvision_{}.safetensors", file));
    const auto shapes = nlohmann::json::parse(golden.file.metadata().at("shapes")).get<std::map<std::string, Shape>>();
    expect_layout(layout, shapes, golden.config);
  }
}

// Microsoft's files keep two buffers that follow from the shapes.
TEST(TransformerLayouts, OfMicrosoftsSwinHaveAllTensorsOfItsNetworks) {
  const NetworkConfig network = with_overrides(architecture("swin_tiny_patch4_window7_224").network,
                                               {.depths = std::vector{2, 1}, .dims = std::vector{32, 64}});
  std::map<std::string, Shape> file;
  const auto layer = [&file](const std::string& name, std::int64_t out, std::int64_t in) {
    file[name + ".weight"] = {out, in};
    file[name + ".bias"] = {out};
  };
  const auto norm = [&file](const std::string& name, std::int64_t channels) {
    file[name + ".weight"] = {channels};
    file[name + ".bias"] = {channels};
  };
  file["patch_embed.proj.weight"] = {32, 3, 4, 4};
  file["patch_embed.proj.bias"] = {32};
  norm("patch_embed.norm", 32);
  for (const auto& [prefix, dim] : {std::pair{"layers.0.blocks.0.", 32}, std::pair{"layers.0.blocks.1.", 32},
                                    std::pair{"layers.1.blocks.0.", 64}}) {
    const std::string block(prefix);
    norm(block + "norm1", dim);
    file[block + "attn.relative_position_bias_table"] = {169, dim / 32};
    file[block + "attn.relative_position_index"] = {49, 49};
    layer(block + "attn.qkv", 3 * dim, dim);
    layer(block + "attn.proj", dim, dim);
    norm(block + "norm2", dim);
    layer(block + "mlp.fc1", 4 * dim, dim);
    layer(block + "mlp.fc2", dim, 4 * dim);
  }
  file["layers.0.blocks.1.attn_mask"] = {64, 49, 49};
  file["layers.0.downsample.reduction.weight"] = {64, 128};
  norm("layers.0.downsample.norm", 128);
  norm("norm", 64);
  layer("head", 1000, 64);
  expect_layout(WeightLayout::kSwinMicrosoft, file, network);
}

TEST(TransformerOverrides, KeepTheWidthOfHeads) {
  const NetworkConfig swin = with_overrides(architecture("swin_base_patch4_window7_224").network,
                                            {.depths = std::vector{1, 2, 1}, .dims = std::vector{16, 64, 96}});
  EXPECT_THAT(std::get<SwinConfig>(swin).heads, ElementsAre(1, 2, 3));
  const NetworkConfig vit =
      with_overrides(architecture("vit_base_patch16_224").network, {.dims = std::vector{128}, .patch_size = 8});
  EXPECT_EQ(std::get<VisionTransformerConfig>(vit).heads, 2);
  EXPECT_EQ(std::get<VisionTransformerConfig>(vit).grid_height, 28) << "of the same pictures";
}

TEST(TransformerOverrides, ThatNoSuchNetworkHasAreRefused) {
  const auto refused = [](const char* name, NetworkOverrides overrides, std::initializer_list<std::string> words) {
    expect_error(ErrorCode::kInvalidArgument, words, [&] { with_overrides(architecture(name).network, overrides); });
  };
  refused("vit_tiny_patch16_224", {.kernel_sizes = std::vector{7}}, {"kernel_sizes", "patch_size"});
  refused("vit_tiny_patch16_224", {.depths = std::vector{2, 2}}, {"depths", "2,2", "one stage"});
  refused("vit_tiny_patch16_224", {.dims = std::vector{100}}, {"100", "64"});
  refused("vit_tiny_patch16_224", {.patch_size = 0}, {"patch_size", "0"});
  refused("swin_tiny_patch4_window7_224", {.kernel_sizes = std::vector{7}}, {"kernel_sizes", "patch_size"});
  refused("swin_tiny_patch4_window7_224", {.depths = std::vector{2, 2}}, {"dims", "2 stages"});
  refused("swin_tiny_patch4_window7_224", {.dims = std::vector{32, 64, 100, 128}}, {"100", "32"});
  refused("swin_tiny_patch4_window7_224", {.classes = -1}, {"classes", "-1"});
}

TEST(TransformerConfigs, ThatCannotExistAreRefused) {
  const auto refused = [](NetworkConfig config, std::initializer_list<std::string> words) {
    expect_error(ErrorCode::kInvalidArgument, words, [&] { validate(config); });
  };
  VisionTransformerConfig vit;
  vit.heads = 5;
  refused(vit, {"192", "5 heads"});
  vit.heads = 0;
  refused(vit, {"192", "0 heads"});
  vit = {};
  vit.grid_width = 0;
  refused(vit, {"grid_width", "0"});
  vit = {};
  vit.norm_eps = 0;
  refused(vit, {"norm_eps"});
  SwinConfig swin;
  swin.heads = {3, 6, 12};
  refused(swin, {"heads", "3,6,12", "4 stages"});
  swin = {};
  swin.windows = {7, 7, 65, 7};
  refused(swin, {"windows", "65"});
  swin = {};
  swin.windows = {7, 7, 7};
  refused(swin, {"windows", "4 stages"});
  swin = {};
  swin.depths = {};
  refused(swin, {"stages"});
}

TEST(InputSizes, ThatWindowsDoNotDivideAreRefusedWithThoseThatTheyDo) {
  const NetworkConfig& swin = architecture("swin_tiny_patch4_window7_224").network;
  expect_error(ErrorCode::kInvalidArgument, {"256x224", "map of 64", "7x7", "height", "224 or 448"},
               [&] { count_cost(swin, 256, 224); });
  expect_error(ErrorCode::kInvalidArgument, {"224x100", "map of 25", "width", "56 or 112"},
               [&] { count_cost(swin, 224, 100); });
  const NetworkConfig& large = architecture("swin_base_patch4_window12_384").network;
  EXPECT_GT(count_cost(large, 384, 384).gmac, 0);
  expect_error(ErrorCode::kInvalidArgument, {"392x392", "12x12"}, [&] { count_cost(large, 392, 392); });
  for (const int side : {4, 28, 56, 112, 224, 448}) EXPECT_GT(count_cost(swin, side, side).gmac, 0) << side;
  EXPECT_GT(count_cost(of_any_size(swin), 256, 256).gmac, 0);
}

TEST(InputSizes, ThatPatchesDoNotDivideAreRefusedWithThoseThatTheyDo) {
  const auto refused = [](const char* name, int height, int width, std::initializer_list<std::string> words) {
    expect_error(ErrorCode::kInvalidArgument, words, [&] { count_cost(architecture(name).network, height, width); });
  };
  refused("vit_tiny_patch16_224", 224, 230, {"224x230", "16x16", "width", "224 or 240"});
  refused("swin_tiny_patch4_window7_224", 226, 224, {"226x224", "4x4", "height", "224 or 228"});
  refused("swin_tiny_patch4_window7_224", 3, 224, {"3x224", "height", "4"});
  refused("vit_tiny_patch16_224", 0, 224, {"0x224", "height", "16"});

  VisionTransformerConfig config;
  expect_error(ErrorCode::kInvalidArgument, {"100x96", "96 or 112"}, [&] { set_input_size(config, 100, 96); });
  set_input_size(config, 32, 96);
  EXPECT_EQ(config.grid_height, 2);
  EXPECT_EQ(config.grid_width, 6);
}

// timm 1.0.31: create_model("swin_tiny_patch4_window7_224", img_size=side), the windows of its blocks.
TEST(InputSizes, OfASwinMakeItsWindowsNoLargerThanItsMaps) {
  const auto built_for = [](const char* name, int side) {
    SwinConfig config = std::get<SwinConfig>(architecture(name).network);
    set_input_size(config, side);
    return config;
  };
  const auto shown = [&](const char* name, int side) {
    const SwinConfig config = built_for(name, side);
    const auto size = input_size_of_windows(config);
    return fmt::format("{}, {}, for {}", fmt::join(config.windows, " "), config.pads_windows ? "padded" : "divided",
                       size ? std::to_string(*size) : "any");
  };
  const char* const tiny = "swin_tiny_patch4_window7_224";
  EXPECT_EQ(shown(tiny, 32), "7 4 2 1, padded, for 32");
  EXPECT_EQ(shown(tiny, 64), "7 7 4 2, padded, for 64");
  EXPECT_EQ(shown(tiny, 56), "7 7 4 2, divided, for 64") << "which has the same windows";
  EXPECT_EQ(shown(tiny, 16), "4 2 1 1, divided, for 16");
  EXPECT_EQ(shown(tiny, 224), "7 7 7 7, divided, for any");
  EXPECT_EQ(shown(tiny, 256), "7 7 7 7, padded, for any");
  EXPECT_EQ(shown("swin_base_patch4_window12_384", 96), "12 12 6 3, divided, for 96");
  EXPECT_EQ(built_for(tiny, 224), std::get<SwinConfig>(architecture(tiny).network));
  EXPECT_NO_THROW(check_input_size(built_for(tiny, 64), 64, 64));
  expect_error(ErrorCode::kInvalidArgument, {"30x30", "28 or 32"}, [&] { built_for(tiny, 30); });

  // Windows that no size of pictures makes.
  SwinConfig config;
  config.windows = {7, 5, 7, 7};
  EXPECT_FALSE(input_size_of_windows(config));

  std::vector<std::int64_t> rows;
  for (const TensorSpec& spec : tensor_specs(NetworkConfig(built_for(tiny, 64)))) {
    if (spec.name.ends_with("blocks.0.attn.relative_position_bias_table")) rows.push_back(spec.shape[0]);
  }
  EXPECT_THAT(rows, ElementsAre(169, 169, 49, 9));
}

TEST(WindowGrid, IsTimmsForMapsThatAWindowDividesAndForOthers) {
  const auto shown = [](int window, int height, int width) {
    const WindowGrid grid = window_grid(window, height, width);
    return fmt::format("{}x{} of {}x{}, shift {} {}", grid.rows, grid.columns, grid.window_height, grid.window_width,
                       grid.shift_y, grid.shift_x);
  };
  EXPECT_EQ(shown(7, 56, 28), "8x4 of 7x7, shift 3 3");
  EXPECT_EQ(shown(7, 14, 7), "2x1 of 7x7, shift 3 0");
  EXPECT_EQ(shown(7, 4, 2), "1x1 of 4x2, shift 0 0");
  EXPECT_EQ(shown(7, 25, 8), "4x2 of 7x7, shift 3 3");
  EXPECT_EQ(shown(12, 24, 13), "2x2 of 12x12, shift 6 6");
}

}  // namespace
}  // namespace convnext
