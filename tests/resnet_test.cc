// ResNet, ResNeXt and the paper's journey to ConvNeXt: what each network costs, and how a step differs from the one
// before it.
#include "model/resnet.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "expect_error.h"
#include "model/card.h"
#include "model/description.h"
#include "model/registry.h"
#include "model/roadmap.h"
#include "model/tensors.h"

namespace convnext {
namespace {

constexpr Track kTracks[] = {Track::kResNet50, Track::kResNet200};

ResNetConfig resnet50() { return std::get<ResNetConfig>(architecture("resnet50").network); }

// Fields that differ, by the names they have in a card.
std::vector<std::string> differing_fields(const ResNetConfig& a, const ResNetConfig& b) {
  const auto values_of = [](const ResNetConfig& config) {
    std::map<std::string, std::string> values;
    ResNetConfig::visit_fields(config, [&values]<typename T>(const char* name, const T& value) {
      if constexpr (std::is_same_v<T, std::vector<int>>) {
        for (const int one : value) values[name] += fmt::format("{},", one);
      } else if constexpr (std::is_enum_v<T>) {
        values[name] = name_of(value);
      } else {
        values[name] = fmt::format("{}", value);
      }
    });
    return values;
  };
  const auto of_a = values_of(a), of_b = values_of(b);
  std::vector<std::string> names;
  for (const auto& [name, value] : of_a) {
    if (of_b.at(name) != value) names.push_back(name);
  }
  return names;
}

// timm's results tables: parameters to the unit, multiply-accumulates less those of norms.
TEST(ResNet, CostsWhatIsPublished) {
  struct Published {
    const char* name;
    std::int64_t params;
    const char* gmac;
  };
  constexpr Published kPublished[] = {
      {"resnet50", 25'557'032, "4.089"},          {"resnet101", 44'549'160, "7.801"},
      {"resnet152", 60'192'808, "11.514"},        {"resnet200", 64'673'832, "15.007"},
      {"resnext50_32x4d", 25'028'904, "4.230"},   {"resnext101_32x4d", 44'177'704, "7.970"},
      {"resnext101_32x8d", 88'791'336, "16.414"}, {"resnext101_64x4d", 83'455'272, "15.460"},
  };
  std::size_t registered = 0;
  for (const RegistryEntry& entry : registry()) registered += entry.family == Family::kResNet ? 1 : 0;
  EXPECT_EQ(registered, std::size(kPublished));
  for (const Published& published : kPublished) {
    const NetworkCost cost = count_cost(architecture(published.name).network, 224, 224);
    EXPECT_EQ(cost.params, published.params) << published.name;
    EXPECT_EQ(fmt::format("{:.3f}", cost.gmac), published.gmac) << published.name;
    EXPECT_EQ(embedding_channels(architecture(published.name).network), 2048);
  }
}

// fvcore, from which timm's tables come, counts 2 an element of every batch norm.
TEST(ResNet, WithNormsCostsWhatTimmsTablesSay) {
  const std::map<std::string, std::string> published = {
      {"resnet50", "4.11"}, {"resnet101", "7.83"}, {"resnet152", "11.56"}, {"resnext50_32x4d", "4.26"}};
  for (const auto& [name, gmac] : published) {
    const NetworkCost cost = count_cost(architecture(name).network, 224, 224);
    EXPECT_EQ(fmt::format("{:.2f}", cost.gmac_with_norms), gmac) << name;
  }
}

// What the programs of torchvision and timm save, but for the counters of batches.
TEST(ResNet, HasTheTensorsOfTorchvision) {
  std::map<std::string, TensorSpec> specs;
  for (const TensorSpec& spec : tensor_specs(architecture("resnext50_32x4d").network)) {
    EXPECT_TRUE(specs.emplace(spec.name, spec).second) << spec.name << " twice";
  }
  EXPECT_EQ(specs.size(), 267u);
  const auto shape = [&specs](const char* name) { return specs.at(name).shape; };
  EXPECT_EQ(shape("conv1.weight"), (Shape{64, 3, 7, 7}));
  EXPECT_EQ(shape("layer1.0.conv1.weight"), (Shape{128, 64, 1, 1}));
  EXPECT_EQ(shape("layer1.0.conv2.weight"), (Shape{128, 4, 3, 3}));
  EXPECT_EQ(shape("layer1.0.downsample.0.weight"), (Shape{256, 64, 1, 1}));
  EXPECT_EQ(shape("layer4.2.bn3.running_var"), (Shape{2048}));
  EXPECT_EQ(shape("fc.weight"), (Shape{1000, 2048}));
  EXPECT_FALSE(specs.contains("conv1.bias"));
  EXPECT_FALSE(specs.contains("layer1.1.downsample.0.weight"));
  for (const auto& [name, spec] : specs) {
    EXPECT_EQ(spec.starts_at_zero, name.ends_with(".bn3.weight")) << name << ": a fresh block is its shortcut";
    EXPECT_EQ(spec.is_classifier, name.starts_with("fc.")) << name;
  }
}

// Convolutions pad, so odd sides round up, the stem's pool included.
TEST(ResNet, MapsOfOddSizes) {
  const std::vector<MapShape> maps = stage_maps(resnet50(), 38, 35);
  ASSERT_EQ(maps.size(), 4u);
  const std::vector<std::int64_t> heights = {10, 5, 3, 2}, widths = {9, 5, 3, 2};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(maps[i].channels, 256 << i);
    EXPECT_EQ(maps[i].height, heights[i]);
    EXPECT_EQ(maps[i].width, widths[i]);
  }
}

TEST(ResNet, WhatNoNetworkCanHaveIsRefused) {
  const auto refused = [](std::initializer_list<std::string> texts, const auto& change) {
    ResNetConfig config = resnet50();
    change(config);
    expect_error(ErrorCode::kInvalidArgument, texts, [&config] { validate(config); });
  };
  refused({"dims has 5", "4 stages"}, [](ResNetConfig& c) { c.dims.push_back(1024); });
  refused({"number of stages", "5"}, [](ResNetConfig& c) { c.depths = {1, 1, 1, 1, 1}; });
  refused({"depths is 0"}, [](ResNetConfig& c) { c.depths[2] = 0; });
  refused({"dims is 0"}, [](ResNetConfig& c) { c.dims[1] = 0; });
  refused({"kernel_size", "4", "odd"}, [](ResNetConfig& c) { c.kernel_size = 4; });
  refused({"inverted", "depthwise"}, [](ResNetConfig& c) { c.block = ResNetConfig::Block::kInverted; });
  refused({"32 groups of 4"}, [](ResNetConfig& c) {
    c.depthwise = true;
    c.groups = 32;
    c.width_per_group = 4;
  });
  refused({"dims holds 24"}, [](ResNetConfig& c) {
    c.dims[0] = 24;
    c.groups = 32;
    c.width_per_group = 4;
  });
  refused({"inside a block"}, [](ResNetConfig& c) {
    c.groups = 16384;
    c.width_per_group = 16384;
  });
  refused({"patch_size"}, [](ResNetConfig& c) { c.patch_size = 0; });
  refused({"norm_eps"}, [](ResNetConfig& c) { c.norm_eps = 0; });
  refused({"classes"}, [](ResNetConfig& c) { c.classes = -1; });
}

TEST(ResNet, OverridesThatItHasAreTakenAndOthersRefused) {
  const NetworkConfig& patches = architecture("roadmap_r50_gelu").network;
  const auto config = std::get<ResNetConfig>(with_overrides(patches, {.depths = std::vector{1, 2},
                                                                      .dims = std::vector{16, 24},
                                                                      .kernel_sizes = std::vector{5, 5},
                                                                      .patch_size = 2,
                                                                      .classes = 10,
                                                                      .input_channels = 1}));
  EXPECT_THAT(config.depths, testing::ElementsAre(1, 2));
  EXPECT_THAT(config.dims, testing::ElementsAre(16, 24));
  EXPECT_EQ(config.kernel_size, 5);
  EXPECT_EQ(config.patch_size, 2);
  EXPECT_EQ(config.classes, 10);
  EXPECT_EQ(config.input_channels, 1);
  const auto refused = [](std::initializer_list<std::string> texts, const NetworkOverrides& overrides) {
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { with_overrides(resnet50(), overrides); });
  };
  refused({"patch size of 2", "'convolution'"}, {.patch_size = 2});
  refused({"3,5,3,3", "the same"}, {.kernel_sizes = std::vector{3, 5, 3, 3}});
}

// Tables 10 and 11, which print GFLOPs alone; parameters are of the choices that model/roadmap.h lists.
TEST(Roadmap, EveryStepCostsWhatThePaperPrints) {
  struct Row {
    const char* step;
    std::int64_t r50_params;
    const char* r50_gmac;
    std::int64_t r200_params;
    const char* r200_gmac;
  };
  constexpr Row kRows[] = {
      {"plain_recipe", 25'557'032, "4.09", 64'673'832, "15.01"},
      {"modern_recipe", 25'557'032, "4.09", 64'673'832, "15.01"},
      {"stage_ratio", 28'628'520, "4.53", 83'066'332, "14.52"},
      {"patchify", 28'622'184, "4.42", 83'058'016, "14.38"},
      {"depthwise", 15'722'664, "2.35", 42'585'556, "7.23"},
      {"width", 33'761'032, "5.27", 96'526'696, "16.76"},
      {"inverted", 25'851'496, "4.64", 83'700'200, "15.68"},
      {"depthwise_first", 25'625'512, "4.07", 83'094'760, "14.63"},
      {"kernel_5", 25'720'744, "4.10", 83'369'192, "14.70"},
      {"kernel_7", 25'863'592, "4.15", 83'780'840, "14.81"},
      {"kernel_9", 26'054'056, "4.21", 84'329'704, "14.95"},
      {"kernel_11", 26'292'136, "4.29", 85'015'784, "15.13"},
      {"gelu", 25'863'592, "4.15", 83'780'840, "14.81"},
      {"fewer_activations", 25'863'592, "4.15", 83'780'840, "14.81"},
      {"fewer_norms", 25'797'160, "4.15", 83'600'104, "14.81"},
      {"layer_norm", 25'797'160, "4.15", 83'600'104, "14.81"},
      {"separate_downsampling", 28'589'128, "4.46", 88'591'464, "15.35"},
  };
  for (const Track track : kTracks) {
    const std::vector<RoadmapStep>& steps = roadmap(track);
    ASSERT_EQ(steps.size(), std::size(kRows));
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool r50 = track == Track::kResNet50;
      const Row& row = kRows[i];
      ASSERT_EQ(steps[i].name, row.step);
      const NetworkCost cost = count_cost(steps[i].network, 224, 224);
      EXPECT_EQ(cost.params, r50 ? row.r50_params : row.r200_params) << row.step;
      EXPECT_EQ(fmt::format("{:.2f}", cost.gmac), r50 ? row.r50_gmac : row.r200_gmac) << row.step;
      // Two figures of table 10 that no arithmetic gives: 4.46 a step before the network whose cost that is, and 4.49.
      const bool misprinted = r50 && i + 2 >= steps.size();
      EXPECT_EQ(fmt::format("{:.2f}", steps[i].published_gflops) == fmt::format("{:.2f}", cost.gmac), !misprinted)
          << row.step;
      EXPECT_GT(steps[i].published_top1, 76.0) << row.step;
      EXPECT_EQ(steps[i].deviation > 0, r50 && i > 0) << row.step;
      EXPECT_FALSE(steps[i].change.empty());
    }
  }
}

// A step that differs in two things would be credited with the effect of both.
TEST(Roadmap, AStepIsTheOneBeforeItAndOneDecision) {
  const std::map<std::string, std::vector<std::string>> decided = {
      {"modern_recipe", {}},
      {"patchify", {"stem"}},
      {"depthwise", {"depthwise"}},
      {"width", {"dims"}},
      {"inverted", {"block"}},
      {"depthwise_first", {"block"}},
      {"kernel_5", {"kernel_size"}},
      {"kernel_7", {"kernel_size"}},
      {"kernel_9", {"kernel_size"}},
      {"kernel_11", {"kernel_size"}},
      {"gelu", {"activation"}},
      {"fewer_activations", {"fewer_activations"}},
      {"fewer_norms", {"fewer_norms"}},
      {"layer_norm", {"norm", "norm_eps"}},
  };
  for (const Track track : kTracks) {
    const std::vector<RoadmapStep>& steps = roadmap(track);
    const auto* before = std::get_if<ResNetConfig>(&steps.front().network);
    EXPECT_FALSE(steps.front().modern_recipe);
    for (std::size_t i = 1; i + 1 < steps.size(); ++i) {
      const RoadmapStep& step = steps[i];
      const auto* config = std::get_if<ResNetConfig>(&step.network);
      ASSERT_TRUE(config) << step.name;
      const std::vector<std::string> fields = differing_fields(*before, *config);
      if (step.name == "stage_ratio") {
        // ResNet-200 is made wider along with it, so that it costs as much as before.
        if (track == Track::kResNet50) {
          EXPECT_THAT(fields, testing::ElementsAre("depths"));
        } else {
          EXPECT_THAT(fields, testing::ElementsAre("depths", "dims"));
        }
      } else {
        EXPECT_THAT(fields, testing::ElementsAreArray(decided.at(step.name))) << step.name;
      }
      EXPECT_TRUE(step.modern_recipe);
      EXPECT_EQ(step.main_path, step.name != "kernel_9" && step.name != "kernel_11");
      if (step.main_path) before = config;
    }
  }
}

TEST(Roadmap, EndsAtConvNeXt) {
  EXPECT_EQ(roadmap(Track::kResNet50).back().network, architecture("convnext_tiny").network);
  EXPECT_EQ(roadmap(Track::kResNet200).back().network, architecture("convnext_base").network);
}

TEST(Roadmap, EveryStepIsRegistered) {
  std::set<std::string> registered;
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kRoadmap) registered.insert(entry.name);
  }
  for (const Track track : kTracks) {
    for (const RoadmapStep& step : roadmap(track)) {
      EXPECT_EQ(architecture(step.architecture).network, step.network) << step.name;
      registered.erase(step.architecture);
    }
    EXPECT_EQ(roadmap(track)[1].architecture, track == Track::kResNet50 ? "resnet50" : "resnet200");
    EXPECT_NE(find_architecture(roadmap_rival(track).architecture), nullptr);
  }
  EXPECT_THAT(registered, testing::IsEmpty()) << "registered, and no step";
}

TEST(Roadmap, UnknownNamesAreRefusedWithThoseThatThereAre) {
  EXPECT_EQ(roadmap_step(Track::kResNet200, "width").architecture, "roadmap_r200_width");
  expect_error(ErrorCode::kNotFound, {"r50", "'kernel_8'", "kernel_7, kernel_9", "separate_downsampling"},
               [] { roadmap_step(Track::kResNet50, "kernel_8"); });
  EXPECT_EQ(track_from_name("r200"), Track::kResNet200);
  EXPECT_EQ(name_of(Track::kResNet50), "r50");
  expect_error(ErrorCode::kInvalidArgument, {"r100", "r50", "r200"}, [] { track_from_name("r100"); });
}

TEST(Roadmap, SmallVersionsHaveEveryWidthDivided) {
  for (const RoadmapStep& step : roadmap(Track::kResNet50)) {
    const NetworkConfig small = with_width_divisor(step.network, 16);
    const int whole = embedding_channels(step.network);
    EXPECT_EQ(embedding_channels(small), whole / 16) << step.name;
  }
  // The groups of a depthwise convolution follow its channels.
  int found = 0;
  for (const TensorSpec& spec : tensor_specs(with_width_divisor(architecture("roadmap_r50_depthwise").network, 16))) {
    if (spec.name != "layer1.0.conv2.weight") continue;
    EXPECT_EQ(spec.shape, (Shape{4, 1, 3, 3}));
    ++found;
  }
  EXPECT_EQ(found, 1);
  for (const RoadmapStep& step : roadmap(Track::kResNet200)) EXPECT_NO_THROW(with_width_divisor(step.network, 4));
  expect_error(ErrorCode::kInvalidArgument, {"84", "8"},
               [] { with_width_divisor(roadmap_step(Track::kResNet200, "patchify").network, 8); });
  expect_error(ErrorCode::kInvalidArgument, {"0"}, [] { with_width_divisor(resnet50(), 0); });
  expect_error(ErrorCode::kInvalidArgument, {"ResNet"},
               [] { with_width_divisor(architecture("vit_base_patch16_224").network, 2); });
}

// A run on a small machine saves such cards.
TEST(Roadmap, CardsKeepWhatDiffersFromTheStep) {
  Card card;
  card.architecture = "roadmap_r50_layer_norm";
  card.network = with_width_divisor(architecture(card.architecture).network, 8);
  set_class_count(card.network, 10);
  const std::string json = card_to_json(card);
  EXPECT_EQ(nlohmann::json::parse(json).at("network"), nlohmann::json({{"dims", {12, 24, 48, 96}}, {"classes", 10}}));
  EXPECT_EQ(card_from_json(json, "memory").network, card.network);

  card.architecture = "resnet50";
  card.network = roadmap_step(Track::kResNet50, "layer_norm").network;
  const std::string foreign = card_to_json(card);
  EXPECT_EQ(card_from_json(foreign, "memory").network, card.network) << "every field and every name of a kind";
  expect_error(ErrorCode::kUnsupported, {"block", "basic"},
               [] { card_from_json(R"({"architecture": "resnet50", "network": {"block": "basic"}})", "memory"); });
}

}  // namespace
}  // namespace convnext
