// A network as the list of its layers, in the order in which the input meets them. Tensors, parameters, operations and
// memory are all counted from this one list, never stored.
#pragma once

#include <string>
#include <vector>

#include "convnext/tensor.h"
#include "model/config.h"

namespace convnext {

enum class LayerKind {
  kConvolution,
  kTransposedConvolution,  // kernel and stride alike: every pixel becomes stride * stride
  kLinear,
  kNorm,        // over the channels of a pixel or token
  kBatchNorm,   // over the pictures: weight, bias and the running mean and variance
  kActivation,  // also softmax and sigmoid
  kGrn,
  kLayerScale,
  kScale,  // a map times a vector of its channels (squeeze and excitation) or the like
  kAdd,
  kPool,       // the map to one pixel, or the tokens to one
  kMaxPool,    // with kernel, stride and padding of the layer
  kMerge,      // 2x2 pixels beside one another in the channels of one
  kAttention,  // softmax(q k' / sqrt(d)) v of tokens whose q, k and v are there; all heads together
  kParameter,  // a tensor that is added or put beside the tokens: `shape`
};

// Where a layer reads and writes.
enum class LayerBranch {
  kMain,      // reads what the layer before it wrote
  kShortcut,  // reads what the block was given, and the main path does not see it until the next kAdd
  kSqueeze,   // one pixel, beside the main path: squeeze and excitation
};

// What follows one another inside a stage, for tables and for peak memory.
enum class LayerPlace { kStem, kDownsample, kBlock, kHead };

struct LayerSpec {
  std::string name;  // prefix of its tensors: "stages.0.blocks.1.mlp.fc1"; for layers without tensors, where it stands
  LayerKind kind = LayerKind::kConvolution;
  LayerPlace place = LayerPlace::kStem;
  LayerBranch branch = LayerBranch::kMain;
  int stage = 0;   // 0 for the stem, the last one for the head
  int block = -1;  // in its stage, where there is one
  int in_channels = 0;
  int out_channels = 0;
  int kernel = 1;  // of a convolution: side of the square kernel, stride, zero padding, groups
  int stride = 1;
  int padding = 0;
  int groups = 1;
  bool bias = true;             // convolutions, linears, and norms that have one
  bool as_convolution = false;  // a linear whose weight is stored as (out, in, 1, 1)
  // TensorFlow's padding in place of `padding`: as much as leaves ceil(side / stride), the odd pixel at the end.
  bool same_padding = false;
  int tokens = 0;               // that stand beside those of the map: of a class, of distillation
  int window = 0;               // side of the window in which kAttention looks; 0: everywhere
  Shape shape = {};             // of a kParameter
  bool starts_at_zero = false;  // a norm's weight, where fresh blocks are to be their shortcut
};

std::vector<LayerSpec> layer_specs(const NetworkConfig& config);

// Of one family each; `config` is valid.
std::vector<LayerSpec> layer_specs(const ConvNextConfig& config);
std::vector<LayerSpec> layer_specs(const ResNetConfig& config);
std::vector<LayerSpec> layer_specs(const RegNetConfig& config);
std::vector<LayerSpec> layer_specs(const EfficientNetConfig& config);
std::vector<LayerSpec> layer_specs(const VisionTransformerConfig& config);
std::vector<LayerSpec> layer_specs(const SwinConfig& config);

}  // namespace convnext
