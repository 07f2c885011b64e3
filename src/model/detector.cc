#include "model/detector.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "convnext/error.h"
#include "core/names.h"
#include "model/description.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry.h"

namespace convnext {
namespace {

using BoxHead = DetectorConfig::BoxHead;
using BoxLoss = DetectorConfig::BoxLoss;

constexpr int kBackboneStages = 4;
constexpr std::string_view kBackbonePrefix = "backbone.";
// Regions that papers count the heads for, whatever is kept of them.
constexpr std::int64_t kCountedProposals = 1000, kCountedDetections = 100;

constexpr std::array kBoxHeads = {Named<BoxHead>{BoxHead::kLinears, "linears"},
                                  Named<BoxHead>{BoxHead::kConvolutions, "convolutions"}};
constexpr std::array kBoxLosses = {Named<BoxLoss>{BoxLoss::kDeltas, "deltas"}, Named<BoxLoss>{BoxLoss::kGiou, "giou"}};
constexpr std::array kPartNames = {
    Named<DetectorPart>{DetectorPart::kBackbone, "backbone"}, Named<DetectorPart>{DetectorPart::kPyramid, "pyramid"},
    Named<DetectorPart>{DetectorPart::kProposals, "proposals"}, Named<DetectorPart>{DetectorPart::kBoxes, "boxes"},
    Named<DetectorPart>{DetectorPart::kMasks, "masks"}};

// What is around the backbone.
class HeadLayers : private LayerList {
 public:
  HeadLayers(const DetectorConfig& config, std::vector<DetectorLayer>& all) : config_(config), all_(all) {
    part_.place = LayerPlace::kHead;
  }

  void add_all(const std::vector<int>& widths) && {
    const int channels = config_.pyramid_channels;
    if (config_.output_norms) {
      for (part_.stage = 0; part_.stage < kBackboneStages; ++part_.stage) {
        const int width = widths[static_cast<std::size_t>(part_.stage)];
        add(fmt::format("output_norms.{}", part_.stage), LayerKind::kNorm, width, width);
      }
    }
    take(DetectorPart::kBackbone);
    for (part_.stage = 0; part_.stage < kBackboneStages; ++part_.stage) {
      convolution(fmt::format("pyramid.lateral.{}", part_.stage), widths[static_cast<std::size_t>(part_.stage)],
                  channels, 1, 1, 0);
    }
    for (part_.stage = 0; part_.stage < kBackboneStages; ++part_.stage) {
      convolution(fmt::format("pyramid.output.{}", part_.stage), channels, channels, 3, 1, 1);
    }
    take(DetectorPart::kPyramid);
    part_.stage = 0;
    const int anchors = config_.anchors_of_place();
    convolution("proposals.convolution", channels, channels, 3, 1, 1);
    activation("proposals.activation", channels);
    convolution("proposals.scores", channels, anchors, 1, 1, 0);
    convolution("proposals.deltas", channels, 4 * anchors, 1, 1, 0);
    take(DetectorPart::kProposals);
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) box_head();
    take(DetectorPart::kBoxes);
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) mask_head();
    take(DetectorPart::kMasks);
  }

 private:
  void take(DetectorPart part) {
    for (LayerSpec& layer : layers_) all_.push_back({std::move(layer), part});
    layers_.clear();
  }

  void box_head() {
    const std::string prefix = fmt::format("box_heads.{}.", part_.stage);
    const int channels = config_.pyramid_channels;
    int linears = 2;
    if (config_.box_head == BoxHead::kConvolutions) {
      linears = 1;
      for (int i = 0; i < kHeadConvolutions; ++i) {
        convolution_before_norm(fmt::format("{}convolutions.{}", prefix, i), channels, channels, 3, 1);
        add(fmt::format("{}norms.{}", prefix, i), LayerKind::kBatchNorm, channels, channels);
      }
    }
    int width = channels * config_.box_bins * config_.box_bins;
    for (int i = 0; i < linears; ++i) {
      add(fmt::format("{}linears.{}", prefix, i), LayerKind::kLinear, width, config_.box_hidden);
      width = config_.box_hidden;
    }
    add(prefix + "scores", LayerKind::kLinear, width, config_.classes + 1);
    add(prefix + "deltas", LayerKind::kLinear, width, 4 * config_.classes);
  }

  void mask_head() {
    const std::string prefix = fmt::format("mask_heads.{}.", part_.stage);
    const int channels = config_.pyramid_channels;
    for (int i = 0; i < kHeadConvolutions; ++i) {
      convolution(fmt::format("{}convolutions.{}", prefix, i), channels, channels, 3, 1, 1);
    }
    LayerSpec& upsample = add(prefix + "upsample", LayerKind::kTransposedConvolution, channels, channels);
    upsample.kernel = 2;
    upsample.stride = 2;
    convolution(prefix + "logits", channels, config_.classes, 1, 1, 0);
  }

  const DetectorConfig& config_;
  std::vector<DetectorLayer>& all_;
};

// Channels that a network's stages give.
std::vector<int> stage_widths(const std::vector<LayerSpec>& layers) {
  std::vector<int> widths;
  for (const LayerSpec& layer : layers) {
    if (layer.branch != LayerBranch::kMain) continue;
    widths.resize(std::max(widths.size(), static_cast<std::size_t>(layer.stage) + 1));
    widths[static_cast<std::size_t>(layer.stage)] = layer.out_channels;
  }
  return widths;
}

// Those whose number depends on that of the classes.
bool is_of_classes(const LayerSpec& layer) {
  return layer.name.ends_with(".scores") || layer.name.ends_with(".deltas") || layer.name.ends_with(".logits");
}

NetworkConfig without_head(NetworkConfig network) {
  set_class_count(network, 0);
  // Windows do not divide the maps of most pictures.
  if (auto* swin = std::get_if<SwinConfig>(&network)) swin->pads_windows = true;
  return network;
}

DetectorConfig detector_over(const NetworkConfig& backbone) {
  DetectorConfig config;
  config.backbone = without_head(backbone);
  if (std::holds_alternative<ResNetConfig>(backbone)) {
    config.output_norms = false;
    config.frozen_stages = 1;
  }
  return config;
}

void check_stage_values(std::string_view what, const std::vector<double>& values, std::size_t stages, double low,
                        double high) {
  if (values.size() != stages) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} values, expected one for each of the {} stages", what, values.size(), stages));
  }
  for (const double value : values) check_interval(what, value, low, high);
}

// Pixels of each level of the pyramid, for an input that leaves a pixel at the last stage.
std::array<std::int64_t, kPyramidLevels> level_pixels(const std::vector<MapShape>& maps) {
  std::array<std::int64_t, kPyramidLevels> pixels{};
  for (std::size_t i = 0; i < kBackboneStages; ++i) pixels[i] = maps[i].height * maps[i].width;
  const MapShape& last = maps[kBackboneStages - 1];
  // Every other pixel of the last map.
  pixels[kBackboneStages] = ((last.height + 1) / 2) * ((last.width + 1) / 2);
  return pixels;
}

}  // namespace

std::string_view name_of(DetectorConfig::BoxHead head) { return find_name(kBoxHeads, head); }
std::string_view name_of(DetectorConfig::BoxLoss loss) { return find_name(kBoxLosses, loss); }
std::string_view name_of(DetectorPart part) { return find_name(kPartNames, part); }

DetectorConfig mask_rcnn(const NetworkConfig& backbone) { return detector_over(backbone); }

DetectorConfig cascade_mask_rcnn(const NetworkConfig& backbone) {
  DetectorConfig config = detector_over(backbone);
  config.anchors_inside = true;
  config.anchor_smooth_l1 = 1.0 / 9.0;
  config.proposals_train = 2000;
  config.box_head = BoxHead::kConvolutions;
  config.box_loss = BoxLoss::kGiou;
  config.low_quality = false;
  config.stage_overlaps = {0.5, 0.6, 0.7};
  config.stage_centre_deviations = {0.1, 0.05, 0.033};
  config.stage_size_deviations = {0.2, 0.1, 0.067};
  config.stage_weights = {1.0, 0.5, 0.25};
  return config;
}

void validate(const DetectorConfig& config) {
  constexpr int kMaxRegions = 100000;
  constexpr int kMaxClasses = 100000;  // LVIS has 1,203
  validate(config.backbone);
  check_range("the backbone's classes", class_count(config.backbone), 0, 0);
  const bool is_known = std::holds_alternative<ConvNextConfig>(config.backbone) ||
                        std::holds_alternative<ResNetConfig>(config.backbone) ||
                        std::holds_alternative<SwinConfig>(config.backbone);
  if (!is_known) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a detector's backbone is a ConvNeXt, a ResNet or a Swin, and this is a {}",
                            name_of(family_of(config.backbone))));
  }
  const std::vector<LayerSpec> backbone = backbone_layers(config);
  const std::size_t stages_of_backbone = stage_widths(backbone).size();
  if (stages_of_backbone != kBackboneStages) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("a detector's pyramid is made of a backbone's {} stages, each of half the resolution of the "
                    "one before, and this backbone has {}",
                    kBackboneStages, stages_of_backbone));
  }
  const std::int64_t side = 64 * std::int64_t{kPyramidStrides[kBackboneStages - 1]};
  const std::vector<MapShape> maps = stage_maps(config.backbone, side, side);
  for (std::size_t i = 0; i < kBackboneStages; ++i) {
    check_range(fmt::format("the stride of the backbone's stage {}", i), side / maps[i].height, kPyramidStrides[i],
                kPyramidStrides[i]);
  }
  check_range("frozen_stages", config.frozen_stages, 0, kBackboneStages);
  check_range("pyramid_channels", config.pyramid_channels, 1, 4096);
  check_range("classes", config.classes, 1, kMaxClasses);
  check_interval("anchor_scale", config.anchor_scale, 0.125, 64);
  check_range("the number of anchor_ratios", static_cast<std::int64_t>(config.anchor_ratios.size()), 1, 32);
  for (const double ratio : config.anchor_ratios) check_interval("anchor_ratios", ratio, 0.01, 100);
  check_interval("anchor_positive", config.anchor_positive, 0, 1);
  check_interval("anchor_negative", config.anchor_negative, 0, config.anchor_positive);
  check_range("anchor_samples", config.anchor_samples, 1, kMaxRegions);
  check_interval("anchor_smooth_l1", config.anchor_smooth_l1, 0, 100);
  check_range("level_proposals_train", config.level_proposals_train, 1, kMaxRegions);
  check_range("level_proposals", config.level_proposals, 1, kMaxRegions);
  check_range("proposals_train", config.proposals_train, 1, kMaxRegions);
  check_range("proposals", config.proposals, 1, kMaxRegions);
  check_interval("proposal_overlap", config.proposal_overlap, 0, 1);
  check_range("box_hidden", config.box_hidden, 1, 16384);
  check_range("box_bins", config.box_bins, 1, 64);
  check_range("mask_bins", config.mask_bins, 1, 64);
  check_range("box_samples", config.box_samples, 1, kMaxRegions);
  const std::size_t stages = config.stage_overlaps.size();
  check_range("the number of stages", static_cast<std::int64_t>(stages), 1, 4);
  check_stage_values("stage_overlaps", config.stage_overlaps, stages, 0, 1);
  check_stage_values("stage_centre_deviations", config.stage_centre_deviations, stages, 1e-6, 100);
  check_stage_values("stage_size_deviations", config.stage_size_deviations, stages, 1e-6, 100);
  check_stage_values("stage_weights", config.stage_weights, stages, 0, 100);
  check_interval("score_threshold", config.score_threshold, 0, 1);
  check_interval("detection_overlap", config.detection_overlap, 0, 1);
  check_range("detections", config.detections, 1, kMaxRegions);
  check_interval("mask_threshold", config.mask_threshold, 0, 1);
}

std::vector<LayerSpec> backbone_layers(const DetectorConfig& config) {
  std::vector<LayerSpec> layers = layer_specs(config.backbone);
  std::erase_if(layers, [](const LayerSpec& layer) { return layer.place == LayerPlace::kHead; });
  return layers;
}

std::vector<DetectorLayer> layer_specs(const DetectorConfig& config) {
  std::vector<DetectorLayer> layers;
  const std::vector<LayerSpec> backbone = backbone_layers(config);
  for (const LayerSpec& layer : backbone) {
    DetectorLayer& one = layers.emplace_back(DetectorLayer{layer, DetectorPart::kBackbone});
    one.layer.name = std::string(kBackbonePrefix) + layer.name;
  }
  HeadLayers(config, layers).add_all(stage_widths(backbone));
  return layers;
}

std::vector<TensorSpec> tensor_specs(const DetectorConfig& config) {
  std::vector<TensorSpec> specs;
  for (const DetectorLayer& one : layer_specs(config)) {
    const std::size_t first = specs.size();
    add_tensor_specs(one.layer, specs);
    const bool is_head = one.part == DetectorPart::kBoxes || one.part == DetectorPart::kMasks;
    for (std::size_t i = first; i < specs.size(); ++i) specs[i].is_classifier = is_head && is_of_classes(one.layer);
  }
  return specs;
}

DetectorCost count_cost(const DetectorConfig& config, std::int64_t height, std::int64_t width) {
  const std::vector<MapShape> maps = stage_maps(config.backbone, height, width);
  const auto pixels = level_pixels(maps);
  std::int64_t all_pixels = 0;
  for (const std::int64_t level : pixels) all_pixels += level;

  std::vector<LayerCost> of_backbone = layer_costs(config.backbone, height, width);
  std::erase_if(of_backbone, [](const LayerCost& cost) { return cost.layer.place == LayerPlace::kHead; });
  std::int64_t norms = 0, attention = 0, products = 0;
  DetectorCost cost;
  for (const DetectorPart part : kDetectorParts) cost.parts.push_back({.part = part});
  std::array<std::int64_t, std::size(kDetectorParts)> products_of{};
  const auto add = [&](DetectorPart part, std::int64_t params, std::int64_t macs) {
    const auto index = static_cast<std::size_t>(part);
    cost.parts[index].params += params;
    products_of[index] += macs;
    cost.params += params;
    products += macs;
  };
  for (const LayerCost& one : of_backbone) {
    add(DetectorPart::kBackbone, one.params, one.multiply_accumulates);
    attention += one.attention_multiply_accumulates;
    norms += norm_operations(one);
  }
  for (const auto& [layer, part] : layer_specs(config)) {
    if (layer.name.starts_with(kBackbonePrefix)) continue;  // counted above
    std::int64_t places = 0;
    switch (part) {
      case DetectorPart::kBackbone:
      case DetectorPart::kPyramid:
        places = pixels[static_cast<std::size_t>(layer.stage)];
        break;
      case DetectorPart::kProposals:
        places = all_pixels;
        break;
      case DetectorPart::kBoxes:
        places = kCountedProposals * (layer.kind == LayerKind::kLinear ? 1 : config.box_bins * config.box_bins);
        break;
      case DetectorPart::kMasks:
        places = kCountedDetections * config.mask_bins * config.mask_bins * (layer.name.ends_with(".logits") ? 4 : 1);
        break;
    }
    add(part, parameter_count(layer), products_of_place(layer) * places);
    norms += norm_operations(layer, places * layer.in_channels);
  }
  const auto giga = [](std::int64_t count) { return static_cast<double>(count) / 1e9; };
  for (std::size_t i = 0; i < cost.parts.size(); ++i) cost.parts[i].gmac = giga(products_of[i]);
  cost.gmac = giga(products);
  cost.gmac_with_norms = giga(products + norms);
  cost.gmac_attention = giga(attention);
  return cost;
}

}  // namespace convnext
