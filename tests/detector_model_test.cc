// Detectors as descriptions: what they count, what their tensors are, which there are.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

#include "model/detector.h"
#include "model/detector_registry.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "tests/expect_error.h"

namespace convnext {
namespace {

DetectorConfig config_of(std::string_view name) { return find_detector(name).value().config; }

// The convention that reproduces table 3 of the paper (1280x800, convolutions and linears, 1,000 proposals, 100
// masks a stage).
TEST(DetectorCost, IsThePapersToThePrintedDigit) {
  const DetectorCost mask = count_cost(config_of("mask_rcnn_convnext_tiny"), 800, 1280);
  EXPECT_NEAR(mask.gmac, 261.9, 0.05);
  EXPECT_NEAR(static_cast<double>(mask.params) / 1e6, 48.10, 0.005);
  const DetectorCost cascade = count_cost(config_of("cascade_mask_rcnn_convnext_tiny"), 800, 1280);
  EXPECT_NEAR(cascade.gmac, 740.2, 0.05);
  EXPECT_NEAR(static_cast<double>(cascade.params) / 1e6, 85.93, 0.005);
}

// Every part by hand, so that two errors cannot make up for one another.
TEST(DetectorCost, OfEachPartIsThatOfTheFormula) {
  const DetectorCost cost = count_cost(config_of("cascade_mask_rcnn_convnext_tiny"), 800, 1280);
  const double convolution = 9.0 * 256 * 256;
  const double pixels = 320 * 200 + 160 * 100 + 80 * 50 + 40 * 25;
  const double lateral = 256.0 * (320 * 200 * 96 + 160 * 100 * 192 + 80 * 50 * 384 + 40 * 25 * 768);
  ASSERT_EQ(cost.parts.size(), 5u);
  EXPECT_NEAR(cost.parts[1].gmac, (lateral + pixels * convolution) / 1e9, 1e-9);
  EXPECT_NEAR(cost.parts[2].gmac, (pixels + 20 * 13) * (convolution + 256 * 15) / 1e9, 1e-9);
  EXPECT_NEAR(cost.parts[3].gmac, 3e3 * (4 * 49 * convolution + 12544.0 * 1024 + 1024 * 401) / 1e9, 1e-9);
  EXPECT_NEAR(cost.parts[4].gmac, 3e2 * (4 * 196 * convolution + 196 * 4 * 256.0 * 256 + 784 * 256.0 * 80) / 1e9, 1e-9);
  std::int64_t params = 0;
  double gmac = 0;
  for (const DetectorPartCost& part : cost.parts) {
    params += part.params;
    gmac += part.gmac;
  }
  EXPECT_EQ(params, cost.params);
  EXPECT_NEAR(gmac, cost.gmac, 1e-9);
  EXPECT_EQ(cost.parts[0].params, 27818592 + 2 * (96 + 192 + 384 + 768));
  EXPECT_GT(cost.gmac_with_norms, cost.gmac);
}

// Table 3 prints 745 and 267 G for Swin-T, where the linears of attention see the padding of windows and its products
// count; we count linears for what there is.
TEST(DetectorCost, OfSwinIsThePapersWithPaddingAndProducts) {
  const double width = 96, linears_of_attention = 4 * width * width;
  const double padding[] = {322.0 * 203 - 320 * 200, 161.0 * 105 - 160 * 100, 84.0 * 56 - 80 * 50, 42.0 * 28 - 40 * 25};
  const double depths[] = {2, 2, 6, 2};
  double padded = 0;
  for (int i = 0; i < 4; ++i) padded += depths[i] * padding[i] * linears_of_attention * std::pow(4.0, i) / 1e9;
  const DetectorCost cascade = count_cost(config_of("cascade_mask_rcnn_swin_tiny"), 800, 1280);
  EXPECT_NEAR(cascade.gmac + cascade.gmac_attention + padded, 745, 0.5);
  const DetectorCost mask = count_cost(config_of("mask_rcnn_swin_tiny"), 800, 1280);
  EXPECT_NEAR(mask.gmac + mask.gmac_attention + padded, 267, 0.5);
}

// It prints 739 G for ResNet-50, in which batch norms and activations count.
TEST(DetectorCost, OfResNetIsThePapersButForNormsAndActivations) {
  const DetectorCost cost = count_cost(config_of("cascade_mask_rcnn_resnet50"), 800, 1280);
  const double of_heads = 3e3 * (4 * 49 * 256 + 1024) + 3e2 * (4 * 196 * 256 + 784 * 256) + 85260.0 * 256;
  EXPECT_LT(cost.gmac, 739);
  EXPECT_NEAR(cost.gmac_with_norms + of_heads / 1e9, 739, 0.5);
}

TEST(DetectorCost, OfTooSmallAnInputIsAnError) {
  expect_error(ErrorCode::kInvalidArgument, {"too small"},
               [] { count_cost(config_of("mask_rcnn_convnext_tiny"), 16, 1280); });
}

TEST(DetectorTensors, ParametersAreThoseCounted) {
  for (const DetectorEntry& entry : detectors()) {
    std::int64_t params = 0;
    std::set<std::string> names;
    for (const TensorSpec& spec : tensor_specs(entry.config)) {
      if (is_parameter(spec.role)) params += element_count(spec.shape);
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    }
    EXPECT_EQ(params, count_cost(entry.config, 800, 1280).params) << entry.name;
  }
}

TEST(DetectorTensors, HaveTheShapesOfTheFormula) {
  DetectorConfig config = config_of("cascade_mask_rcnn_convnext_atto");
  config.classes = 5;
  config.pyramid_channels = 24;
  std::map<std::string, TensorSpec> specs;
  for (const TensorSpec& spec : tensor_specs(config)) specs.emplace(spec.name, spec);
  EXPECT_EQ(specs.at("pyramid.lateral.3.weight").shape, (Shape{24, 320, 1, 1}));
  EXPECT_EQ(specs.at("proposals.deltas.weight").shape, (Shape{12, 24, 1, 1}));
  EXPECT_EQ(specs.at("box_heads.2.linears.0.weight").shape, (Shape{1024, 24 * 49}));
  EXPECT_EQ(specs.at("box_heads.1.norms.3.running_var").shape, (Shape{24}));
  EXPECT_EQ(specs.at("box_heads.1.scores.weight").shape, (Shape{6, 1024}));
  EXPECT_EQ(specs.at("box_heads.1.deltas.bias").shape, (Shape{20}));
  EXPECT_EQ(specs.at("mask_heads.2.upsample.weight").shape, (Shape{24, 24, 2, 2}));
  EXPECT_EQ(specs.at("mask_heads.0.logits.weight").shape, (Shape{5, 24, 1, 1}));
  EXPECT_FALSE(specs.contains("box_heads.0.convolutions.0.bias"));
  EXPECT_FALSE(specs.contains("backbone.head.norm.weight"));
  EXPECT_TRUE(specs.at("box_heads.1.deltas.bias").is_classifier);
  EXPECT_FALSE(specs.at("proposals.scores.bias").is_classifier);
}

TEST(Detectors, AreFoundByNameOverEveryBackbone) {
  EXPECT_EQ(find_detector("mask_rcnn_convnext_tiny")->box_ap, 46.2);
  EXPECT_EQ(find_detector("cascade_mask_rcnn_convnext_xlarge")->mask_ap, 47.7);
  EXPECT_EQ(find_detector("mask_rcnn_swin_tiny")->backbone, "swin_tiny_patch4_window7_224");
  EXPECT_EQ(find_detector("mask_rcnn_convnextv2_atto")->box_ap, std::nullopt);
  for (const char* none : {"", "mask_rcnn", "mask_rcnn_", "convnext_tiny", "mask_rcnn_convnext_isotropic_small",
                           "mask_rcnn_vit_small_patch16_224", "cascade_mask_rcnn_nothing"}) {
    EXPECT_FALSE(find_detector(none)) << none;
  }
}

TEST(Detectors, SayWhyThereIsNone) {
  EXPECT_EQ(detector_named("mask_rcnn_convnext_tiny").config, find_detector("mask_rcnn_convnext_tiny")->config);
  EXPECT_TRUE(is_detector_name("mask_rcnn_convnext_isotropic_small"));
  EXPECT_FALSE(is_detector_name("mask_rcnn_nothing"));
  const auto refused = [](const char* name, std::initializer_list<std::string> texts) {
    expect_error(ErrorCode::kInvalidArgument, {name}, [name] { detector_named(name); });
    expect_error(ErrorCode::kInvalidArgument, texts, [name] { detector_named(name); });
  };
  refused("mask_rcnn_convnext_isotropic_small", {"convnext_isotropic_small is no backbone", "4 stages", "has 1"});
  refused("cascade_mask_rcnn_vit_small_patch16_224", {"vit_small_patch16_224 is no backbone", "ConvNeXt, a ResNet"});
  refused("mask_rcnn_nothing", {"before the name of a network", "convnext list"});
  refused("convnext_tiny", {"mask_rcnn_ or cascade_mask_rcnn_"});
}

TEST(Detectors, ThatCannotBeAreRefused) {
  const auto refused = [](std::initializer_list<std::string> texts, const auto& change) {
    DetectorConfig config = config_of("cascade_mask_rcnn_convnext_tiny");
    change(config);
    expect_error(ErrorCode::kInvalidArgument, texts, [&config] { validate(config); });
  };
  refused({"classes", "0"}, [](DetectorConfig& config) { config.classes = 0; });
  refused({"stage_weights", "2 values", "3"}, [](DetectorConfig& config) { config.stage_weights.pop_back(); });
  refused({"anchor_ratios"}, [](DetectorConfig& config) { config.anchor_ratios.clear(); });
  refused({"anchor_negative"}, [](DetectorConfig& config) { config.anchor_negative = 0.8; });
  refused({"score_threshold"}, [](DetectorConfig& config) { config.score_threshold = std::nan(""); });
  refused({"the backbone's classes", "1000"},
          [](DetectorConfig& config) { config.backbone = architecture("convnext_tiny").network; });
  refused({"stride", "2"}, [](DetectorConfig& config) { std::get<ConvNextConfig>(config.backbone).patch_size = 2; });
}

}  // namespace
}  // namespace convnext
