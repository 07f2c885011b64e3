// RegNet and EfficientNet as they are described: what they cost, what their tensors are called, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "model/card.h"
#include "model/description.h"
#include "model/layout_names.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "model/width_rounding.h"
#include "tests/expect_error.h"
#include "tests/golden.h"

namespace convnext {
namespace {

struct Counted {
  const char* name;
  std::int64_t params;
  int resolution;    // of timm's pretrained_cfg, or of torchvision's weights
  const char* gmac;  // of convolutions and linears at that resolution
};

// Counted from the modules of timm 1.0.31, and of torchvision 0.29 where timm has no such network.
constexpr Counted kCounted[] = {
    {"regnetx_040", 22'118'248, 224, "3.964498816"},
    {"regnetx_080", 39'572'648, 224, "7.995132416"},
    {"regnetx_160", 54'278'536, 224, "15.940755456"},
    {"regnety_032", 19'436'338, 224, "3.176482752"},
    {"regnety_040", 20'646'656, 224, "3.973288448"},
    {"regnety_080", 39'180'068, 224, "7.963057312"},
    {"regnety_080_tv", 39'381'472, 224, "8.473070592"},
    {"regnety_160", 83'590'140, 224, "15.911510272"},
    {"regnety_320", 145'046'770, 224, "32.279552832"},
    {"efficientnet_b0", 5'288'548, 224, "0.385814752"},
    {"efficientnet_b1", 7'794'184, 240, "0.686802832"},
    {"efficientnet_b2", 9'109'994, 256, "0.859853760"},
    {"efficientnet_b3", 12'233'232, 288, "1.589198096"},
    {"efficientnet_b4", 19'341'616, 320, "3.063687008"},
    {"efficientnet_b5", 30'389'784, 448, "9.404374080"},
    {"efficientnet_b6", 43'040'704, 528, "19.067593536"},
    {"efficientnet_b7", 66'347'960, 600, "37.745884192"},
    {"tf_efficientnet_b0", 5'288'548, 224, "0.385814752"},
    {"tf_efficientnet_b1", 7'794'184, 240, "0.686802832"},
    {"tf_efficientnet_b2", 9'109'994, 260, "0.993561872"},
    {"tf_efficientnet_b3", 12'233'232, 300, "1.827141392"},
    {"tf_efficientnet_b4", 19'341'616, 380, "4.393771024"},
    {"tf_efficientnet_b5", 30'389'784, 456, "10.266384752"},
    {"tf_efficientnet_b6", 43'040'704, 528, "19.067593536"},
    {"tf_efficientnet_b7", 66'347'960, 600, "37.745884192"},
    {"efficientnet_b5_tv", 30'389'784, 456, "10.266384752"},
    {"efficientnet_b6_tv", 43'040'704, 528, "19.067593536"},
    {"efficientnet_b7_tv", 66'347'960, 600, "37.745884192"},
    {"efficientnetv2_s", 21'458'488, 288, "4.707823040"},
    {"efficientnetv2_m", 54'139'356, 320, "10.931712384"},
    {"efficientnetv2_l", 118'515'272, 384, "35.899418624"},
    {"efficientnetv2_xl", 208'119'808, 384, "52.529254400"},
    {"tf_efficientnetv2_s", 21'458'488, 300, "5.308"},
    {"tf_efficientnetv2_m", 54'139'356, 384, "15.737"},
    {"tf_efficientnetv2_l", 118'515'272, 384, "35.899418624"},
    {"tf_efficientnetv2_xl", 208'119'808, 384, "52.529254400"},
    {"efficientnet_v2_s", 21'458'488, 384, "8.365617152"},
    {"efficientnet_v2_m", 54'139'356, 480, "24.582460384"},
    {"efficientnet_v2_l", 118'515'272, 480, "56.079699008"},
};

// The value with as many decimals as the text has.
std::string as_printed(double value, std::string_view text) {
  return fmt::format("{:.{}f}", value, text.size() - text.find('.') - 1);
}

class RegNetOrEfficientNet : public testing::TestWithParam<Counted> {};

TEST_P(RegNetOrEfficientNet, CostsWhatTimmsCosts) {
  const Counted& counted = GetParam();
  const RegistryEntry& entry = architecture(counted.name);
  EXPECT_EQ(entry.preprocessing.resolution, counted.resolution);
  const NetworkCost cost = count_cost(entry.network, counted.resolution, counted.resolution);
  EXPECT_EQ(cost.params, counted.params);
  EXPECT_EQ(as_printed(cost.gmac, counted.gmac), counted.gmac);
  std::int64_t in_tensors = 0;
  for (const TensorSpec& spec : tensor_specs(entry.network)) {
    if (is_parameter(spec.role)) in_tensors += element_count(spec.shape);
  }
  EXPECT_EQ(in_tensors, counted.params);
}

TEST_P(RegNetOrEfficientNet, CardKeepsEveryField) {
  const RegistryEntry& entry = architecture(GetParam().name);
  Card card;
  card.architecture = entry.name;
  card.preprocessing = entry.preprocessing;
  // Every field differs from the registered one where it can: a card only writes what does.
  card.network = std::holds_alternative<RegNetConfig>(entry.network)
                     ? NetworkConfig(RegNetConfig{.depths = {1, 2},
                                                  .dims = {24, 48},
                                                  .stem_width = 20,
                                                  .group_width = 12,
                                                  .se_ratio = 0.5,
                                                  .input_channels = 2,
                                                  .classes = 7})
                     : NetworkConfig(EfficientNetConfig{
                           .blocks = {EfficientNetBlock::kConvolution, EfficientNetBlock::kFusedInverted,
                                      EfficientNetBlock::kDepthwiseSeparable, EfficientNetBlock::kInverted},
                           .depths = {1, 2, 1, 3},
                           .dims = {8, 16, 24, 40},
                           .kernel_sizes = {5, 3, 7, 9},
                           .strides = {2, 1, 2, 1},
                           .expansions = {1, 3, 1, 5},
                           .se_ratios = {0.0, 0.125, 0.0, 0.5},
                           .stem_width = 12,
                           .head_width = 99,
                           .same_padding = !std::get<EfficientNetConfig>(entry.network).same_padding,
                           .norm_eps = 1e-4,
                           .input_channels = 2,
                           .classes = 7});
  EXPECT_EQ(card_from_json(card_to_json(card), "a card").network, card.network);
  card.network = entry.network;
  EXPECT_EQ(card_from_json(card_to_json(card), "a card").network, entry.network);
}

INSTANTIATE_TEST_SUITE_P(Registry, RegNetOrEfficientNet, testing::ValuesIn(kCounted),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RegNetAndEfficientNet, EveryRegisteredNameIsCounted) {
  std::vector<std::string> registered, counted;
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kRegNet || entry.family == Family::kEfficientNet) registered.push_back(entry.name);
  }
  for (const Counted& one : kCounted) counted.emplace_back(one.name);
  EXPECT_THAT(counted, testing::UnorderedElementsAreArray(registered));
}

const RegNetConfig& regnet(std::string_view name) { return std::get<RegNetConfig>(architecture(name).network); }

const EfficientNetConfig& efficientnet(std::string_view name) {
  return std::get<EfficientNetConfig>(architecture(name).network);
}

TEST(RegNet, WidthsAndDepthsFollowFromTheLine) {
  EXPECT_THAT(regnet("regnetx_080").dims, testing::ElementsAre(80, 240, 720, 1920));
  EXPECT_THAT(regnet("regnetx_080").depths, testing::ElementsAre(2, 5, 15, 1));
  EXPECT_THAT(regnet("regnetx_160").dims, testing::ElementsAre(256, 512, 896, 2048));
  EXPECT_THAT(regnet("regnety_032").dims, testing::ElementsAre(72, 216, 576, 1512));
  EXPECT_THAT(regnet("regnety_320").depths, testing::ElementsAre(2, 5, 12, 1));
}

// 192 to a multiple of 56: timm takes the nearest, torchvision none that is more than a tenth below.
TEST(RegNet, TorchvisionRoundsTheFirstWidthOfY8gfUp) {
  EXPECT_EQ(regnet("regnety_080").dims.front(), 168);
  EXPECT_EQ(regnet("regnety_080_tv").dims.front(), 224);
  EXPECT_EQ(rounded_width(192, 56), 224);
  EXPECT_EQ(rounded_width(32 * 1.1), 32);
  EXPECT_EQ(rounded_width(3), 8);
}

TEST(EfficientNet, ScalesWidthsAndDepths) {
  EXPECT_THAT(efficientnet("efficientnet_b4").dims, testing::ElementsAre(24, 32, 56, 112, 160, 272, 448));
  EXPECT_THAT(efficientnet("efficientnet_b4").depths, testing::ElementsAre(2, 4, 4, 6, 6, 8, 2));
  EXPECT_THAT(efficientnet("efficientnet_b7").dims, testing::ElementsAre(32, 48, 80, 160, 224, 384, 640));
  EXPECT_EQ(efficientnet("efficientnet_b7").stem_width, 64);
  EXPECT_EQ(efficientnet("efficientnet_b3").head_width, 1536);
}

TEST(EfficientNet, NamesTellPaddingAndEpsilon) {
  const auto is = [](std::string_view name, bool same_padding, double eps) {
    EXPECT_EQ(efficientnet(name).same_padding, same_padding) << name;
    EXPECT_EQ(efficientnet(name).norm_eps, eps) << name;
  };
  is("efficientnet_b0", false, 1e-5);
  is("efficientnet_b5", false, 1e-5);
  is("efficientnet_b5_tv", false, 1e-3);
  is("tf_efficientnet_b0", true, 1e-3);
  is("efficientnetv2_s", false, 1e-5);
  is("efficientnet_v2_s", false, 1e-3);
  is("tf_efficientnetv2_xl", true, 1e-3);
}

// ceil(side / 2) at every stride, whatever the kernel.
TEST(EfficientNet, MapsOfOddInputsAreRoundedUp) {
  for (const char* name : {"efficientnet_b0", "tf_efficientnet_b0"}) {
    const std::vector<MapShape> maps = stage_maps(architecture(name).network, 47, 38);
    ASSERT_EQ(maps.size(), 7u);
    const std::int64_t heights[] = {24, 12, 6, 3, 3, 2, 2}, widths[] = {19, 10, 5, 3, 3, 2, 2};
    for (std::size_t i = 0; i < maps.size(); ++i) {
      EXPECT_EQ(maps[i].height, heights[i]) << name << " stage " << i;
      EXPECT_EQ(maps[i].width, widths[i]) << name << " stage " << i;
    }
    EXPECT_EQ(maps.back().channels, 320);
    EXPECT_EQ(embedding_channels(architecture(name).network), 1280);
  }
}

// A quarter of the channels that enter the block, whatever leaves it and however wide it is inside.
TEST(SqueezeAndExcitation, IsAsWideAsAQuarterOfTheInput) {
  const auto squeezed = [](const NetworkConfig& config, std::string_view name) {
    for (const LayerSpec& layer : layer_specs(config)) {
      if (layer.name == name) return layer.out_channels;
    }
    return -1;
  };
  const NetworkConfig& y = architecture("regnety_040").network;
  EXPECT_EQ(squeezed(y, "s1.b1.se.fc1"), 8);
  EXPECT_EQ(squeezed(y, "s2.b1.se.fc1"), 32);
  EXPECT_EQ(squeezed(y, "s2.b2.se.fc1"), 48);
  EXPECT_EQ(squeezed(architecture("regnetx_040").network, "s1.b1.se.fc1"), -1);
  const NetworkConfig& b0 = architecture("efficientnet_b0").network;
  EXPECT_EQ(squeezed(b0, "blocks.0.0.se.conv_reduce"), 8);
  EXPECT_EQ(squeezed(b0, "blocks.1.0.se.conv_reduce"), 4);
  EXPECT_EQ(squeezed(b0, "blocks.1.1.se.conv_reduce"), 6);
  // 10.5 goes to the even neighbour, as in Python.
  const NetworkConfig halves = with_overrides(y, {.dims = std::vector{42, 64, 128, 192}});
  EXPECT_EQ(squeezed(halves, "s1.b2.se.fc1"), 10);
}

TEST(RegNetAndEfficientNet, OverridesReplaceWhatAFamilyHas) {
  const NetworkConfig y =
      with_overrides(architecture("regnety_040").network,
                     {.depths = std::vector{1, 1}, .dims = std::vector{32, 128}, .classes = 10, .input_channels = 1});
  EXPECT_EQ(std::get<RegNetConfig>(y).stages(), 2);
  EXPECT_EQ(class_count(y), 10);
  EXPECT_EQ(input_channels(y), 1);
  const NetworkConfig b0 = with_overrides(architecture("efficientnet_b0").network, {.kernel_sizes = std::vector{7}});
  EXPECT_THAT(std::get<EfficientNetConfig>(b0).kernel_sizes, testing::Each(7));
}

TEST(RegNetAndEfficientNet, OverridesThatDoNotFitAreRefusedByName) {
  const auto refuses = [](std::string_view name, const NetworkOverrides& overrides,
                          std::initializer_list<std::string> texts) {
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { with_overrides(architecture(name).network, overrides); });
  };
  refuses("regnety_040", {.patch_size = 4}, {"patch size", "RegNet"});
  refuses("regnety_040", {.kernel_sizes = std::vector{5}}, {"kernel size", "RegNet"});
  refuses("regnety_040", {.dims = std::vector{64, 128, 200, 256}}, {"200", "64"});
  refuses("regnety_040", {.depths = std::vector{1, 1}}, {"dims has 4 values", "2 stages"});
  refuses("regnety_040", {.classes = -1}, {"classes is -1"});
  refuses("efficientnet_b0", {.patch_size = 2}, {"patch size", "EfficientNet"});
  refuses("efficientnet_b0", {.depths = std::vector{1, 1, 1, 1}}, {"depths has 4 values", "7 stages"});
  refuses("efficientnet_b0", {.kernel_sizes = std::vector{4}}, {"kernel_sizes holds 4", "odd"});
}

TEST(EfficientNet, BlocksRefuseWhatTheyDoNotHave) {
  const auto refuses = [](const EfficientNetConfig& config, std::initializer_list<std::string> texts) {
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { validate(config); });
  };
  EfficientNetConfig config = efficientnet("efficientnetv2_s");
  config.expansions[0] = 4;
  refuses(config, {"expansions", "stage 0", "convolution"});
  config = efficientnet("efficientnetv2_s");
  config.se_ratios[0] = 0.25;
  refuses(config, {"se_ratios", "stage 0", "convolution"});
  config = efficientnet("efficientnet_b0");
  config.strides[2] = 3;
  refuses(config, {"strides is 3"});
  config = efficientnet("efficientnet_b0");
  config.se_ratios.pop_back();
  refuses(config, {"se_ratios has 6 values", "7 stages"});
  config = efficientnet("efficientnet_b0");
  config.norm_eps = 0;
  refuses(config, {"norm_eps is 0"});
}

TEST(EfficientNet, CardWithAnUnknownBlockIsRefused) {
  expect_error(ErrorCode::kUnsupported, {"blocks", "ghost"}, [] {
    card_from_json(R"({"architecture": "efficientnet_b0", "network": {"blocks": ["ghost"]}})", "a card");
  });
}

// torchvision_names.json comes from torchvision's own networks, with timm's weights under these names and its logits.
TEST(RegNetAndEfficientNet, TensorsHaveTorchvisionsNames) {
  std::ifstream in(golden_path("regnets_and_efficientnets/torchvision_names.json"));
  const nlohmann::json golden = nlohmann::json::parse(in);
  for (const auto& network : golden.at("networks")) {
    const std::string name = network.at("architecture");
    const WeightLayout layout = name.starts_with("regnet")           ? WeightLayout::kRegNetTorchvision
                                : name.starts_with("efficientnetv2") ? WeightLayout::kEfficientNetV2Torchvision
                                                                     : WeightLayout::kEfficientNetTorchvision;
    const auto& overrides = network.at("overrides");
    const NetworkConfig config =
        with_overrides(architecture(name).network, {.depths = overrides.at("depths").get<std::vector<int>>(),
                                                    .dims = overrides.at("dims").get<std::vector<int>>(),
                                                    .classes = overrides.at("classes").get<int>()});
    std::map<std::string, Shape> ours;
    for (const TensorSpec& spec : tensor_specs(config)) ours[spec.name] = spec.shape;
    EXPECT_EQ(network.at("tensors").size(), ours.size()) << name;
    for (const auto& tensor : network.at("tensors")) {
      const std::string theirs = tensor[0], own = tensor[1];
      const std::optional<TensorName> found = own_name(layout, theirs);
      ASSERT_TRUE(found) << name << ": " << theirs;
      EXPECT_EQ(found->name, own) << theirs;
      EXPECT_EQ(ours[own], tensor[2].get<Shape>()) << own;
    }
  }
}

}  // namespace
}  // namespace convnext
