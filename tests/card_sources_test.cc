// Cards for weights that bring none of ours: JSON files of timm, transformers and OpenCLIP, names of files, and
// nothing.
#include "model/card_sources.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "convnext/image.h"
#include "engine/backend.h"
#include "expect_error.h"
#include "golden.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/formula.h"
#include "model/imagenet_labels.h"
#include "model/published.h"
#include "model/registry.h"
#include "temporary_folder.h"
#include "tests/layout_networks.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

// What the tensors of a file of this network tell: no eps, no activation.
ConvNextConfig seen(std::string_view name, int classes) {
  ConvNextConfig network = registered_convnext(name);
  network.classes = classes;
  network.norm_eps = 1e-6;
  network.activation = Activation::kGelu;
  return network;
}

// The same of any family: of the others tensors and names of tensors tell the registered network.
NetworkConfig seen_of(const RegistryEntry& entry, int classes) {
  if (std::holds_alternative<ConvNextConfig>(entry.network)) return seen(entry.name, classes);
  NetworkConfig network = entry.network;
  set_class_count(network, classes);
  return network;
}

// The networks of tests/goldens/cards.
ConvNextConfig small(std::string_view name, int classes) {
  ConvNextConfig network = seen(name, classes);
  network.depths = {1, 1, 1, 1};
  network.dims = {8, 16, 24, 32};
  return network;
}

class CardSources : public testing::Test {
 protected:
  // A file of weights under this name; only its name and its neighbours matter.
  fs::path weights(std::string_view name = "model.safetensors") {
    fs::create_directories((folder_ / name).parent_path());
    return folder_ / name;
  }
  void config(const std::string& text) { folder_.write("config.json", text); }
  void processor(const std::string& text) { folder_.write("preprocessor_config.json", text); }
  FoundCard find(const NetworkConfig& network, std::string_view architecture = {}) {
    return find_card(weights(), network, architecture);
  }
  static FoundCard find_golden(const std::string& folder, const ConvNextConfig& network) {
    return find_card(golden_path("cards/" + folder) / "model.safetensors", network, {});
  }

  TemporaryFolder folder_;
};

const ConvNextConfig& network_of(const FoundCard& found) { return std::get<ConvNextConfig>(found.card.network); }

// timm.

TEST_F(CardSources, TimmsConfigGivesWhatTimmMakesOfIt) {
  const json expected = json::parse(read_text(golden_path("cards/expected.json")));
  const std::map<std::string, ConvNextConfig> networks = {{"timm/plain", small("convnext_tiny", 3)},
                                                          {"timm/synsets", small("convnext_atto", 2)},
                                                          {"timm/eps", small("convnext_xxlarge", 5)},
                                                          {"timm/activation", small("test_convnext3", 5)}};
  for (const auto& [folder, network] : networks) {
    SCOPED_TRACE(folder);
    const FoundCard found = find_golden(folder, network);
    const Preprocessing& p = found.card.preprocessing;
    const json& want = expected[folder];
    EXPECT_EQ(found.card.architecture, want["architecture"]);
    EXPECT_EQ(p.resolution, want["resolution"]);
    EXPECT_EQ(p.mean, (want["mean"].get<std::array<float, 3>>()));
    EXPECT_EQ(p.std, (want["std"].get<std::array<float, 3>>()));
    EXPECT_EQ(name_of(p.interpolation), want["interpolation"]);
    EXPECT_EQ(p.crop_fraction, want["crop_fraction"].get<double>());
    EXPECT_EQ(name_of(p.crop_mode), want["crop_mode"]);
    EXPECT_EQ(network_of(found).norm_eps, want["norm_eps"].get<double>());
    EXPECT_EQ(found.origins.at("resolution"), "config.json, 'pretrained_cfg'");
    EXPECT_THAT(found.notes, IsEmpty());
  }
}

// Of the families that are built for pictures of one size, and of one whose eps timm lets people choose.
TEST_F(CardSources, TimmsConfigOfAnotherFamilyGivesTheNetworkThatTimmBuilds) {
  const json expected = json::parse(read_text(golden_path("cards/expected_compared.json")));
  ASSERT_EQ(expected.size(), 8u);
  for (const auto& [name, timm] : expected.items()) {
    SCOPED_TRACE(name);
    NetworkConfig network = architecture(timm["architecture"].get<std::string>()).network;
    set_class_count(network, 3);
    const fs::path folder = golden_path("cards/timm_compared") / name;
    const FoundCard found = find_card(folder / "model.safetensors", network, {});
    EXPECT_EQ(found.card.architecture, timm["architecture"]);
    EXPECT_EQ(found.card.preprocessing.resolution, timm["resolution"]);
    if (const auto* swin = std::get_if<SwinConfig>(&found.card.network)) {
      EXPECT_EQ(swin->pads_windows, timm["pads_windows"]);
      EXPECT_THAT(found.origins.at("pads_windows"), StartsWith("config.json"));
      EXPECT_NO_THROW(check_input_size(*swin, timm["resolution"], timm["resolution"]));
    }
    if (const auto* efficientnet = std::get_if<EfficientNetConfig>(&found.card.network)) {
      EXPECT_EQ(efficientnet->norm_eps, timm["norm_eps"]);
    }
    // And back: what timm reads the size, the ends and the eps from is as timm writes it.
    const json theirs = json::parse(read_text(folder / "config.json"));
    const json ours = json::parse(timm_config_json(found.card));
    for (const char* key : {"input_size", "fixed_input_size", "first_conv", "classifier", "num_classes"}) {
      EXPECT_EQ(ours["pretrained_cfg"][key], theirs["pretrained_cfg"][key]) << key;
    }
    EXPECT_EQ(ours.value("/model_args/bn_eps"_json_pointer, json()),
              theirs.value("/model_args/bn_eps"_json_pointer, json()));
    config(ours.dump());
    const FoundCard back = find(network);
    EXPECT_EQ(back.card.network, found.card.network);
    EXPECT_EQ(back.card.preprocessing, found.card.preprocessing);
  }
}

// What timm's own networks do not take changes nothing silently, and what they do take and we do not is refused.
TEST_F(CardSources, TimmsArgumentsOfAnotherFamilyThatAreNotReadAreRefused) {
  const auto expect_refused = [this](const char* name, const char* arguments, ErrorCode code, const char* key) {
    SCOPED_TRACE(arguments);
    config(fmt::format(R"({{"architecture": "{}", "model_args": {}}})", name, arguments));
    expect_error(code, {"config.json", key}, [&] { find(seen_of(architecture(name), 3)); });
  };
  const char* const swin = "swin_tiny_patch4_window7_224";
  expect_refused("resnet50", R"({"bn_eps": 0.001})", ErrorCode::kUnsupported, "bn_eps");
  expect_refused("resnet50", R"({"img_size": 256})", ErrorCode::kUnsupported, "img_size");
  expect_refused("resnet50", R"({"global_pool": "max"})", ErrorCode::kUnsupported, "'max'");
  expect_refused("regnety_040", R"({"window_size": 7})", ErrorCode::kUnsupported, "window_size");
  expect_refused("deit_tiny_patch16_224", R"({"global_pool": "avg"})", ErrorCode::kUnsupported, "'token'");
  expect_refused("deit_tiny_patch16_224", R"({"img_size": [224, 256]})", ErrorCode::kUnsupported, "img_size");
  expect_refused(swin, R"({"window_size": 12, "img_size": 384})", ErrorCode::kMismatch, "window_size");
  config(
      R"({"architecture": "resnet50", "model_args": {"drop_rate": 0.2, "drop_path_rate": 0.1, "global_pool": "avg"}})");
  EXPECT_EQ(find(seen_of(architecture("resnet50"), 3)).card.architecture, "resnet50");
  config(R"({"architecture": "convnext_tiny", "model_args": {"global_pool": "max"}})");
  expect_error(ErrorCode::kUnsupported, {"'max'", "'avg'"}, [&] { find(seen("convnext_tiny", 3)); });
  // Built for no size that is said, it takes the sizes that its windows divide.
  config(fmt::format(R"({{"architecture": "{}"}})", swin));
  EXPECT_FALSE(std::get<SwinConfig>(find(seen_of(architecture(swin), 3)).card.network).pads_windows);
}

// A network that timm built for small pictures has smaller windows in its last stages.
NetworkConfig swin_for(const char* name, int side) {
  NetworkConfig network = seen_of(architecture(name), 3);
  auto& swin = std::get<SwinConfig>(network);
  set_input_size(swin, side);
  swin.pads_windows = false;  // which its tensors do not tell
  return network;
}

TEST_F(CardSources, ASwinWithSmallWindowsIsForTheLargestPicturesThatMakeThem) {
  const FoundCard found = find(swin_for("swin_tiny_patch4_window7_224", 64));
  EXPECT_EQ(found.card.architecture, "swin_tiny_patch4_window7_224");
  EXPECT_EQ(found.card.preprocessing.resolution, 64);
  EXPECT_THAT(found.origins.at("resolution"), HasSubstr("windows"));
  const auto& swin = std::get<SwinConfig>(found.card.network);
  EXPECT_THAT(swin.windows, ElementsAre(7, 7, 4, 2));
  EXPECT_TRUE(swin.pads_windows);
  // The largest window is that of the name.
  const FoundCard large = find(swin_for("swin_base_patch4_window12_384", 96));
  EXPECT_EQ(large.card.architecture, "swin_base_patch4_window12_384");
  EXPECT_EQ(large.card.preprocessing.resolution, 96);
}

TEST_F(CardSources, TimmsConfigOfASwinForSmallPicturesSaysItsSizeAndItsWindows) {
  const char* const name = "swin_tiny_patch4_window7_224";
  const auto find_with = [&](std::string_view arguments, int side) {
    config(fmt::format(R"({{"architecture": "{}", "model_args": {}}})", name, arguments));
    return find(swin_for(name, side));
  };
  for (const char* arguments :
       {R"({"img_size": 56})", R"({"img_size": [56, 56], "window_size": 7})",
        R"({"img_size": 56, "window_size": [7, 7]})", R"({"img_size": 56, "window_size": [7, 7, 4, 2]})"}) {
    SCOPED_TRACE(arguments);
    const FoundCard found = find_with(arguments, 56);
    EXPECT_EQ(found.card.preprocessing.resolution, 56);
    EXPECT_FALSE(std::get<SwinConfig>(found.card.network).pads_windows);
    // And back: timm makes such windows of the size.
    const json ours = json::parse(timm_config_json(found.card));
    EXPECT_EQ(ours["pretrained_cfg"]["input_size"], json({3, 56, 56}));
    EXPECT_FALSE(ours.contains("model_args"));
    config(ours.dump());
    EXPECT_EQ(find(swin_for(name, 56)).card.network, found.card.network);
  }
  for (const char* arguments : {R"({"img_size": 112, "window_size": 7})", R"({"img_size": 56, "window_size": 6})",
                                R"({"img_size": 56, "window_size": [7, 8]})"}) {
    SCOPED_TRACE(arguments);
    expect_error(ErrorCode::kMismatch, {"window_size", "7,7,4,2"}, [&] { find_with(arguments, 56); });
  }
  // timm gives no window that is larger than its map.
  config(fmt::format(R"({{"architecture": "{}"}})", name));
  Card card = find(seen_of(architecture(name), 3)).card;
  card.preprocessing.resolution = 56;
  expect_error(ErrorCode::kUnsupported, {name, "no such network"}, [&] { timm_config_json(card); });
}

TEST_F(CardSources, TimmsLabelsComeAlongAndSynsetsGetTheirNames) {
  const FoundCard found = find_golden("timm/plain", small("convnext_tiny", 3));
  EXPECT_THAT(found.card.labels, ElementsAre("cat", "dog", "owl"));
  EXPECT_EQ(found.card.license, "Apache-2.0") << "as SPDX writes it";
  EXPECT_THAT(find_golden("timm/synsets", small("convnext_atto", 2)).card.labels,
              ElementsAre("n02123045 tabby", "n01440764 tench"));
}

TEST_F(CardSources, WhatTensorsCannotTellIsTheArchitectures) {
  EXPECT_EQ(network_of(find_golden("timm/activation", small("test_convnext3", 5))).activation, Activation::kSilu);
  ConvNextConfig zepto = seen("convnext_zepto_rms", 1000);
  zepto.norm = Norm::kRmsNorm;  // the tensors of both norms are the same
  EXPECT_EQ(network_of(find(zepto)).norm, Norm::kSimpleNorm);
}

TEST_F(CardSources, ArgumentsOfTimmsConfigOverrideTheArchitecture) {
  config(R"({"architecture": "convnext_tiny", "num_classes": 3,
             "model_args": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32], "norm_eps": 1e-3, "act_layer": "silu"},
             "pretrained_cfg": {}})");
  const FoundCard found = find(small("convnext_tiny", 3));
  EXPECT_EQ(network_of(found).norm_eps, 1e-3);
  EXPECT_EQ(network_of(found).activation, Activation::kSilu);
  EXPECT_EQ(found.origins.at("activation"), "config.json, 'pretrained_cfg'");
}

TEST_F(CardSources, ArgumentsOfTimmsThatMakeAnotherConvNeXtAreRefused) {
  const auto find_with = [&](const char* arguments) {
    config(fmt::format(R"({{"architecture": "convnext_tiny", "model_args": {}, "pretrained_cfg": {{}}}})", arguments));
    return find(seen("convnext_tiny", 1000));
  };
  find_with(R"({"output_stride": 32, "drop_path_rate": 0.1, "conv_mlp": true, "head_init_scale": 0.5})");
  expect_error(ErrorCode::kUnsupported, {"config.json', 'model_args', 'output_stride'", "convnext"},
               [&] { find_with(R"({"output_stride": 16})"); });
  expect_error(ErrorCode::kUnsupported, {"'model_args', 'surprise'", "convnext"},
               [&] { find_with(R"({"surprise": 1})"); });
}

// timm rounds half of a narrow stem's width up to the whole: its tensors do not tell that there are tiers.
TEST_F(CardSources, ATieredStemOfOneWidthIsTheNamedOne) {
  config(R"({"architecture": "convnext_atto_ols", "num_classes": 3,
             "model_args": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}, "pretrained_cfg": {}})");
  ConvNextConfig network = small("convnext_atto_ols", 3);
  ASSERT_EQ(stem_width(network), 8);
  network.stem = Stem::kOverlap;
  EXPECT_EQ(find(network).card.architecture, "convnext_atto_ols");
  // Where the tiers are seen, they must be there.
  network = seen("convnext_atto_ols", 3);
  config(R"({"architecture": "convnext_atto_ols", "num_classes": 3, "pretrained_cfg": {}})");
  EXPECT_EQ(find(network).card.architecture, "convnext_atto_ols");
  network.stem = Stem::kOverlap;
  expect_error(ErrorCode::kMismatch, {"stem"}, [&] { find(network); });
}

// As timm writes them for a network of one channel.
TEST_F(CardSources, OneColourStandsForAll) {
  config(R"({"architecture": "convnext_tiny", "num_classes": 1000,
             "pretrained_cfg": {"input_size": [1, 224, 224], "mean": [0.449], "std": [0.226]}})");
  const Preprocessing p = find(seen("convnext_tiny", 1000)).card.preprocessing;
  EXPECT_EQ(p.mean, (std::array{0.449f, 0.449f, 0.449f}));
  EXPECT_EQ(p.std, (std::array{0.226f, 0.226f, 0.226f}));
}

// Before 2023 the name of the weights was that of the architecture.
TEST_F(CardSources, TimmsOldNamesAreThoseOfWeights) {
  config(R"({"architecture": "convnext_tiny_384_in22ft1k", "num_classes": 1000, "crop_pct": 0.9})");
  const FoundCard found = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(found.card.architecture, "convnext_tiny");
  EXPECT_EQ(found.card.preprocessing.crop_fraction, 0.9) << "what the file says counts";
  EXPECT_EQ(found.card.preprocessing.resolution, 384) << "and what it does not say is those weights'";
  EXPECT_EQ(found.origins.at("resolution"), "published weights convnext_tiny.fb_in22k_ft_in1k_384");
  expect_error(ErrorCode::kMismatch, {"convnext_tiny", "other weights"}, [&] { find(seen("convnext_base", 1000)); });
  config(R"({"architecture": "convnext_base_in22k", "num_classes": 21841})");
  EXPECT_EQ(find(seen("convnext_base", 21841)).card.architecture, "convnext_base");
}

// Before 2023 all values lay in one object.
TEST_F(CardSources, TimmsOldFlatConfigIsRead) {
  config(R"({"architecture": "convnext_tiny", "num_classes": 1000, "input_size": [3, 288, 288], "crop_pct": 0.9,
             "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"})");
  const Preprocessing p = find(seen("convnext_tiny", 1000)).card.preprocessing;
  EXPECT_EQ(p.resolution, 288);
  EXPECT_EQ(p.crop_fraction, 0.9);
  EXPECT_EQ(p.interpolation, Interpolation::kBilinear);
  EXPECT_THAT(p.mean, ElementsAre(0.1f, 0.2f, 0.3f));
}

TEST_F(CardSources, TimmsTagSaysWhichPublishedWeightsTheyAre) {
  config(R"({"architecture": "convnext_tiny", "num_classes": 0,
             "pretrained_cfg": {"tag": "dinov3_lvd1689m", "input_size": [3, 224, 224], "crop_pct": 1.0}})");
  const FoundCard found = find(seen("convnext_tiny", 0));
  EXPECT_EQ(found.card.architecture, "dinov3_convnext_tiny");
  EXPECT_EQ(found.card.license, "dinov3-license");
  EXPECT_THAT(found.card.training, HasSubstr("LVD-1689M"));
}

// transformers.

TEST_F(CardSources, TransformersFilesGiveWhatItsProcessorsDo) {
  struct Case {
    const char* folder;
    const char* network;
    int classes;
    Preprocessing want;
  };
  const Preprocessing usual;
  Preprocessing crop = usual, squash = usual, bit = usual, clip = usual, raw = usual, dinov3 = usual;
  crop.crop_fraction = 0.95;
  // From 384 pixels on, ConvNeXt's processor squeezes, whatever crop_pct says.
  squash.resolution = 384;
  squash.crop_fraction = 1.0;
  squash.crop_mode = CropMode::kSquash;
  squash.interpolation = Interpolation::kBilinear;
  bit.interpolation = Interpolation::kBilinear;
  bit.crop_fraction = 224.0 / 236.0;
  clip = find_published("convnext_base", "clip_laion2b")->preprocessing;
  clip.resolution = 240;
  clip.crop_fraction = 240.0 / 256.0;
  clip.crop_mode = CropMode::kSquash;
  // Pixels of 0 to 255, less 127.5, divided by 64: as x / 255, less 0.5, divided by 64 / 255.
  raw.resolution = 64;
  raw.crop_fraction = 1.0;
  raw.mean = {0.5f, 0.5f, 0.5f};
  raw.std = {64.0f / 255.0f, 64.0f / 255.0f, 64.0f / 255.0f};
  dinov3.crop_fraction = 1.0;
  dinov3.crop_mode = CropMode::kSquash;
  dinov3.interpolation = Interpolation::kBilinear;
  const Case cases[] = {{"crop", "convnext_tiny", 3, crop},    {"squash", "convnext_tiny", 3, squash},
                        {"v2", "convnextv2_tiny", 5, usual},   {"bit", "convnext_tiny", 3, bit},
                        {"clip", "convnext_tiny", 3, clip},    {"raw", "convnext_tiny", 3, raw},
                        {"dinov3", "convnext_tiny", 0, dinov3}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.folder);
    ConvNextConfig network = small(one.network, one.classes);
    if (one.folder == std::string("bit")) network.layer_scale = false;
    const FoundCard found = find_golden(std::string("transformers/") + one.folder, network);
    const Preprocessing& p = found.card.preprocessing;
    EXPECT_EQ(p.resolution, one.want.resolution);
    EXPECT_NEAR(p.crop_fraction, one.want.crop_fraction, 1e-12);
    EXPECT_EQ(std::floor(p.resolution / p.crop_fraction), std::floor(p.resolution / one.want.crop_fraction + 1e-9));
    EXPECT_EQ(p.crop_mode, one.want.crop_mode);
    EXPECT_EQ(p.interpolation, one.want.interpolation);
    EXPECT_EQ(p.pipeline, one.folder == std::string("dinov3") ? PixelPipeline::kDinov3 : PixelPipeline::kTransformers);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_FLOAT_EQ(p.mean[i], one.want.mean[i]);
      EXPECT_FLOAT_EQ(p.std[i], one.want.std[i]);
    }
    EXPECT_EQ(found.origins.at("resolution"), "preprocessor_config.json");
  }
}

// layer_norm_eps is of the last norm alone, but in DINOv3's networks of all; a file without it means 1e-12.
TEST_F(CardSources, EpsOfTransformersGoesWhereTransformersTakesIt) {
  const auto eps = [&](const char* folder, const ConvNextConfig& network) {
    const FoundCard found = find_golden(folder, network);
    return std::pair(network_of(found).norm_eps, network_of(found).head_eps());
  };
  EXPECT_EQ(eps("transformers/crop", small("convnext_tiny", 3)), std::pair(1e-6, 1e-12));
  EXPECT_EQ(eps("transformers/squash", small("convnext_tiny", 3)), std::pair(1e-6, 1e-5));
  EXPECT_EQ(eps("transformers/v2", small("convnextv2_tiny", 5)), std::pair(1e-6, 1e-12));
  EXPECT_EQ(eps("transformers/dinov3", small("convnext_tiny", 0)), std::pair(1e-6, 1e-6));
  config(R"({"model_type": "convnext"})");
  EXPECT_EQ(network_of(find(seen("convnext_tiny", 1000))).head_eps(), 1e-12);
  config(R"({"model_type": "dinov3_convnext", "layer_norm_eps": 1e-5})");
  EXPECT_EQ(network_of(find(seen("convnext_tiny", 0))).norm_eps, 1e-5);
}

// In both backends: the pooled features move, the maps before them do not.
TEST_F(CardSources, EpsOfTheHeadIsTheHeadsAlone) {
  ConvNextConfig plain = small("convnext_tiny", 3);
  ConvNextConfig other = plain;
  other.head_norm_eps = 0.1;
  const WeightStore weights = formula_weights(plain, 1);
  const Tensor input = formula_input("input", {1, 3, 64, 64}, 2);
  const auto run = [&](const Backend& backend, const ConvNextConfig& network) {
    const OutputShapes shapes = output_shapes(network, 1, 64, 64);
    Tensor pooled = Tensor::zeros(shapes.pooled);
    std::vector<Tensor> stages;
    OutputViews views;
    views.pooled = pooled.view(Layout::kRowMajor);
    for (const Shape& shape : shapes.stages) {
      stages.push_back(Tensor::zeros(shape));
      views.stages.push_back(stages.back().view(Layout::kNchw));
    }
    Workspace workspace;
    backend.compile(network, weights, Precision::kFp32)->run(input.view(Layout::kNchw), views, workspace);
    return std::pair(std::move(pooled), std::move(stages.back()));
  };
  for (const auto& backend : {make_reference_backend(), make_cpu_backend()}) {
    SCOPED_TRACE(backend->name());
    const auto [pooled, stage] = run(*backend, plain);
    const auto [moved, same] = run(*backend, other);
    EXPECT_THAT(same.values<float>(), testing::ElementsAreArray(stage.values<float>()));
    // (x - mean) / sqrt(var + eps), weight and bias: what the bias does not add shrinks by one factor.
    const auto bias = weights.at("head.norm.bias");
    const auto* shift = reinterpret_cast<const float*>(bias.data);
    const auto before = pooled.values<float>(), after = moved.values<float>();
    const float factor = (after[0] - shift[0]) / (before[0] - shift[0]);
    EXPECT_LT(factor, 0.999f);
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_NEAR(after[i] - shift[i], factor * (before[i] - shift[i]), 1e-4);
    }
  }
}

TEST_F(CardSources, TransformersLabelsAreTakenUnlessTheyAreNumbers) {
  EXPECT_THAT(find_golden("transformers/crop", small("convnext_tiny", 3)).card.labels,
              ElementsAre("cat", "dog", "owl"));
  EXPECT_THAT(find_golden("transformers/v2", small("convnextv2_tiny", 5)).card.labels, IsEmpty());
  EXPECT_EQ(network_of(find_golden("transformers/squash", small("convnext_tiny", 3))).activation, Activation::kSilu);
}

TEST_F(CardSources, TransformersNetworksAreCalledByTheirFamilies) {
  EXPECT_EQ(find_golden("transformers/dinov3", small("convnext_tiny", 0)).card.architecture, "dinov3_convnext_tiny");
  EXPECT_EQ(find_golden("transformers/v2", small("convnextv2_tiny", 5)).card.architecture.substr(0, 10), "convnextv2");
  config(R"({"model_type": "convnext"})");
  EXPECT_EQ(find(seen("convnext_tiny", 0)).card.architecture, "convnext_tiny");
}

TEST_F(CardSources, ABackboneInsideOfADetectorsConfigIsRead) {
  config(R"({"model_type": "upernet", "backbone_config": {"model_type": "convnext", "layer_norm_eps": 1e-4}})");
  EXPECT_EQ(network_of(find(seen("convnext_tiny", 0))).head_eps(), 1e-4);
}

// A class's defaults are not the file's word: what it leaves out is what the weights are known for.
TEST_F(CardSources, ValuesThatAProcessorLeavesOutAreThePublishedOnes) {
  config(R"({"model_type": "convnext"})");
  processor(R"({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 288}})");
  const FoundCard found = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(found.card.preprocessing.resolution, 288);
  EXPECT_FLOAT_EQ(found.card.preprocessing.mean[0], 0.485f);
  EXPECT_EQ(found.origins.at("mean"), "assumed: as of convnext_tiny.fb_in1k");
  ASSERT_THAT(found.notes, testing::SizeIs(1));
  EXPECT_THAT(found.notes[0], HasSubstr("mean"));
}

// The older extractors have a number for the size.
TEST_F(CardSources, OldFeatureExtractorsAreRead) {
  config(R"({"model_type": "convnext"})");
  processor(R"({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3,
                "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": true})");
  EXPECT_EQ(find(seen("convnext_tiny", 1000)).card.preprocessing,
            Preprocessing{.pipeline = PixelPipeline::kTransformers});
  processor(R"({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875,
                "resample": 3, "image_mean": 0.4, "image_std": 0.2, "do_normalize": false})");
  const Preprocessing plain = find(seen("convnext_tiny", 1000)).card.preprocessing;
  EXPECT_THAT(plain.mean, ElementsAre(0.0f, 0.0f, 0.0f));
  EXPECT_THAT(plain.std, ElementsAre(1.0f, 1.0f, 1.0f));
}

// OpenCLIP.

TEST_F(CardSources, OpenClipsConfigIsRead) {
  folder_.write(
      "open_clip_config.json",
      R"({"model_cfg": {"embed_dim": 640, "vision_cfg": {"timm_model_name": "convnext_base", "image_size": 320}},
                    "preprocess_cfg": {"mean": [0.48, 0.45, 0.40], "std": [0.26, 0.26, 0.27],
                                       "interpolation": "bicubic", "resize_mode": "shortest"}})");
  const FoundCard found = find_card(weights("open_clip_model.safetensors"), seen("convnext_base", 640), {});
  EXPECT_EQ(found.card.architecture, "convnext_base");
  EXPECT_EQ(found.card.preprocessing.resolution, 320);
  EXPECT_EQ(found.card.preprocessing.crop_fraction, 1.0);
  EXPECT_FLOAT_EQ(found.card.preprocessing.mean[2], 0.40f);
  EXPECT_EQ(found.origins.at("mean"), "open_clip_config.json");
  EXPECT_THAT(found.card.labels, IsEmpty());
}

// Names of files.

TEST_F(CardSources, PublishedFilesAreKnownByName) {
  const auto found = [&](std::string_view name, const ConvNextConfig& network) {
    return find_card(weights(name), network, {});
  };
  const FoundCard base = found("convnext_base_22k_1k_384.pth", seen("convnext_base", 1000));
  EXPECT_EQ(base.card.preprocessing.resolution, 384);
  EXPECT_EQ(base.card.preprocessing.crop_mode, CropMode::kSquash);
  EXPECT_EQ(base.origins.at("crop_mode"), "published weights convnext_base.fb_in22k_ft_in1k_384");
  EXPECT_EQ(base.card.license, "Apache-2.0");
  EXPECT_THAT(json::parse(base.card.training)["data"].get<std::string>(), StartsWith("ImageNet-22K"));
  EXPECT_THAT(base.notes, IsEmpty());
  const FoundCard bilinear = found("convnext_small-0c510722.pth", seen("convnext_small", 1000));
  EXPECT_EQ(bilinear.card.preprocessing.interpolation, Interpolation::kBilinear);
  // A hub's folder, and its cache.
  EXPECT_EQ(found("convnextv2_tiny.fcmae_ft_in22k_in1k_384/model.safetensors", seen("convnextv2_tiny", 1000))
                .card.preprocessing.resolution,
            384);
  EXPECT_EQ(
      found("models--timm--convnext_tiny.in12k_ft_in1k/snapshots/0123/model.safetensors", seen("convnext_tiny", 1000))
          .card.preprocessing.crop_fraction,
      0.95);
}

TEST_F(CardSources, WordsOfANameChooseAmongPublishedWeights) {
  const FoundCard found = find_card(weights("my_convnext_base_22k_1k_384_v2.pth"), seen("convnext_base", 1000), {});
  EXPECT_EQ(found.card.preprocessing.resolution, 384);
  ASSERT_THAT(found.notes, testing::SizeIs(1));
  EXPECT_THAT(found.notes[0], HasSubstr("took that of convnext_base.fb_in22k_ft_in1k_384"));
  EXPECT_EQ(found.origins.at("resolution"), "assumed: as of convnext_base.fb_in22k_ft_in1k_384");
  EXPECT_THAT(found.card.license, IsEmpty()) << "weights that are only alike may have another licence";
}

TEST_F(CardSources, TheSideInANameIsEnoughToChoose) {
  EXPECT_EQ(find_card(weights("best_384.pth"), seen("convnext_base", 1000), {}).card.preprocessing.resolution, 384);
  EXPECT_EQ(find_card(weights("best.pth"), seen("convnext_base", 1000), {}).card.preprocessing.resolution, 224);
}

TEST_F(CardSources, AnUnknownNameGetsTheRegisteredDefaultAndANote) {
  const FoundCard found = find(seen("convnext_pico_ols", 1000));
  EXPECT_EQ(found.card.architecture, "convnext_pico_ols");
  EXPECT_EQ(found.card.preprocessing, architecture("convnext_pico_ols").preprocessing);
  EXPECT_EQ(found.origins.at("architecture"), "the tensors' shapes");
  ASSERT_THAT(found.notes, testing::SizeIs(1));
  EXPECT_THAT(found.notes[0], HasSubstr("nothing says how pictures were prepared"));
}

// A name that lies is not believed.
TEST_F(CardSources, ANameOfOtherTensorsIsPassedOver) {
  const FoundCard found = find_card(weights("convnext_base_1k_224_ema.pth"), seen("convnext_tiny", 1000), {});
  EXPECT_EQ(found.card.architecture, "convnext_tiny");
  EXPECT_THAT(found.notes, testing::Contains(HasSubstr("dims are 96,192,384,768")));
}

TEST_F(CardSources, EveryRegisteredNetworkIsFoundByItsShapes) {
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kRoadmap) continue;
    if (entry.family == Family::kDinov3ConvNext) continue;  // V1 without a classifier: told apart by names
    SCOPED_TRACE(entry.name);
    const FoundCard found = find(seen_of(entry, class_count(entry.network)));
    EXPECT_EQ(found.card.network, entry.network);
    if (entry.name.starts_with("deit_") && found.card.architecture.starts_with("vit_")) continue;  // the same network
    EXPECT_EQ(found.card.architecture, entry.name);
    EXPECT_EQ(found.card.preprocessing, entry.preprocessing);
  }
}

TEST_F(CardSources, ANetworkWithoutANameGetsTheNearest) {
  ConvNextConfig network = seen("convnextv2_tiny", 7);
  network.depths = {3, 3, 8, 3};
  const FoundCard found = find(network);
  EXPECT_EQ(found.card.architecture, "convnextv2_tiny");
  EXPECT_EQ(network_of(found).depths, network.depths);
  EXPECT_THAT(found.notes, testing::Contains(HasSubstr("nearest")));
}

// Labels.

TEST_F(CardSources, ImagenetsClassCountsGetItsNames) {
  const FoundCard found = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(found.card.labels, imagenet_list(1000)->labels);
  EXPECT_THAT(found.origins.at("labels"), HasSubstr("ImageNet-1K"));
  EXPECT_EQ(find(seen("convnext_tiny", 21841)).card.labels.size(), 21841u);
  EXPECT_EQ(find(seen("convnext_tiny", 11821)).card.labels.size(), 11821u);
  EXPECT_THAT(find(seen("convnext_tiny", 10)).card.labels, IsEmpty());
}

// Contradictions and damage.

TEST_F(CardSources, AFileOfOtherWeightsIsRefused) {
  const ConvNextConfig tiny = seen("convnext_tiny", 1000);
  config(R"({"architecture": "convnext_base", "pretrained_cfg": {}})");
  expect_error(ErrorCode::kMismatch, {"convnext_base", "dims are 96,192,384,768"}, [&] { find(tiny); });
  config(R"({"architecture": "convnext_tiny", "num_classes": 10, "pretrained_cfg": {}})");
  expect_error(ErrorCode::kMismatch, {"num_classes", "10", "1000"}, [&] { find(tiny); });
  config(R"({"model_type": "convnext", "hidden_sizes": [128, 256, 512, 1024]})");
  expect_error(ErrorCode::kMismatch, {"hidden_sizes", "128,256,512,1024", "96,192,384,768"}, [&] { find(tiny); });
  config(R"({"model_type": "convnext", "id2label": {"0": "cat", "1": "dog"}})");
  expect_error(ErrorCode::kMismatch, {"id2label", "2 labels", "1000"}, [&] { find(tiny); });
  config(R"({"model_type": "resnet"})");
  expect_error(ErrorCode::kMismatch, {"model_type", "resnet"}, [&] { find(tiny); });
  config(R"({"model_type": "convnextv2"})");
  expect_error(ErrorCode::kMismatch, {"model_type", "convnextv2", "absent"}, [&] { find(tiny); });
  config(R"({"model_type": "convnext"})");
  expect_error(ErrorCode::kMismatch, {"model_type", "convnext", "there"}, [&] { find(seen("convnextv2_tiny", 1000)); });
  config(R"({"model_type": "convnext", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})");
  expect_error(ErrorCode::kMismatch, {"id2label", "2 labels", "1000"}, [&] { find(tiny); });
  // The number of classes, wherever it stands.
  for (const char* text : {R"({"architecture": "convnext_tiny", "num_classes": 10})",
                           R"({"architecture": "convnext_tiny", "pretrained_cfg": {"num_classes": 10}})",
                           R"({"architecture": "convnext_tiny", "model_args": {"num_classes": 10}})"}) {
    config(text);
    expect_error(ErrorCode::kMismatch, {"num_classes", "10", "1000"}, [&] { find(tiny); });
  }
  config(R"({"architecture": "convnext_tiny", "label_names": ["cat", "dog"]})");
  expect_error(ErrorCode::kMismatch, {"label_names", "2 labels", "1000"}, [&] { find(tiny); });
  const std::pair<const char*, const char*> arguments[] = {{"depths", "[3, 3, 27, 3]"},
                                                           {"dims", "[128, 256, 512, 1024]"},
                                                           {"kernel_sizes", "[7, 7, 7, 5]"},
                                                           {"kernel_sizes", "5"},
                                                           {"patch_size", "2"},
                                                           {"in_chans", "1"}};
  for (const auto& [key, value] : arguments) {
    config(fmt::format(R"({{"architecture": "convnext_tiny", "model_args": {{"{}": {}}}}})", key, value));
    expect_error(ErrorCode::kMismatch, {"model_args", key, "tensors"}, [&] { find(tiny); });
  }
  // Arguments that say nothing of the shapes do not excuse the name.
  for (const char* argument : {R"("conv_mlp": true)", R"("norm_eps": 1e-5)", R"("use_grn": false)"}) {
    config(fmt::format(R"({{"architecture": "convnext_base", "model_args": {{{}}}}})", argument));
    expect_error(ErrorCode::kMismatch, {"convnext_base"}, [&] { find(tiny); });
  }
  config(R"({"architecture": "vgg16", "pretrained_cfg": {}})");
  expect_error(ErrorCode::kMismatch, {"vgg16", "no network"}, [&] { find(tiny); });
  config(R"({"architecture": "vgg16", "model_args": {"depths": [3, 3, 9, 3]}})");
  expect_error(ErrorCode::kMismatch, {"vgg16", "no network"}, [&] { find(tiny); });
  config(R"({"architecture": "resnet50", "model_args": {"depths": [3, 3, 9, 3]}})");
  expect_error(ErrorCode::kMismatch, {"resnet50", "other weights"}, [&] { find(tiny); });
}

// Somebody's own name for a network, or an older name of timm's.
TEST_F(CardSources, AnUnknownNameIsNotedWhenItsArgumentsAreTheTensors) {
  config(R"({"architecture": "convnext_ours", "num_classes": 3, "pretrained_cfg": {"crop_pct": 0.9},
             "model_args": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}})");
  const FoundCard found = find(small("convnext_tiny", 3));
  EXPECT_EQ(found.card.preprocessing.crop_fraction, 0.9);
  EXPECT_THAT(found.notes, testing::Contains(HasSubstr("'convnext_ours'")));
  config(R"({"architecture": "convnext_old", "pretrained_cfg": {"crop_pct": 0.9}})");
  const FoundCard named = find(seen("convnext_tiny", 1000), "convnext_tiny");
  EXPECT_EQ(named.card.preprocessing.crop_fraction, 0.9);
  EXPECT_THAT(named.notes, testing::Contains(HasSubstr("'convnext_old'")));
}

TEST_F(CardSources, ALicenceThatAFileStatesIsNotReplacedByThePublishedOne) {
  config(R"({"architecture": "convnext_tiny", "num_classes": 1000,
             "pretrained_cfg": {"tag": "fb_in1k", "license": "mit"}})");
  const FoundCard found = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(found.card.license, "MIT");
  EXPECT_EQ(found.origins.at("license"), "config.json, 'pretrained_cfg'");
  config(R"({"architecture": "convnext_tiny", "num_classes": 1000, "pretrained_cfg": {"tag": "fb_in1k"}})");
  EXPECT_EQ(find(seen("convnext_tiny", 1000)).card.license, "Apache-2.0");
}

TEST_F(CardSources, ASqueezeWithoutAFractionKeepsTheWholePicture) {
  config(R"({"architecture": "convnext_tiny", "pretrained_cfg": {"crop_mode": "squash"}})");
  const FoundCard found = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(found.card.preprocessing.crop_fraction, 1.0);
  EXPECT_EQ(found.origins.at("crop_fraction"), "a squeeze keeps the whole picture");
  EXPECT_THAT(found.notes, testing::Each(testing::Not(HasSubstr("crop_fraction"))));
}

// A config.json of transformers' prepares no pictures: the pipeline is that of the values that are taken.
TEST_F(CardSources, ThePipelineIsThatOfTheSourceThatPreparesPictures) {
  config(R"({"model_type": "convnext"})");
  const FoundCard plain = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(plain.card.preprocessing.pipeline, PixelPipeline::kTimm);
  EXPECT_THAT(plain.origins.at("pipeline"), StartsWith("assumed"));
  processor(R"({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}})");
  const FoundCard processed = find(seen("convnext_tiny", 1000));
  EXPECT_EQ(processed.card.preprocessing.pipeline, PixelPipeline::kTransformers);
  EXPECT_EQ(processed.origins.at("pipeline"), "preprocessor_config.json");
}

// Every combination of scaling and normalising, on a picture of all values whose size is the processor's.
TEST_F(CardSources, TransformersProcessorsGiveTheirVeryValues) {
  const SafetensorsFile file = SafetensorsFile::open(golden_path("cards/processed.safetensors"));
  ASSERT_EQ(file.tensors().size(), 5u);
  Image ramp{.width = 16, .height = 16, .pixels = {}};
  for (int value = 0; value < 256; ++value) ramp.pixels.insert(ramp.pixels.end(), 3, static_cast<std::uint8_t>(value));
  for (const auto& [folder, view] : file.tensors()) {
    const FoundCard found = find_golden("transformers/" + folder, small("convnext_tiny", 3));
    const Tensor want = golden_tensor(file, folder), got = preprocess(ramp, found.card.preprocessing);
    EXPECT_TRUE(std::ranges::equal(got.values<float>(), want.values<float>())) << folder;
  }
}

TEST_F(CardSources, AProcessorThatOnlyScalesAndCropsIsNoted) {
  const auto notes = [&](const char* more) {
    config(R"({"model_type": "convnext"})");
    processor(fmt::format(R"({{"image_processor_type": "ConvNextImageProcessor", "do_normalize": false{}}})", more));
    return find(seen("convnext_tiny", 1000)).notes;
  };
  EXPECT_THAT(notes(R"(, "size": {"shortest_edge": 224})"), testing::Contains(HasSubstr("last bit")));
  EXPECT_THAT(notes(R"(, "size": {"shortest_edge": 384})"), Not(testing::Contains(HasSubstr("last bit"))));
}

TEST_F(CardSources, WhatDinov3sProcessorDoesOtherwiseIsNoted) {
  const auto has_note = [](const FoundCard& found) {
    return testing::Matches(testing::Contains(HasSubstr("resizes floats")))(found.notes);
  };
  EXPECT_FALSE(has_note(find_golden("transformers/dinov3", small("convnext_tiny", 0))));
  for (const char* other : {R"("resample": 3)", R"("do_rescale": false)", R"("rescale_factor": 0.5)"}) {
    processor(fmt::format(R"({{"image_processor_type": "DINOv3ViTImageProcessor", {},
                               "size": {{"height": 224, "width": 224}}}})",
                          other));
    const FoundCard found = find(seen("convnext_tiny", 0));
    EXPECT_TRUE(has_note(found)) << other;
    EXPECT_EQ(found.card.preprocessing.pipeline, PixelPipeline::kTorchvision) << other;
  }
}

// Only what hubs call every file is looked up by its folder.
TEST_F(CardSources, AFileWithANameOfItsOwnIsNotTakenForItsFolder) {
  const auto side = [&](std::string_view file) {
    return find_card(weights(fmt::format("convnextv2_tiny.fcmae_ft_in22k_in1k_384/{}", file)),
                     seen("convnextv2_tiny", 1000), {})
        .card.preprocessing.resolution;
  };
  for (const char* generic : {"model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors",
                              "model-00001-of-00002.safetensors", "model.safetensors.index.json"}) {
    EXPECT_EQ(side(generic), 384) << generic;
  }
  for (const char* own : {"model_best.pth", "models.pth", "open_clip.bin", "model-of-mine.pth"}) {
    EXPECT_EQ(side(own), 224) << own;
  }
}

TEST_F(CardSources, WhatACheckpointCallsItsClassesGoesBeforeImageNetsNames) {
  const NamedClasses three{.key = "meta.CLASSES", .names = {"ant", "bee", "wasp"}};
  const auto find_named = [&](int classes) {
    return find_card(weights(), seen("convnext_tiny", classes), {}, {}, {}, three);
  };
  const FoundCard named = find_named(3);
  EXPECT_EQ(named.card.labels, three.names);
  EXPECT_EQ(named.origins.at("labels"), "the checkpoint's meta.CLASSES");
  const FoundCard of_others = find_named(1000);
  EXPECT_EQ(of_others.card.labels.size(), 1000U);
  EXPECT_THAT(of_others.notes, Contains(HasSubstr("meta.CLASSES names 3 classes")));
  EXPECT_TRUE(find_named(0).card.labels.empty());
  config(R"({"id2label": {"0": "x", "1": "y", "2": "z"}, "model_type": "convnext"})");
  EXPECT_EQ(find_named(3).card.labels, (std::vector<std::string>{"x", "y", "z"})) << "a file for people to change";
}

TEST_F(CardSources, ANameThatTheUserGaveIsHeldAgainstTheRest) {
  config(R"({"architecture": "convnext_tiny", "pretrained_cfg": {}})");
  expect_error(ErrorCode::kMismatch, {"convnext_tiny", "leave the name convnext_base out"},
               [&] { find(seen("convnext_base", 10), "convnext_base"); });
  expect_error(ErrorCode::kNotFound, {"convnext_tinny"}, [&] { find(seen("convnext_tiny", 10), "convnext_tinny"); });
  // DINOv3's network is V1's without a classifier.
  EXPECT_EQ(find(seen("convnext_tiny", 0), "dinov3_convnext_tiny").card.architecture, "dinov3_convnext_tiny");
}

TEST_F(CardSources, HowANetworkDiffersFromOneThatWasNamed) {
  const auto difference = [](const ConvNextConfig& network, const char* named) {
    return difference_from(network, architecture(named));
  };
  EXPECT_EQ(difference(seen("convnext_tiny", 10), "convnext_base"),
            "its dims are 96,192,384,768, and convnext_base's are 128,256,512,1024; the nearest is convnext_tiny: try "
            "--architecture convnext_tiny, or none");
  EXPECT_EQ(difference(seen("convnext_tiny", 10), "convnext_tiny"), "");
  // A block that is missing is no reason to try the same name again.
  ConvNextConfig shorter = seen("convnext_tiny", 10);
  shorter.depths = {3, 3, 8, 3};
  EXPECT_EQ(difference(shorter, "convnext_tiny"), "its depths are 3,3,8,3, and convnext_tiny's are 3,3,9,3");
}

struct WrongText {
  const char* name;
  const char* file;
  const char* text;
  ErrorCode code;
  const char* message;
};

class WrongJson : public CardSources, public testing::WithParamInterface<WrongText> {};

TEST_P(WrongJson, IsRefusedWithFileAndKey) {
  const WrongText& wrong = GetParam();
  config(R"({"model_type": "convnext"})");
  folder_.write(wrong.file, wrong.text);
  expect_error(wrong.code, {wrong.file, wrong.message}, [&] { find(seen("convnext_tiny", 3)); });
}

constexpr auto kDamagedCode = ErrorCode::kDamaged;
constexpr auto kUnsupportedCode = ErrorCode::kUnsupported;
constexpr const char* kConfig = "config.json";
constexpr const char* kProcessor = "preprocessor_config.json";

INSTANTIATE_TEST_SUITE_P(
    Kinds, WrongJson,
    testing::Values(
        WrongText{"NotJson", kConfig, "{\"architecture\": ", kDamagedCode, "not JSON"},
        WrongText{"NotUtf8", kConfig, "{\"architecture\": \"\xff\"}", kDamagedCode, "not JSON"},
        WrongText{"NotAnObject", kConfig, "[1, 2]", kDamagedCode, "not a JSON object"},
        WrongText{"HugeNumber", kConfig, R"({"architecture": "convnext_tiny", "x": 1e999})", kDamagedCode,
                  "out of range"},
        WrongText{"TextForNumber", kConfig, R"({"pretrained_cfg": {"crop_pct": "0.9"}})", kDamagedCode, "crop_pct"},
        WrongText{"NumberForText", kConfig, R"({"architecture": 5})", kDamagedCode, "architecture"},
        WrongText{"TwoMeans", kConfig, R"({"pretrained_cfg": {"mean": [0.5, 0.5]}})", kDamagedCode, "mean"},
        WrongText{"ObjectForPretrained", kConfig, R"({"pretrained_cfg": 7})", kDamagedCode, "pretrained_cfg"},
        WrongText{"FractionOfAPixel", kConfig, R"({"pretrained_cfg": {"input_size": [3, 224.5, 224.5]}})", kDamagedCode,
                  "input_size"},
        WrongText{"HugeInteger", kConfig, R"({"pretrained_cfg": {"input_size": [3, 4294967520, 4294967520]}})",
                  kDamagedCode, "input_size"},
        WrongText{"NoDeviation", kConfig, R"({"pretrained_cfg": {"std": [0, 0, 0]}})", kDamagedCode,
                  "'std': expected three numbers above 0"},
        WrongText{"EndlessMean", kConfig, R"({"pretrained_cfg": {"mean": 1e300}})", kDamagedCode, "'mean': expected"},
        WrongText{"CropOfTwo", kConfig, R"({"pretrained_cfg": {"crop_pct": 2}})", kDamagedCode,
                  "'crop_pct': expected a fraction"},
        WrongText{"NotSquare", kConfig, R"({"pretrained_cfg": {"input_size": [3, 224, 256]}})", kUnsupportedCode,
                  "input_size"},
        WrongText{"NoInterpolation", kConfig, R"({"pretrained_cfg": {"interpolation": "cubic"}})", kUnsupportedCode,
                  "cubic"},
        WrongText{"NoActivation", kConfig, R"({"model_type": "convnext", "hidden_act": "relu"})",
                  ErrorCode::kInvalidArgument, "hidden_act"},
        WrongText{"LabelTwice", kConfig, R"({"model_type": "convnext", "id2label": {"0": "a", "00": "b", "2": "c"}})",
                  kDamagedCode, "id2label"},
        WrongText{"LabelOutside", kConfig, R"({"model_type": "convnext", "id2label": {"0": "a", "1": "b", "3": "c"}})",
                  kDamagedCode, "id2label"},
        WrongText{"NumberForLabel", kConfig, R"({"model_type": "convnext", "id2label": {"0": 1, "1": 2, "2": 3}})",
                  kDamagedCode, "id2label"},
        WrongText{"NoFilter", kProcessor, R"({"size": 224, "resample": 9})", kUnsupportedCode, "resample"},
        WrongText{"EmptySize", kProcessor, R"({"size": {}})", kUnsupportedCode, "size"},
        WrongText{"SizeOfZero", kProcessor, R"({"size": {"shortest_edge": 0}})", kDamagedCode, "size"},
        WrongText{"OblongSize", kProcessor, R"({"size": {"height": 224, "width": 200}})", kUnsupportedCode, "size"},
        WrongText{"NoDeviation2", kProcessor, R"({"size": 224, "image_std": [0.2, 0, 0.2]})", kDamagedCode,
                  "'image_std': expected"},
        WrongText{"NoFactor", kProcessor, R"({"size": 224, "rescale_factor": 0})", kDamagedCode, "'rescale_factor'"},
        WrongText{"NoResize", kProcessor, R"({"size": 224, "do_resize": false})", kUnsupportedCode,
                  "'do_resize' is false"},
        WrongText{"NoCrop", kProcessor, R"({"image_processor_type": "BitImageProcessor", "do_center_crop": false,
                                             "size": {"shortest_edge": 224}})",
                  kUnsupportedCode, "size"},
        WrongText{"CropBeyond", kProcessor, R"({"size": {"shortest_edge": 224}, "crop_size": 256})", kUnsupportedCode,
                  "crop_size"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(CardSources, DeepAndLongFilesAreRefusedWithoutBeingKept) {
  config(std::string(100'000, '[') + std::string(100'000, ']'));
  expect_error(
      ErrorCode::kUnsupported,
      {"config.json' at byte 1000: values are nested 1,001 deep, more than the limit of 1,000 (--max-nesting)"},
      [&] { find(seen("convnext_tiny", 3)); });
  config("{\"architecture\": \"" + std::string(11 << 20, 'a') + "\"}");
  EXPECT_THROW(find(seen("convnext_tiny", 3)), Error);
}

// Every cut and every flipped byte of a real file ends in a card or an Error, never otherwise.
TEST_F(CardSources, DamagedFilesGiveCardsOrErrors) {
  const std::string good = read_text(golden_path("cards/timm/plain/config.json"));
  const ConvNextConfig network = small("convnext_tiny", 3);
  int refused = 0, taken = 0;
  const auto attempt = [&](const std::string& text) {
    config(text);
    try {
      find(network);
      ++taken;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("config.json"));
      ++refused;
    }
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    attempt(good.substr(0, i));
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 7)));
    attempt(changed);
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(taken, 50);
}

// There and back.

Card card_of(std::string_view name, int classes, std::vector<std::string> labels = {}) {
  Card card;
  card.architecture = name;
  card.network = architecture(name).network;
  set_class_count(card.network, classes);
  card.preprocessing = architecture(name).preprocessing;
  card.labels = std::move(labels);
  return card;
}

TEST_F(CardSources, TimmsConfigComesBackAsTheCard) {
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kConvNextIsotropic || entry.family == Family::kRoadmap) continue;
    SCOPED_TRACE(entry.name);
    const PublishedWeights* published = find_published(entry.name, entry.published_weights);
    if (published && entry.family == Family::kEfficientNet && !published->in_timm) {
      // torchvision's own networks, which timm has not.
      expect_error(ErrorCode::kUnsupported, {entry.name, "timm"}, [&] { timm_config_json(card_of(entry.name, 3)); });
      continue;
    }
    const int classes = class_count(entry.network) == 0 ? 0 : 3;
    Card card = card_of(entry.name, classes,
                        classes > 0 ? std::vector<std::string>{"a", "b", "c"} : std::vector<std::string>{});
    card.license = "MIT";
    card.preprocessing.mean = {0.1f, 0.485f, 0.3f};
    card.preprocessing.crop_mode = CropMode::kSquash;
    config(timm_config_json(card));
    const FoundCard found = find(seen_of(entry, classes), entry.name);
    EXPECT_EQ(found.card.network, card.network);
    EXPECT_EQ(found.card.preprocessing, card.preprocessing);
    EXPECT_EQ(found.card.labels, card.labels);
    EXPECT_EQ(found.card.license, "MIT");
  }
}

TEST_F(CardSources, TimmsConfigStatesWhatAFreeNetworkChanges) {
  Card card = card_of("convnext_tiny", 4);
  auto& network = std::get<ConvNextConfig>(card.network);
  network.depths = {1, 2, 1, 1};
  network.kernel_sizes = {7, 5, 5, 3};
  network.patch_size = 2;
  network.input_channels = 5;
  network.layer_scale = false;
  network.activation = Activation::kSilu;
  network.norm_eps = 1e-4;
  const json written = json::parse(timm_config_json(card));
  const json want = {{"depths", {1, 2, 1, 1}},   {"kernel_sizes", {7, 5, 5, 3}}, {"patch_size", 2}, {"in_chans", 5},
                     {"ls_init_value", nullptr}, {"act_layer", "silu"},          {"norm_eps", 1e-4}};
  EXPECT_EQ(written["model_args"], want);
  EXPECT_EQ(written["pretrained_cfg"]["mean"][0], 0.485) << "as it is known, not as a float prints in double";
  EXPECT_FALSE(json::parse(timm_config_json(card_of("convnext_atto", 10))).contains("model_args"));
  EXPECT_EQ(json::parse(timm_config_json(card_of("dinov3_convnext_base", 0)))["architecture"], "convnext_base");
  expect_error(ErrorCode::kUnsupported, {"convnext_isotropic_small", "timm"},
               [] { timm_config_json(card_of("convnext_isotropic_small", 1000)); });
}

TEST_F(CardSources, TransformersFilesComeBackAsTheCard) {
  struct Way {
    int resolution;
    double fraction;
    CropMode mode;
    Interpolation filter;
    PixelPipeline pipeline = PixelPipeline::kTransformers;
  };
  const Way ways[] = {{224, 1.0, CropMode::kSquash, Interpolation::kBilinear, PixelPipeline::kDinov3},
                      {224, 0.875, CropMode::kCenter, Interpolation::kBilinear, PixelPipeline::kDinov3},
                      {224, 0.875, CropMode::kCenter, Interpolation::kBicubic},
                      {384, 1.0, CropMode::kSquash, Interpolation::kBilinear},
                      {384, 1.0, CropMode::kCenter, Interpolation::kBicubic},
                      {224, 1.0, CropMode::kSquash, Interpolation::kLanczos},
                      {100, 0.77, CropMode::kCenter, Interpolation::kLanczos},
                      {500, 0.77, CropMode::kSquash, Interpolation::kBicubic}};
  for (const char* name : {"convnext_tiny", "convnextv2_tiny", "dinov3_convnext_tiny"}) {
    for (const Way& way : ways) {
      SCOPED_TRACE(std::string(name) + " " + std::to_string(way.resolution));
      const bool classifies = registered_convnext(name).classes > 0;
      Card card = card_of(name, classifies ? 2 : 0);
      if (classifies) card.labels = {"cat", "dog"};
      card.preprocessing = {.resolution = way.resolution,
                            .interpolation = way.filter,
                            .crop_fraction = way.fraction,
                            .crop_mode = way.mode,
                            .pipeline = way.pipeline};
      config(transformers_config_json(card));
      processor(transformers_preprocessor_json(card));
      const FoundCard found = find(seen(name, class_count(card.network)));
      EXPECT_EQ(found.card.architecture, name);
      EXPECT_EQ(found.card.network, card.network);
      EXPECT_EQ(found.card.labels, card.labels);
      const Preprocessing& p = found.card.preprocessing;
      EXPECT_EQ(p.resolution, way.resolution);
      EXPECT_EQ(p.crop_mode, way.mode);
      EXPECT_EQ(p.interpolation, way.filter);
      EXPECT_EQ(p.pipeline, way.pipeline);
      EXPECT_EQ(p.mean, card.preprocessing.mean);
      EXPECT_EQ(std::floor(p.resolution / p.crop_fraction), std::floor(way.resolution / way.fraction));
    }
  }
}

TEST_F(CardSources, FiltersThatTransformersDoesNotHaveAreRefused) {
  for (const Interpolation filter : {Interpolation::kBox, Interpolation::kHamming}) {
    Card card = card_of("convnext_tiny", 2);
    card.preprocessing.interpolation = filter;
    expect_error(ErrorCode::kUnsupported, {"transformers", std::string(name_of(filter))},
                 [&] { transformers_preprocessor_json(card); });
  }
  config(R"({"model_type": "convnext"})");
  for (const char* number : {"4", "5"}) {
    processor(fmt::format(R"({{"size": {{"shortest_edge": 224}}, "crop_size": 224, "resample": {}}})", number));
    expect_error(ErrorCode::kDamaged, {"preprocessing", "transformers"}, [&] { find(seen("convnext_tiny", 3)); });
  }
}

TEST_F(CardSources, TransformersRefusesNetworksThatItDoesNotHave) {
  const auto refuses = [](std::string_view name, const char* why) {
    expect_error(ErrorCode::kUnsupported, {"transformers", std::string(name), why},
                 [&] { transformers_config_json(card_of(name, 1000)); });
  };
  refuses("convnext_pico_ols", "stem");
  refuses("convnext_zepto_rms", "LayerNorm");
  refuses("convnext_tiny_hnf", "head");
  refuses("convnext_large_mlp", "head");
  refuses("convnext_xxlarge", "eps");
  refuses("convnext_isotropic_small", "stem");
  refuses("test_convnext3", "7x7");
}

}  // namespace
}  // namespace convnext
