// Weights and pictures from a formula: the same bits on every machine and in Python (tools/goldens/formula.py), so that
// two implementations can be compared without exchanging a file.
//
// A value is u = unit_float(mix(hash_name(name) + mix(seed) + index)) in [0, 1), a float32 with 24 bits, and then, with
// s = 2u - 1 and every operation rounded to float32:
//
//   weights          s * float32(sqrt(3 / fan_in))    variance 1 / fan_in: signals keep their size through the layers
//   biases           s * 0.25
//   norm weights     0.75 + 0.5 u
//   norm biases      s * 0.25
//   layer scale      0.25 + 0.5 u                     large enough for every block to matter
//   GRN weight, bias s * 0.5
//   embeddings       s * 0.5
//   running mean     s * 0.25
//   running variance 0.75 + 0.5 u
//   input tensors    s * 0.25                         as small as the biases: LayerNorm's epsilon shows
//
// With the published initialisation (std 0.02, layer scale 1e-6) a network whose depthwise weights are all zero still
// agrees to 1e-5: such weights prove nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "convnext/image.h"
#include "convnext/tensor.h"
#include "model/config.h"
#include "model/tensors.h"
#include "model/weights.h"

namespace convnext {

Tensor formula_tensor(const TensorSpec& spec, std::uint64_t seed);
WeightStore formula_weights(std::span<const TensorSpec> specs, std::uint64_t seed);
WeightStore formula_weights(const NetworkConfig& config, std::uint64_t seed);
// float32 in [-0.25, 0.25).
Tensor formula_input(std::string_view name, const Shape& shape, std::uint64_t seed);

// Blocks of 8x8 pixels of one colour with a little noise: integers only.
//   pixel(y, x, c) = (3 * (mix(k + (y / 8) * 65536 + (x / 8) * 4 + c) >> 56) + (mix(k + 2^32 + (y * width + x) * 3 + c)
//   >> 56)) / 4
// with k = mix(seed).
Image formula_picture(int width, int height, std::uint64_t seed);

enum class WeightInit {
  // Standard deviation 0.02 (paper appendix; models/convnext.py of the authors; also ViT's and Swin's); of networks
  // with
  // batch norm sqrt(2 / fan out), and 0.01 in the classifier.
  kPublished,
  kFanIn,  // 1 / sqrt(fan_in(shape)): every layer keeps the size of its signal (LeCun et al. 1998)
};

// Weights normal and cut at +-2, embeddings the same with 0.02, biases 0, norms 1 and 0 (those that end a block may
// begin with weight 0), running means 0 and variances 1, layer scale `layer_scale`, GRN 0. The numbers come from our
// own keyed hash, so they are the same everywhere.
struct Initialisation {
  WeightInit weights = WeightInit::kPublished;
  float layer_scale = 1e-6f;
  float head_scale = 1.0f;  // multiplies the classifier's weight and bias
};
WeightStore random_weights(const NetworkConfig& config, std::uint64_t seed, const Initialisation& options = {});

// Normal with that deviation, cut at +-2, or uniform between -bound and bound.
Tensor normal_tensor(const TensorSpec& spec, std::uint64_t seed, double deviation);
Tensor uniform_tensor(const TensorSpec& spec, std::uint64_t seed, float bound);

}  // namespace convnext
