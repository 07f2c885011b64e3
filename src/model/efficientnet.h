// EfficientNet (Tan and Le 2019) and EfficientNetV2 (2021), as timm/models/efficientnet.py builds them.
#pragma once

#include <string_view>
#include <vector>

namespace convnext {

struct NetworkOverrides;

// What the blocks of a stage are made of. Each convolution has a batch norm; all but the last of a block have a SiLU,
// and the only one of kConvolution too. Squeeze and excitation stands before the last 1x1. A block whose input and
// output are alike adds its input.
enum class EfficientNetBlock {
  kConvolution,         // k x k (timm's cn)
  kFusedInverted,       // k x k to the expanded width -> 1x1 (er)
  kDepthwiseSeparable,  // depthwise k x k -> 1x1 (ds)
  kInverted,            // 1x1 to the expanded width -> depthwise k x k -> 1x1 (ir)
};
// "convolution", "fused_inverted", "depthwise_separable", "inverted".
std::string_view name_of(EfficientNetBlock block);

// conv 3x3 stride 2 -> batch norm -> SiLU, the stages, conv 1x1 -> batch norm -> SiLU -> pool -> classifier. Dropout
// before the classifier is a choice of the training (`train --dropout`).
struct EfficientNetConfig {
  // A value a stage each; these are EfficientNet-B0's.
  std::vector<EfficientNetBlock> blocks = {EfficientNetBlock::kDepthwiseSeparable,
                                           EfficientNetBlock::kInverted,
                                           EfficientNetBlock::kInverted,
                                           EfficientNetBlock::kInverted,
                                           EfficientNetBlock::kInverted,
                                           EfficientNetBlock::kInverted,
                                           EfficientNetBlock::kInverted};
  std::vector<int> depths = {1, 2, 2, 3, 3, 4, 1};          // blocks a stage
  std::vector<int> dims = {16, 24, 40, 80, 112, 192, 320};  // channels a stage
  std::vector<int> kernel_sizes = {3, 3, 5, 3, 5, 5, 3};    // odd
  std::vector<int> strides = {1, 2, 2, 2, 1, 2, 1};         // of the first block
  std::vector<int> expansions = {1, 6, 6, 6, 6, 6, 6};      // inner channels for each that enters the block
  // Squeezed channels for each that enters the block; 0: no squeeze and excitation.
  std::vector<double> se_ratios = {0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25};
  int stem_width = 32;
  int head_width = 1280;
  // TensorFlow's padding: as much as leaves ceil(side / stride) pixels, the odd one below and to the right.
  bool same_padding = false;
  double norm_eps = 1e-5;
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output

  int stages() const { return static_cast<int>(blocks.size()); }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("blocks", config.blocks);
    visit("depths", config.depths);
    visit("dims", config.dims);
    visit("kernel_sizes", config.kernel_sizes);
    visit("strides", config.strides);
    visit("expansions", config.expansions);
    visit("se_ratios", config.se_ratios);
    visit("stem_width", config.stem_width);
    visit("head_width", config.head_width);
    visit("same_padding", config.same_padding);
    visit("norm_eps", config.norm_eps);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
  }
  bool operator==(const EfficientNetConfig&) const = default;
};

// Throws Error (kInvalidArgument) with the field, its value and the range: up to 16 stages of equal-length lists,
// depths up to 256, dims up to 16384, odd kernels up to 31, strides 1 and 2, expansions up to 16 (1 in blocks without
// an inner width), ratios from 0 to 1, classes up to 1,000,000, input channels up to 64.
void validate(const EfficientNetConfig& config);
// Puts the overrides in place: depths, dims, kernel sizes, classes and input channels. Throws Error (kInvalidArgument)
// for one that this family does not have.
void apply(const NetworkOverrides& overrides, EfficientNetConfig& config);

// EfficientNet-B0 with wider and deeper stages (section 3.3 there): widths times `width` to the nearest multiple of 8
// that is not more than a tenth below, blocks times `depth`, rounded up.
EfficientNetConfig scaled_efficientnet(double width, double depth);

}  // namespace convnext
