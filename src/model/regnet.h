// RegNetX and RegNetY (Radosavovic et al., Designing Network Design Spaces, 2020; timm/models/regnet.py).
#pragma once

#include <vector>

namespace convnext {

struct NetworkOverrides;

// conv 3x3 stride 2 -> batch norm -> ReLU, then stages whose first block halves the map, then pool -> classifier.
//
// A block is 1x1 -> 3x3 in groups -> squeeze and excitation -> 1x1, all of the stage's width, each convolution with a
// batch norm (eps 1e-5) and all but the last with a ReLU; the sum with the shortcut goes through a ReLU. Where width or
// stride change the shortcut is a 1x1 convolution with a batch norm.
struct RegNetConfig {
  std::vector<int> depths = {2, 6, 12, 2};        // blocks a stage
  std::vector<int> dims = {128, 192, 512, 1088};  // channels a stage
  int stem_width = 32;
  int group_width = 64;    // channels a group of the 3x3; a stage that is narrower is one group
  double se_ratio = 0.25;  // squeezed channels for each that enters the block; 0: no squeeze and excitation (RegNetX)
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output

  int stages() const { return static_cast<int>(depths.size()); }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("depths", config.depths);
    visit("dims", config.dims);
    visit("stem_width", config.stem_width);
    visit("group_width", config.group_width);
    visit("se_ratio", config.se_ratio);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
  }
  bool operator==(const RegNetConfig&) const = default;
};

// Throws Error (kInvalidArgument) with the field, its value and the range: up to 4 stages, depths up to 256, dims up to
// 16384 and multiples of the group width where they are not below it, se_ratio from 0 to 1, classes up to 1,000,000,
// input channels up to 64.
void validate(const RegNetConfig& config);
// Puts the overrides in place: depths, dims, classes and input channels. Throws Error (kInvalidArgument) for one that
// this family does not have.
void apply(const NetworkOverrides& overrides, RegNetConfig& config);

// The line through the widths of all blocks that a network of the design space is drawn from (section 3.3 there):
// u_j = initial + slope * j is taken to the nearest initial * multiplier^k, that to a multiple of 8, and blocks of one
// width are a stage.
struct RegNetLine {
  int initial = 80;
  double slope = 42.63;
  double multiplier = 2.66;
  int blocks = 21;
};

// How the width of a stage becomes a multiple of its group width.
enum class GroupRounding {
  kNearest,   // the authors' and timm's
  kNotBelow,  // torchvision's: not more than a tenth below
};

// The network of a line. se_ratio as in the config.
RegNetConfig regnet_of_line(const RegNetLine& line, int group_width, double se_ratio,
                            GroupRounding rounding = GroupRounding::kNearest);

}  // namespace convnext
