// The paper's journey from ResNet to ConvNeXt (section 2; its tables 10 and 11): each step is the network before it and
// one decision.
//
//   for (const RoadmapStep& step : roadmap(Track::kResNet50)) fmt::print("{}: {}\n", step.name, step.change);
//
// The authors published the first network and the last, and of those between only accuracy and GFLOPs. From the GFLOPs
// follow the shapes: the stride is on the convolution over several pixels and on the projection of the shortcut; an
// inverted block is four times as wide inside as what it puts out; one whose depthwise convolution comes first has that
// on the channels that come in. What GFLOPs do not tell is open in the paper; here:
//
//   - behind the patches of a stem stay the norm and the activation that were behind its 7x7 convolution; they go with
//     those of the blocks ("fewer_activations", "fewer_norms"). The paper adds a norm after the stem in the last step,
//     so there was none by then;
//   - the sum of block and shortcut goes through an activation, as in ResNet, until "fewer_activations";
//   - the projection of a shortcut keeps its norm, which becomes LayerNorm with that of the block ("layer_norm");
//   - LayerNorm has the epsilon of ConvNeXt's, 1e-6;
//   - convolutions have no bias and blocks no layer scale before the last step, which has both.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace convnext {

enum class Track {
  kResNet50,   // to ConvNeXt-T; table 10
  kResNet200,  // to ConvNeXt-B; table 11
};
std::string_view name_of(Track track);  // "r50", "r200"
// Throws Error (kInvalidArgument) with the names that there are.
Track track_from_name(std::string_view name);

struct RoadmapStep {
  std::string name;           // "depthwise"; the same on both tracks
  std::string section;        // of the paper
  std::string change;         // what is decided, for a person
  std::string architecture;   // as which the network is registered: "roadmap_r50_depthwise", "convnext_tiny"
  NetworkConfig network;      // with the 1,000 classes of ImageNet-1K
  bool modern_recipe = true;  // false: PyTorch's recipe of 90 epochs, which is the first step's
  bool main_path = true;      // false: tried and not kept; the step after it goes on from the last one that was
  double published_top1 = 0;  // ImageNet-1K at 224, percent
  double deviation = 0;       // of three runs; 0 where there was one
  // As printed. The arithmetic gives the same but in the last two steps of the first track: 4.15 and 4.46.
  double published_gflops = 0;
};

// From ResNet to ConvNeXt. The first two steps are one network under two recipes.
const std::vector<RoadmapStep>& roadmap(Track track);

// Throws Error (kNotFound) with the names that the track has.
const RoadmapStep& roadmap_step(Track track, std::string_view name);

// The Transformer that both tables end with.
struct RoadmapRival {
  std::string_view architecture;  // "swin_tiny_patch4_window7_224"
  double published_top1 = 0;
  double published_gflops = 0;
};
RoadmapRival roadmap_rival(Track track);

// The same network with all widths divided, for small machines. Throws Error (kInvalidArgument) when a width is no
// multiple of `divisor`, and for networks that no journey has.
NetworkConfig with_width_divisor(const NetworkConfig& config, int divisor);

}  // namespace convnext
