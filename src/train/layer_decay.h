// Layer-wise learning rate decay: how deep a parameter lies, counted in layers of one or more blocks.
//
//   const LayerMap layers(config, LayerGrouping::kGrouped);
//   const double scale = std::pow(0.8, layers.head() - layers.of("stages.2.blocks.4.mlp.fc1.weight"));
#pragma once

#include <string_view>
#include <vector>

#include "model/config.h"

namespace convnext {

// Which blocks share a layer, counted through the network. Layer 0 is the stem's, but for kSingle; a downsample belongs
// to the first block after it; final norm and classifier come one after the last.
enum class LayerGrouping {
  kSingle,   // each block its own, the stem in the first block's: ConvNeXt V2's recipes for atto to tiny
  kGrouped,  // three consecutive blocks of a stage: the paper's, where depths 3,3,27,3 make 12 layers
  kTiny,     // 6 layers whatever the depths: 1, 2, the third stage in three equal parts, 6 (the authors' detection code
             // for depths 3,3,9,3); a network without four stages has all its blocks in six equal parts
};

// "single", "grouped", "tiny".
std::string_view name_of(LayerGrouping grouping);
// Throws Error (kInvalidArgument) that lists the names.
LayerGrouping layer_grouping_from_name(std::string_view name);

class LayerMap {
 public:
  // Throws Error (kUnsupported) for a network that is no ConvNeXt.
  LayerMap(const NetworkConfig& config, LayerGrouping grouping);

  // The layer of a parameter under its name in tensor_specs(), 0 to head().
  int of(std::string_view parameter) const;
  // That of the final norm and the classifier: the deepest.
  int head() const { return head_; }

 private:
  int stem_ = 0, head_ = 0;
  std::vector<std::vector<int>> blocks_;  // the layer of each block of each stage
};

}  // namespace convnext
