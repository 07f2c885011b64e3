// What a network costs, counted layer by layer from its description.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/layers.h"

namespace convnext {

// Of one layer, for one picture.
struct LayerCost {
  LayerSpec layer;
  std::int64_t height = 0;  // of the map that it writes
  std::int64_t width = 0;
  std::int64_t in_elements = 0;  // of the maps that it reads and writes
  std::int64_t out_elements = 0;
  std::int64_t params = 0;
  std::int64_t multiply_accumulates = 0;            // of convolutions and linears
  std::int64_t attention_multiply_accumulates = 0;  // of the two products of attention
};

std::int64_t parameter_count(const LayerSpec& layer);
// Multiply-accumulates for each pixel or token: of a transposed convolution for each that it reads, of others for each
// that they write.
std::int64_t products_of_place(const LayerSpec& layer);
// What fvcore counts for a norm that reads so many elements: 5 each, 2 of a batch norm; 0 for all other layers.
std::int64_t norm_operations(const LayerSpec& layer, std::int64_t elements);
std::int64_t norm_operations(const LayerCost& cost);

// In the order of the network. Throws Error (kInvalidArgument) when the input is too small to leave a pixel at the last
// stage, is not whole patches where a transformer wants them, has a side of 2^31 pixels or more, or makes a layer of
// 2^63 elements or multiply-accumulates.
std::vector<LayerCost> layer_costs(const NetworkConfig& config, std::int64_t height, std::int64_t width);

struct StageCost {
  int depth = 0;
  int dim = 0;
  std::int64_t height = 0;  // of the stage's maps
  std::int64_t width = 0;
  std::int64_t params = 0;  // with the stem in the first stage and each downsampling in the stage that it leads to
  double gmac = 0;
};

// For one picture. A multiply-accumulate counts once: what the paper calls FLOPs.
struct NetworkCost {
  std::int64_t params = 0;
  double gmac = 0;             // convolutions and linears, 1e9
  double gmac_with_norms = 0;  // with 5 an element of a norm, 2 of a batch norm, as fvcore (timm's tables)
  double gmac_attention = 0;   // the two products of attention, which gmac leaves out and papers put in
  std::vector<StageCost> stages;
  std::int64_t head_params = 0;
  double head_gmac = 0;
  // Of float32 maps, when each layer is computed whole: the largest sum of a layer's input, its output, and the
  // shortcut that waits for the end of the block.
  std::uint64_t peak_activation_bytes = 0;
};

// What a stage writes: pixels, or the tokens of a map without those beside it.
struct MapShape {
  int channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
};
// Throws as layer_costs().
std::vector<MapShape> stage_maps(const NetworkConfig& config, std::int64_t height, std::int64_t width);

// Channels of what goes into the classifier.
int embedding_channels(const ConvNextConfig& config);
int embedding_channels(const NetworkConfig& config);

// Throws as layer_costs(), and when the sums do not fit 63 bits.
NetworkCost count_cost(const NetworkConfig& config, std::int64_t height, std::int64_t width);

}  // namespace convnext
