#include "model/resnet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "convnext/error.h"
#include "model/config.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry_entries.h"

namespace convnext {
namespace {

constexpr int kExpansion = 4;  // how many times as many channels the wide end of a block has

// Channels of the convolution over kernel_size pixels in a bottleneck.
std::int64_t inner_width(const ResNetConfig& config, int width) {
  return std::int64_t{width} * config.width_per_group / 64 * config.groups;
}

int output_width(const ResNetConfig& config, int width) {
  return config.block == ResNetConfig::Block::kBottleneck ? kExpansion * width : width;
}

class ResNetLayers : private LayerList {
 public:
  explicit ResNetLayers(const ResNetConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    stem();
    part_.place = LayerPlace::kBlock;
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) {
      for (part_.block = 0; part_.block < config_.depths[static_cast<std::size_t>(part_.stage)]; ++part_.block) block();
    }
    part_.stage = config_.stages() - 1;
    part_.block = -1;
    head();
    return std::move(layers_);
  }

 private:
  LayerSpec& norm(std::string name, int channels) {
    const bool over_pictures = config_.norm == ResNetConfig::Norm::kBatchNorm;
    return add(std::move(name), over_pictures ? LayerKind::kBatchNorm : LayerKind::kNorm, channels, channels);
  }

  // "bn2" as everybody calls a batch norm.
  std::string norm_name(int number) const {
    return fmt::format("{}{}", config_.norm == ResNetConfig::Norm::kBatchNorm ? "bn" : "norm", number);
  }

  void stem() {
    channels_ = config_.dims[0];
    if (config_.stem == ResNetConfig::Stem::kPatch) {
      convolution_before_norm("conv1", config_.input_channels, channels_, config_.patch_size, config_.patch_size)
          .padding = 0;
    } else {
      convolution_before_norm("conv1", config_.input_channels, channels_, 7, 2);
    }
    if (!config_.fewer_norms) norm(norm_name(1), channels_);
    if (!config_.fewer_activations) add("act1", LayerKind::kActivation, channels_, channels_);
    if (config_.stem == ResNetConfig::Stem::kConvolution) {
      LayerSpec& pool = add("maxpool", LayerKind::kMaxPool, channels_, channels_);
      pool.kernel = 3;
      pool.stride = 2;
      pool.padding = 1;
    }
  }

  struct Part {
    int out = 0;
    bool spatial = false;  // over kernel_size pixels, with the stride
  };

  std::array<Part, 3> parts(int width) const {
    const int wide = kExpansion * width;
    const int inner = static_cast<int>(inner_width(config_, width));
    switch (config_.block) {
      case ResNetConfig::Block::kBottleneck:
        return {{{inner}, {inner, true}, {wide}}};
      case ResNetConfig::Block::kInverted:
        return {{{wide}, {wide, true}, {width}}};
      case ResNetConfig::Block::kDepthwiseFirst:
        return {{{channels_, true}, {wide}, {width}}};
    }
    return {};
  }

  void block() {
    const std::string prefix = fmt::format("layer{}.{}.", part_.stage + 1, part_.block);
    const int width = config_.dims[static_cast<std::size_t>(part_.stage)];
    const int in = channels_, out = output_width(config_, width);
    const int stride = part_.stage > 0 && part_.block == 0 ? 2 : 1;
    int number = 0;
    for (const Part& part : parts(width)) {
      ++number;
      const std::string name = fmt::format("{}conv{}", prefix, number);
      if (part.spatial) {
        convolution_before_norm(name, channels_, part.out, config_.kernel_size, stride,
                                config_.depthwise ? part.out : config_.groups);
      } else {
        convolution_before_norm(name, channels_, part.out, 1, 1);
      }
      channels_ = part.out;
      // timm's zero_init_last: a fresh block is its shortcut.
      if (part.spatial || !config_.fewer_norms) {
        norm(prefix + norm_name(number), channels_).starts_at_zero = number == 3;
      }
      if (number == 2 || (number == 1 && !config_.fewer_activations)) activation(prefix, number);
    }
    if (in != out || stride != 1) {
      convolution_before_norm(prefix + "downsample.0", in, out, 1, stride).branch = LayerBranch::kShortcut;
      norm(prefix + "downsample.1", out).branch = LayerBranch::kShortcut;
    }
    add(prefix + "shortcut", LayerKind::kAdd, out, out);
    if (!config_.fewer_activations) activation(prefix, 3);
  }

  void activation(const std::string& prefix, int number) {
    add(fmt::format("{}act{}", prefix, number), LayerKind::kActivation, channels_, channels_);
  }

  void head() {
    part_.place = LayerPlace::kHead;
    add("global_pool", LayerKind::kPool, channels_, channels_);
    if (config_.classes > 0) add("fc", LayerKind::kLinear, channels_, config_.classes);
  }

  const ResNetConfig& config_;
  int channels_ = 0;  // of the map so far
};

ResNetConfig resnet(std::vector<int> depths, int groups = 1, int width_per_group = 64) {
  ResNetConfig config;
  config.depths = std::move(depths);
  config.groups = groups;
  config.width_per_group = width_per_group;
  return config;
}

// Which of the fields about groups go together.
void check_groups(const ResNetConfig& config) {
  check_range("groups", config.groups, 1, 16384);
  check_range("width_per_group", config.width_per_group, 1, 16384);
  if (config.block != ResNetConfig::Block::kBottleneck && !config.depthwise) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a block '{}' is depthwise, and this one is not", name_of(config.block)));
  }
  if (config.depthwise && (config.groups != 1 || config.width_per_group != 64)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} groups of {} channels do not go with a depthwise convolution, which has one a channel",
                            config.groups, config.width_per_group));
  }
  for (const int width : config.dims) {
    if (std::int64_t{width} * config.width_per_group % 64 != 0) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("dims holds {}, which leaves no whole number of channels in a group: it times {} is no "
                              "multiple of 64",
                              width, config.width_per_group));
    }
    check_range("the width inside a block", inner_width(config, width), 1, 65536);
  }
}

}  // namespace

void validate(const ResNetConfig& config) {
  const std::size_t stages = config.depths.size();
  check_range("the number of stages", static_cast<std::int64_t>(stages), 1, 4);
  check_list("depths", config.depths, stages, 1, 256);
  check_list("dims", config.dims, stages, 1, 16384);
  check_range("patch_size", config.patch_size, 1, 64);
  check_kernels("kernel_size", {config.kernel_size}, 1);
  check_groups(config);
  check_ends(config.input_channels, config.classes);
  check_norm_eps("norm_eps", config.norm_eps);
}

void apply(const NetworkOverrides& overrides, ResNetConfig& config) {
  if (overrides.depths) config.depths = *overrides.depths;
  if (overrides.dims) config.dims = *overrides.dims;
  if (const auto& kernels = overrides.kernel_sizes) {
    if (kernels->empty() || std::ranges::any_of(*kernels, [&](int kernel) { return kernel != kernels->front(); })) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("kernel sizes of {}, but all stages of a ResNet have the same: give one",
                              fmt::join(*kernels, ",")));
    }
    if (kernels->size() != 1) check_list("kernel_sizes", *kernels, config.depths.size(), 1, 31);
    config.kernel_size = kernels->front();
  }
  if (overrides.patch_size) {
    if (config.stem != ResNetConfig::Stem::kPatch) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("a patch size of {} does not go with the stem '{}', which has no patches",
                              *overrides.patch_size, name_of(config.stem)));
    }
    config.patch_size = *overrides.patch_size;
  }
  if (overrides.classes) config.classes = *overrides.classes;
  if (overrides.input_channels) config.input_channels = *overrides.input_channels;
}

std::string_view name_of(ResNetConfig::Stem stem) {
  switch (stem) {
    case ResNetConfig::Stem::kConvolution:
      return "convolution";
    case ResNetConfig::Stem::kPatch:
      return "patch";
  }
  return "";
}

std::string_view name_of(ResNetConfig::Block block) {
  switch (block) {
    case ResNetConfig::Block::kBottleneck:
      return "bottleneck";
    case ResNetConfig::Block::kInverted:
      return "inverted";
    case ResNetConfig::Block::kDepthwiseFirst:
      return "depthwise_first";
  }
  return "";
}

std::string_view name_of(ResNetConfig::Activation activation) {
  switch (activation) {
    case ResNetConfig::Activation::kRelu:
      return "relu";
    case ResNetConfig::Activation::kGelu:
      return "gelu";
  }
  return "";
}

std::string_view name_of(ResNetConfig::Norm norm) {
  switch (norm) {
    case ResNetConfig::Norm::kBatchNorm:
      return "batch_norm";
    case ResNetConfig::Norm::kLayerNorm:
      return "layer_norm";
  }
  return "";
}

std::vector<LayerSpec> layer_specs(const ResNetConfig& config) { return ResNetLayers(config).all(); }

void add_resnets(const AddNetwork& add) {
  const auto add_resnet = [&add](std::string name, ResNetConfig config, std::string weights) {
    add(Family::kResNet, std::move(name), std::move(config), std::move(weights));
  };
  const std::string tv = "tv_in1k";  // torchvision's first, by the recipe of 2017 that the paper begins with
  add_resnet("resnet50", resnet({3, 4, 6, 3}), tv);
  add_resnet("resnet101", resnet({3, 4, 23, 3}), tv);
  add_resnet("resnet152", resnet({3, 8, 36, 3}), tv);
  add_resnet("resnet200", resnet({3, 24, 36, 3}), "");
  add_resnet("resnext50_32x4d", resnet({3, 4, 6, 3}, 32, 4), tv);
  add_resnet("resnext101_32x4d", resnet({3, 4, 23, 3}, 32, 4), "gluon_in1k");
  add_resnet("resnext101_32x8d", resnet({3, 4, 23, 3}, 32, 8), tv);
  add_resnet("resnext101_64x4d", resnet({3, 4, 23, 3}, 64, 4), tv);
}

}  // namespace convnext
