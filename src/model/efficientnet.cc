#include "model/efficientnet.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "convnext/error.h"
#include "model/config.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry_entries.h"
#include "model/width_rounding.h"

namespace convnext {
namespace {

using enum EfficientNetBlock;

constexpr double kTensorFlowEps = 1e-3;

// Collects the layers of one EfficientNet, named as timm names them.
class EfficientNetLayers : private LayerList {
 public:
  explicit EfficientNetLayers(const EfficientNetConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    part_.place = LayerPlace::kStem;
    convolution("conv_stem", config_.input_channels, config_.stem_width, 3, 2);
    norm("bn1", config_.stem_width);
    activation("act1", config_.stem_width);
    part_.place = LayerPlace::kBlock;
    channels_ = config_.stem_width;
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) {
      for (part_.block = 0; part_.block < of_stage(config_.depths); ++part_.block) block();
    }
    part_.block = -1;
    part_.stage = config_.stages() - 1;
    part_.place = LayerPlace::kHead;
    convolution("conv_head", channels_, config_.head_width, 1, 1);
    norm("bn2", config_.head_width);
    activation("act2", config_.head_width);
    add("global_pool", LayerKind::kPool, config_.head_width, config_.head_width);
    if (config_.classes > 0) add("classifier", LayerKind::kLinear, config_.head_width, config_.classes);
    return std::move(layers_);
  }

 private:
  template <typename T>
  const T& of_stage(const std::vector<T>& values) const {
    return values[static_cast<std::size_t>(part_.stage)];
  }

  void block() {
    const int in = channels_, out = of_stage(config_.dims);
    const int kernel = of_stage(config_.kernel_sizes);
    const int stride = part_.block == 0 ? of_stage(config_.strides) : 1;
    const int inner = rounded_width(in * of_stage(config_.expansions));
    switch (of_stage(config_.blocks)) {
      case kConvolution:
        normed("conv", "bn1", in, out, kernel, stride);
        activation(named("bn1.act"), out);
        break;
      case kFusedInverted:
        normed("conv_exp", "bn1", in, inner, kernel, stride);
        activation(named("bn1.act"), inner);
        squeeze_and_excitation(inner);
        normed("conv_pwl", "bn2", inner, out, 1, 1);
        break;
      case kDepthwiseSeparable:
        normed("conv_dw", "bn1", in, in, kernel, stride, in);
        activation(named("bn1.act"), in);
        squeeze_and_excitation(in);
        normed("conv_pw", "bn2", in, out, 1, 1);
        break;
      case kInverted:
        normed("conv_pw", "bn1", in, inner, 1, 1);
        activation(named("bn1.act"), inner);
        normed("conv_dw", "bn2", inner, inner, kernel, stride, inner);
        activation(named("bn2.act"), inner);
        squeeze_and_excitation(inner);
        normed("conv_pwl", "bn3", inner, out, 1, 1);
        break;
    }
    if (stride == 1 && in == out) add(named("shortcut"), LayerKind::kAdd, out, out);
    channels_ = out;
  }

  void squeeze_and_excitation(int channels) {
    const double ratio = of_stage(config_.se_ratios);
    if (ratio <= 0) return;
    // In timm's order of operations: the ratio is of the block's input, the product of the channels here. Halves go to
    // even, as Python rounds.
    const double squeezed_exactly = channels * (ratio / of_stage(config_.expansions));
    const int squeezed = std::max(1, static_cast<int>(std::nearbyint(squeezed_exactly)));
    LayerList::squeeze_and_excitation(named("se"), "conv_reduce", "conv_expand", channels, squeezed);
  }

  std::string named(std::string_view layer) const {
    return fmt::format("blocks.{}.{}.{}", part_.stage, part_.block, layer);
  }

  // A convolution of the block and its batch norm.
  void normed(std::string_view name, std::string_view norm_name, int in, int out, int kernel, int stride,
              int groups = 1) {
    convolution(named(name), in, out, kernel, stride, groups);
    norm(named(norm_name), out);
  }

  void convolution(std::string name, int in, int out, int kernel, int stride, int groups = 1) {
    LayerSpec& layer = convolution_before_norm(std::move(name), in, out, kernel, stride, groups);
    layer.same_padding = config_.same_padding;
    if (layer.same_padding) layer.padding = 0;
  }

  void norm(std::string name, int channels) { add(std::move(name), LayerKind::kBatchNorm, channels, channels); }

  const EfficientNetConfig& config_;
  int channels_ = 0;  // of the map that the next block is given
};

bool has_inner_width(EfficientNetBlock block) { return block == kFusedInverted || block == kInverted; }

// The first stage of V2 is plain convolutions, the next two are fused, and the rest inverted with squeeze and
// excitation (paper of V2, table 4). All kernels are 3x3.
EfficientNetConfig v2(int stem_width, std::vector<int> depths, std::vector<int> dims) {
  constexpr std::array kStrides = {1, 2, 2, 2, 1, 2, 1};
  constexpr std::array kExpansions = {1, 4, 4, 4, 6, 6, 6};
  const std::size_t stages = depths.size();
  EfficientNetConfig config;
  config.blocks.assign(stages, kInverted);
  config.blocks[0] = kConvolution;
  config.blocks[1] = config.blocks[2] = kFusedInverted;
  config.depths = std::move(depths);
  config.dims = std::move(dims);
  config.kernel_sizes.assign(stages, 3);
  config.strides.assign(kStrides.begin(), kStrides.begin() + static_cast<std::ptrdiff_t>(stages));
  config.expansions.assign(kExpansions.begin(), kExpansions.begin() + static_cast<std::ptrdiff_t>(stages));
  config.se_ratios.assign(stages, 0.25);
  std::fill_n(config.se_ratios.begin(), 3, 0.0);
  config.stem_width = stem_width;
  return config;
}

EfficientNetConfig with_eps(EfficientNetConfig config, double eps) {
  config.norm_eps = eps;
  return config;
}

// As TensorFlow computed the network that the authors trained.
EfficientNetConfig of_tensorflow(EfficientNetConfig config) {
  config.same_padding = true;
  config.norm_eps = kTensorFlowEps;
  return config;
}

}  // namespace

std::string_view name_of(EfficientNetBlock block) {
  switch (block) {
    case kConvolution:
      return "convolution";
    case kFusedInverted:
      return "fused_inverted";
    case kDepthwiseSeparable:
      return "depthwise_separable";
    case kInverted:
      return "inverted";
  }
  return "";
}

void validate(const EfficientNetConfig& config) {
  const std::size_t stages = config.blocks.size();
  check_range("the number of stages", static_cast<std::int64_t>(stages), 1, 16);
  check_list("depths", config.depths, stages, 1, 256);
  check_list("dims", config.dims, stages, 1, 16384);
  check_kernels("kernel_sizes", config.kernel_sizes, stages);
  check_list("strides", config.strides, stages, 1, 2);
  check_list("expansions", config.expansions, stages, 1, 16);
  if (config.se_ratios.size() != stages) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("se_ratios has {} values, but there are {} stages", config.se_ratios.size(), stages));
  }
  for (std::size_t i = 0; i < stages; ++i) {
    check_interval("se_ratios", config.se_ratios[i], 0.0, 1.0);
    const std::string_view block = name_of(config.blocks[i]);
    if (config.expansions[i] != 1 && !has_inner_width(config.blocks[i])) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("expansions holds {} for stage {}, whose blocks are '{}': these have no inner width, "
                              "expected 1",
                              config.expansions[i], i, block));
    }
    if (config.se_ratios[i] > 0 && config.blocks[i] == kConvolution) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("se_ratios holds {} for stage {}, whose blocks are '{}': these have no squeeze and "
                              "excitation, expected 0",
                              config.se_ratios[i], i, block));
    }
  }
  check_range("stem_width", config.stem_width, 1, 16384);
  check_range("head_width", config.head_width, 1, 16384);
  check_norm_eps("norm_eps", config.norm_eps);
  check_ends(config.input_channels, config.classes);
}

void apply(const NetworkOverrides& overrides, EfficientNetConfig& config) {
  if (overrides.patch_size) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a patch size of {} does not go with an EfficientNet, whose stem has no patches",
                            *overrides.patch_size));
  }
  if (overrides.depths) config.depths = *overrides.depths;
  if (overrides.dims) config.dims = *overrides.dims;
  if (overrides.kernel_sizes) {
    config.kernel_sizes = *overrides.kernel_sizes;
    if (config.kernel_sizes.size() == 1) config.kernel_sizes.assign(config.blocks.size(), config.kernel_sizes.front());
  }
  if (overrides.classes) config.classes = *overrides.classes;
  if (overrides.input_channels) config.input_channels = *overrides.input_channels;
}

std::vector<LayerSpec> layer_specs(const EfficientNetConfig& config) { return EfficientNetLayers(config).all(); }

EfficientNetConfig scaled_efficientnet(double width, double depth) {
  EfficientNetConfig config;
  for (int& channels : config.dims) channels = rounded_width(channels * width);
  for (int& blocks : config.depths) blocks = static_cast<int>(std::ceil(blocks * depth));
  config.stem_width = rounded_width(config.stem_width * width);
  config.head_width = rounded_width(config.head_width * width);
  return config;
}

void add_efficientnets(const AddNetwork& add) {
  const auto add_network = [&add](std::string name, EfficientNetConfig config, std::string weights) -> RegistryEntry& {
    return add(Family::kEfficientNet, std::move(name), std::move(config), std::move(weights));
  };
  // What timm trains and evaluates a network at that nobody published weights of.
  const auto add_untrained = [&add_network](std::string name, EfficientNetConfig config, int resolution,
                                            double crop_fraction) {
    RegistryEntry& entry = add_network(std::move(name), std::move(config), "");
    entry.preprocessing.resolution = resolution;
    entry.preprocessing.crop_fraction = crop_fraction;
  };

  // B1 to B7 are B0 scaled by width and depth (github.com/tensorflow/tpu, efficientnet_builder.py).
  const std::array scaled = {scaled_efficientnet(1.0, 1.0), scaled_efficientnet(1.0, 1.1),
                             scaled_efficientnet(1.1, 1.2), scaled_efficientnet(1.2, 1.4),
                             scaled_efficientnet(1.4, 1.8), scaled_efficientnet(1.6, 2.2),
                             scaled_efficientnet(1.8, 2.6), scaled_efficientnet(2.0, 3.1)};
  add_network("efficientnet_b0", scaled[0], "ra_in1k");
  add_network("efficientnet_b1", scaled[1], "ra4_e3600_r240_in1k");
  add_network("efficientnet_b2", scaled[2], "ra_in1k");
  add_network("efficientnet_b3", scaled[3], "ra2_in1k");
  add_network("efficientnet_b4", scaled[4], "ra2_in1k");
  add_network("efficientnet_b5", scaled[5], "sw_in12k_ft_in1k");
  add_untrained("efficientnet_b6", scaled[6], 528, 0.942);
  add_untrained("efficientnet_b7", scaled[7], 600, 0.949);
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    add_network(fmt::format("tf_efficientnet_b{}", i), of_tensorflow(scaled[i]), "aa_in1k");
  }
  // torchvision's: the eps of TensorFlow and the padding of PyTorch. Up to B4 its networks are timm's.
  for (std::size_t i = 5; i < scaled.size(); ++i) {
    add_network(fmt::format("efficientnet_b{}_tv", i), with_eps(scaled[i], kTensorFlowEps), "tv_in1k");
  }

  const EfficientNetConfig s = v2(24, {2, 4, 4, 6, 9, 15}, {24, 48, 64, 128, 160, 256});
  const EfficientNetConfig m = v2(24, {3, 5, 5, 7, 14, 18, 5}, {24, 48, 80, 160, 176, 304, 512});
  const EfficientNetConfig l = v2(32, {4, 7, 7, 10, 19, 25, 7}, {32, 64, 96, 192, 224, 384, 640});
  const EfficientNetConfig xl = v2(32, {4, 8, 8, 16, 24, 32, 8}, {32, 64, 96, 192, 256, 512, 640});
  add_untrained("efficientnetv2_s", s, 288, 1.0);
  add_untrained("efficientnetv2_m", m, 320, 1.0);
  add_untrained("efficientnetv2_l", l, 384, 1.0);
  add_untrained("efficientnetv2_xl", xl, 384, 1.0);
  add_network("tf_efficientnetv2_s", of_tensorflow(s), "in1k");
  add_network("tf_efficientnetv2_m", of_tensorflow(m), "in1k");
  add_network("tf_efficientnetv2_l", of_tensorflow(l), "in1k");
  add_network("tf_efficientnetv2_xl", of_tensorflow(xl), "in21k_ft_in1k");
  // torchvision's, by its names.
  add_network("efficientnet_v2_s", with_eps(s, kTensorFlowEps), "tv_in1k");
  add_network("efficientnet_v2_m", with_eps(m, kTensorFlowEps), "tv_in1k");
  add_network("efficientnet_v2_l", with_eps(l, kTensorFlowEps), "tv_in1k");
}

}  // namespace convnext
