// ResNet (He et al. 2016, the stride of a block on its 3x3 as everybody trains it), ResNeXt (Xie et al. 2017), and
// every network on the way from there to ConvNeXt, which model/roadmap.h walks.
//
// A block is three convolutions, each with a norm and an activation behind it, whose sum with the shortcut goes through
// an activation once more; where the shape changes, the shortcut is a 1x1 convolution with a norm. Convolutions have no
// bias. Tensors are named as timm and torchvision name them (conv1, bn1, layer1.0.conv2, layer1.0.downsample.1, fc),
// the norms that no longer count batches "norm" in place of "bn".
#pragma once

#include <string_view>
#include <vector>

namespace convnext {

struct NetworkOverrides;

struct ResNetConfig {
  // The layers before the first stage, to dims[0] channels.
  enum class Stem {
    kConvolution,  // conv 7x7 stride 2 -> norm -> activation -> max pool 3x3 stride 2
    kPatch,        // conv of kernel and stride patch_size -> norm -> activation
  };
  // The convolutions of a block, w its stage's width. The one over kernel_size pixels has the block's stride.
  enum class Block {
    kBottleneck,      // 1x1 to w -> kernel_size -> 1x1 to 4w
    kInverted,        // 1x1 to 4w -> kernel_size -> 1x1 to w
    kDepthwiseFirst,  // kernel_size on what comes in -> 1x1 to 4w -> 1x1 to w
  };
  enum class Activation { kRelu, kGelu };
  enum class Norm {
    kBatchNorm,  // over the pictures, momentum 0.1
    kLayerNorm,  // over the channels of a pixel
  };

  std::vector<int> depths = {3, 4, 6, 3};       // blocks a stage
  std::vector<int> dims = {64, 128, 256, 512};  // w of a stage
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output
  Stem stem = Stem::kConvolution;
  int patch_size = 4;  // of a kPatch stem
  Block block = Block::kBottleneck;
  int kernel_size = 3;  // odd
  // The convolution over kernel_size pixels has a group a channel; always so but in a bottleneck.
  bool depthwise = false;
  // ResNeXt: that convolution has `groups` groups of width_per_group channels where w is 64, and more as w is.
  int groups = 1;
  int width_per_group = 64;
  Activation activation = Activation::kRelu;
  bool fewer_activations = false;  // only the one before the last convolution of a block
  Norm norm = Norm::kBatchNorm;
  bool fewer_norms = false;  // only the one after the convolution over kernel_size pixels, and those of the shortcuts
  double norm_eps = 1e-5;

  int stages() const { return static_cast<int>(depths.size()); }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("depths", config.depths);
    visit("dims", config.dims);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
    visit("stem", config.stem);
    visit("patch_size", config.patch_size);
    visit("block", config.block);
    visit("kernel_size", config.kernel_size);
    visit("depthwise", config.depthwise);
    visit("groups", config.groups);
    visit("width_per_group", config.width_per_group);
    visit("activation", config.activation);
    visit("fewer_activations", config.fewer_activations);
    visit("norm", config.norm);
    visit("fewer_norms", config.fewer_norms);
    visit("norm_eps", config.norm_eps);
  }
  bool operator==(const ResNetConfig&) const = default;
};

// Throws Error (kInvalidArgument) with the field, its value and the range, when no such network can exist: up to 4
// stages, depths up to 256, dims up to 16384, odd kernels up to 31, patch up to 64, classes up to 1,000,000, input
// channels up to 64.
void validate(const ResNetConfig& config);
// Puts the overrides in place. Throws Error (kInvalidArgument) for one that does not go with the rest.
void apply(const NetworkOverrides& overrides, ResNetConfig& config);

// The names used in cards: "convolution", "depthwise_first", "relu", "batch_norm", ...
std::string_view name_of(ResNetConfig::Stem stem);
std::string_view name_of(ResNetConfig::Block block);
std::string_view name_of(ResNetConfig::Activation activation);
std::string_view name_of(ResNetConfig::Norm norm);

}  // namespace convnext
