// A network as the list of its layers, in the order in which the input meets them. Tensors, parameters, operations and
// memory are all counted from this one list, never stored.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace convnext {

enum class LayerKind { kConvolution, kLinear, kNorm, kActivation, kGrn, kLayerScale, kAdd, kPool };

// What follows one another inside a stage, for tables and for peak memory.
enum class LayerPlace { kStem, kDownsample, kBlock, kHead };

struct LayerSpec {
  std::string name;  // prefix of its tensors: "stages.0.blocks.1.mlp.fc1"; for layers without tensors, where it stands
  LayerKind kind = LayerKind::kConvolution;
  LayerPlace place = LayerPlace::kStem;
  int stage = 0;  // 0 for the stem, the last one for the head
  int in_channels = 0;
  int out_channels = 0;
  int kernel = 1;  // of a convolution: side of the square kernel, stride, zero padding, groups
  int stride = 1;
  int padding = 0;
  int groups = 1;
  bool bias = true;             // convolutions, linears, and norms that have one
  bool as_convolution = false;  // a linear whose weight is stored as (out, in, 1, 1)
};

std::vector<LayerSpec> layer_specs(const NetworkConfig& config);

}  // namespace convnext
