#include "model/roadmap.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "model/registry_entries.h"

namespace convnext {
namespace {

constexpr std::array kTracks = {Named<Track>{Track::kResNet50, "r50"}, Named<Track>{Track::kResNet200, "r200"}};

// Where the tracks differ.
struct Route {
  Track track;
  const char* start;              // registered
  std::vector<int> start_depths;  // of the ResNet
  std::vector<int> depths;        // of the ConvNeXt, which has Swin's
  int ratio_width;                // of the first stage with those depths, which keeps the GFLOPs where they were
  int width;                      // of the first stage of the ConvNeXt, which is Swin's
  const char* goal;               // registered
};

const Route& route_of(Track track) {
  static const Route kToTiny = {Track::kResNet50, "resnet50", {3, 4, 6, 3}, {3, 3, 9, 3}, 64, 96, "convnext_tiny"};
  static const Route kToBase = {Track::kResNet200, "resnet200", {3, 24, 36, 3}, {3, 3, 27, 3}, 84, 128,
                                "convnext_base"};
  return track == Track::kResNet50 ? kToTiny : kToBase;
}

// Widths double from stage to stage.
void set_width(ResNetConfig& config, int width) { config.dims = {width, 2 * width, 4 * width, 8 * width}; }

// A step is the one before it and this.
struct Decision {
  const char* name;
  const char* section;  // of the paper
  std::string change;
  std::function<void(ResNetConfig& design)> decide;
  bool kept = true;
};

std::vector<Decision> decisions(const Route& route) {
  using Design = ResNetConfig;
  std::string ratio = fmt::format("blocks a stage: {} in place of {}", fmt::join(route.depths, ","),
                                  fmt::join(route.start_depths, ","));
  if (route.ratio_width != 64) ratio += fmt::format("; width {} in place of 64", route.ratio_width);
  const std::string width = fmt::format("width {} in place of {}", route.width, route.ratio_width);
  const auto set_ratio = [&route](Design& d) {
    d.depths = route.depths;
    set_width(d, route.ratio_width);
  };
  const auto set_layer_norm = [](Design& d) {
    d.norm = Design::Norm::kLayerNorm;
    d.norm_eps = 1e-6;
  };
  const std::string patches = "stem: 4x4 convolution of stride 4, no max pool";
  const std::string depthwise = "a group a channel in the 3x3 convolution";
  const std::string inverted = "blocks four times as wide inside as outside";
  const std::string moved = "depthwise convolution before the 1x1 ones";
  const std::string one_activation = "one activation a block, between the 1x1 convolutions";
  const std::string one_norm = "one norm a block, before the 1x1 convolutions";
  return {
      {"stage_ratio", "2.2", ratio, set_ratio},
      {"patchify", "2.2", patches, [](Design& d) { d.stem = Design::Stem::kPatch; }},
      {"depthwise", "2.3", depthwise, [](Design& d) { d.depthwise = true; }},
      {"width", "2.3", width, [&route](Design& d) { set_width(d, route.width); }},
      {"inverted", "2.4", inverted, [](Design& d) { d.block = Design::Block::kInverted; }},
      {"depthwise_first", "2.5", moved, [](Design& d) { d.block = Design::Block::kDepthwiseFirst; }},
      {"kernel_5", "2.5", "5x5 depthwise kernel", [](Design& d) { d.kernel_size = 5; }},
      {"kernel_7", "2.5", "7x7 depthwise kernel", [](Design& d) { d.kernel_size = 7; }},
      {"kernel_9", "2.5", "9x9 depthwise kernel", [](Design& d) { d.kernel_size = 9; }, /*kept=*/false},
      {"kernel_11", "2.5", "11x11 depthwise kernel", [](Design& d) { d.kernel_size = 11; }, /*kept=*/false},
      {"gelu", "2.6", "GELU in place of ReLU", [](Design& d) { d.activation = Design::Activation::kGelu; }},
      {"fewer_activations", "2.6", one_activation, [](Design& d) { d.fewer_activations = true; }},
      {"fewer_norms", "2.6", one_norm, [](Design& d) { d.fewer_norms = true; }},
      {"layer_norm", "2.6", "LayerNorm in place of BatchNorm", set_layer_norm},
  };
}

struct Figures {
  double top1 = 0;
  double deviation = 0;
  double gflops = 0;
};

struct Published {
  std::string_view step;
  Figures r50, r200;
};

// Tables 10 and 11 of the paper.
constexpr Published kPublished[] = {
    {"plain_recipe", {76.13, 0, 4.09}, {78.20, 0, 15.01}},
    {"modern_recipe", {78.82, 0.07, 4.09}, {81.14, 0, 15.01}},
    {"stage_ratio", {79.36, 0.07, 4.53}, {81.33, 0, 14.52}},
    {"patchify", {79.51, 0.18, 4.42}, {81.59, 0, 14.38}},
    {"depthwise", {78.28, 0.08, 2.35}, {80.54, 0, 7.23}},
    {"width", {80.50, 0.02, 5.27}, {81.85, 0, 16.76}},
    {"inverted", {80.64, 0.03, 4.64}, {82.64, 0, 15.68}},
    {"depthwise_first", {79.92, 0.08, 4.07}, {82.04, 0, 14.63}},
    {"kernel_5", {80.35, 0.08, 4.10}, {82.32, 0, 14.70}},
    {"kernel_7", {80.57, 0.14, 4.15}, {82.30, 0, 14.81}},
    {"kernel_9", {80.57, 0.06, 4.21}, {82.27, 0, 14.95}},
    {"kernel_11", {80.47, 0.11, 4.29}, {82.18, 0, 15.13}},
    {"gelu", {80.62, 0.14, 4.15}, {82.19, 0, 14.81}},
    {"fewer_activations", {81.27, 0.06, 4.15}, {82.71, 0, 14.81}},
    {"fewer_norms", {81.41, 0.09, 4.15}, {83.17, 0, 14.81}},
    {"layer_norm", {81.47, 0.09, 4.46}, {83.35, 0, 14.81}},
    {"separate_downsampling", {81.97, 0.06, 4.49}, {83.60, 0, 15.35}},
};

Figures published(Track track, std::string_view step) {
  const auto found = std::ranges::find(kPublished, step, &Published::step);
  if (found == std::end(kPublished)) throw std::logic_error(fmt::format("no figures of the step {}", step));
  return track == Track::kResNet50 ? found->r50 : found->r200;
}

// The last decision ends the ResNets: downsampling between the stages, in a 2x2 convolution of its own behind a norm,
// and norms after the stem and after the pool.
ConvNextConfig with_separate_downsampling(const ResNetConfig& from) {
  ConvNextConfig config;
  config.depths = from.depths;
  config.dims = from.dims;
  config.kernel_sizes.assign(from.depths.size(), from.kernel_size);
  config.patch_size = from.patch_size;
  config.input_channels = from.input_channels;
  config.classes = from.classes;
  config.norm_eps = from.norm_eps;
  return config;
}

std::vector<RoadmapStep> make_roadmap(const Route& route) {
  std::vector<RoadmapStep> steps;
  const auto add = [&](std::string name, std::string section, std::string change, std::string architecture,
                       NetworkConfig network) -> RoadmapStep& {
    RoadmapStep& step = steps.emplace_back();
    const Figures figures = published(route.track, name);
    step.name = std::move(name);
    step.section = std::move(section);
    step.change = std::move(change);
    step.architecture = std::move(architecture);
    step.network = std::move(network);
    step.published_top1 = figures.top1;
    step.deviation = figures.deviation;
    step.published_gflops = figures.gflops;
    return step;
  };

  ResNetConfig design;
  design.depths = route.start_depths;
  add("plain_recipe", "2.1", "PyTorch's recipe: 90 epochs of SGD", route.start, design).modern_recipe = false;
  add("modern_recipe", "2.1", "Swin's recipe: 300 epochs of AdamW, strong augmentation", route.start, design);
  for (const Decision& decision : decisions(route)) {
    ResNetConfig next = design;
    decision.decide(next);
    add(decision.name, decision.section, decision.change,
        fmt::format("roadmap_{}_{}", name_of(route.track), decision.name), next)
        .main_path = decision.kept;
    if (decision.kept) design = next;
  }
  add("separate_downsampling", "2.6", "norm and 2x2 convolution between stages, norms after stem and pool", route.goal,
      with_separate_downsampling(design));
  return steps;
}

void divide(std::vector<int>& widths, int divisor) {
  for (int& width : widths) {
    if (width % divisor != 0) {
      throw Error(ErrorCode::kInvalidArgument, fmt::format("a width of {} cannot be divided by {}: the widths are {}",
                                                           width, divisor, fmt::join(widths, ",")));
    }
  }
  for (int& width : widths) width /= divisor;
}

}  // namespace

std::string_view name_of(Track track) { return find_name(kTracks, track); }

Track track_from_name(std::string_view name) { return find_value(kTracks, name, "track"); }

const std::vector<RoadmapStep>& roadmap(Track track) {
  static const std::vector<RoadmapStep> kToTiny = make_roadmap(route_of(Track::kResNet50));
  static const std::vector<RoadmapStep> kToBase = make_roadmap(route_of(Track::kResNet200));
  return track == Track::kResNet50 ? kToTiny : kToBase;
}

const RoadmapStep& roadmap_step(Track track, std::string_view name) {
  const std::vector<RoadmapStep>& steps = roadmap(track);
  const auto found = std::ranges::find(steps, name, &RoadmapStep::name);
  if (found != steps.end()) return *found;
  std::vector<std::string_view> names;
  for (const RoadmapStep& step : steps) names.push_back(step.name);
  throw Error(ErrorCode::kNotFound, fmt::format("no step of the track {} is called '{}'; its steps are {}",
                                                name_of(track), name.substr(0, 80), fmt::join(names, ", ")));
}

RoadmapRival roadmap_rival(Track track) {
  return track == Track::kResNet50 ? RoadmapRival{"swin_tiny_patch4_window7_224", 81.30, 4.50}
                                   : RoadmapRival{"swin_base_patch4_window7_224", 83.50, 15.43};
}

NetworkConfig with_width_divisor(const NetworkConfig& config, int divisor) {
  if (divisor < 1) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("the width divisor is {}, expected 1 or more", divisor));
  }
  NetworkConfig small = config;
  if (auto* resnet = std::get_if<ResNetConfig>(&small)) {
    divide(resnet->dims, divisor);
  } else if (auto* convnext = std::get_if<ConvNextConfig>(&small)) {
    divide(convnext->dims, divisor);
  } else {
    throw Error(ErrorCode::kInvalidArgument, "only the widths of a ResNet and of a ConvNeXt can be divided");
  }
  validate(small);
  return small;
}

void add_roadmap(const AddNetwork& add) {
  for (const Track track : {Track::kResNet50, Track::kResNet200}) {
    for (const RoadmapStep& step : roadmap(track)) {
      const bool is_registered_by_its_family = !step.architecture.starts_with("roadmap_");
      if (!is_registered_by_its_family) add(Family::kRoadmap, step.architecture, step.network, "");
    }
  }
}

}  // namespace convnext
