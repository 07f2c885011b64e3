// The tensors of a network: their names in our own layout (timm's key names) and their shapes, in the order in which
// the input meets them. Everything that loads, counts, fills or copies weights goes through this list.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "convnext/tensor.h"
#include "model/config.h"
#include "model/layers.h"

namespace convnext {

// What a tensor is for: decides how it is initialised, whether it is decayed, and how formula weights scale it.
enum class TensorRole {
  // Of a convolution (out, in / groups, height, width), a transposed one (in, out, height, width), or a linear (out,
  // in).
  kWeight,
  kBias,        // of the same
  kNormWeight,  // (channels,)
  kNormBias,
  kLayerScale,  // (channels,): gamma of a block
  kGrnWeight,   // (hidden,): gamma of global response normalisation
  kGrnBias,
  kRunningMean,      // (channels,) of batch norm: no parameter, moved by training
  kRunningVariance,  // the same, positive
  kEmbedding,        // positions, tokens of a class, biases of relative positions
};

struct TensorSpec {
  std::string name;  // "stages.2.blocks.4.mlp.fc1.weight"
  Shape shape;
  TensorRole role;
  bool starts_at_zero = false;  // in a fresh network
  bool is_classifier = false;   // of the layers that give the logits: new when the classes are others
  std::int64_t fan_out = 0;     // of a kWeight: in how many products an input counts, out / groups * height * width
};

// Whether it is learned: what batch norm counts along is not.
bool is_parameter(TensorRole role);

std::vector<TensorSpec> tensor_specs(const NetworkConfig& config);
// Those of one layer, put behind `specs`.
void add_tensor_specs(const LayerSpec& layer, std::vector<TensorSpec>& specs);

// Whether networks are alike in all that tensors tell, but for class count, input channels, and whether linears are
// kept as convolutions. Tensors do not tell epsilons, the activation, nor which norm without bias it is.
bool have_same_tensors(const ConvNextConfig& a, const ConvNextConfig& b);

// Product of the sizes after the first: how many products each output of a kWeight tensor sums.
std::int64_t fan_in(const Shape& shape);

}  // namespace convnext
