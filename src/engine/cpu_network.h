// A ConvNeXt with its weights packed for the kernels of one instruction set.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

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
  std::ptrdiff_t tap_stride = 0;  // floats of one tap in a window
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
  ConvNextConfig config;
  std::vector<PackedConvolution> stem;
  std::optional<cpu::PackedNorm> stem_norm;
  std::vector<PackedStage> stages;
  cpu::PackedNorm head_norm;
  std::optional<cpu::PackedLinear> head_hidden;
  std::optional<cpu::PackedLinear> classifier;

  std::uint64_t bytes() const;
};

// Reads one tensor after the other, so that beside the packed weights there is never more than a copy of one.
PackedNetwork pack_network(Isa isa, const ConvNextConfig& config, const WeightStore& weights);

}  // namespace convnext
