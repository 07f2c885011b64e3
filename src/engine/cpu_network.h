// A ConvNeXt with its weights packed for the kernels of one instruction set.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend.h"
#include "kernels/convolution.h"
#include "kernels/depthwise.h"
#include "kernels/grn.h"
#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "model/config.h"
#include "model/weights.h"

namespace convnext {

// A dense convolution as a linear layer on gathered windows.
struct PackedConvolution {
  ConvolutionShape shape;
  cpu::WindowLayout windows;
  cpu::PackedLinear matrix;
};

struct PackedBlock {
  cpu::PackedDepthwise depthwise;
  cpu::PackedNorm norm;
  cpu::PackedLinear expand;
  std::optional<cpu::PackedGrn> grn;
  cpu::PackedLinear project;  // with the layer scale
};

struct PackedStage {
  std::optional<cpu::PackedNorm> downsample_norm;
  std::optional<PackedConvolution> downsample;
  std::vector<PackedBlock> blocks;
};

struct PackedNetwork {
  Isa isa{};
  cpu::Products block_products = cpu::Products::kFloat32;  // of blocks' linears and of downsampling
  cpu::Products head_products = cpu::Products::kFloat32;
  ConvNextConfig config;
  std::vector<PackedConvolution> stem;
  std::optional<cpu::PackedNorm> stem_norm;
  std::vector<PackedStage> stages;
  cpu::PackedNorm head_norm;
  std::optional<cpu::PackedLinear> head_hidden;
  std::optional<cpu::PackedLinear> classifier;

  std::uint64_t bytes() const;
};

// On the options' threads. Source memory of a mapped file is given back as soon as it is packed, so that beside the
// packed weights there are never more than a few tensors.
//
// In kBf16 and kInt8 the weights of blocks' linears and of downsampling are kept so; the head's in bfloat16 in both,
// for its activations are no map's; the stem's, whose inputs are pixels, and all that is not a matrix, in float32. What
// is multiplied in bfloat16 is the instruction set's affair (kernels/linear.h).
PackedNetwork pack_network(Isa isa, const ConvNextConfig& config, const WeightStore& weights, Precision precision,
                           const CompileOptions& options = {});

}  // namespace convnext
