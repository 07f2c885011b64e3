// Normalisation over the channels of each pixel (model/config.h, Norm; timm/layers/fast_norm.py).
//
//   LayerNorm   out = (x - mean) / sqrt(sum((x - mean)^2) / C + eps) * weight + bias
//   RMSNorm     out = x / sqrt(sum(x^2) / C + eps) * weight
//   SimpleNorm  out = x / sqrt(sum((x - mean)^2) / (C - 1) + eps) * weight
//
// Rows are pixels. `in` and `out` may be the same. The variance is summed from differences to the mean, never as
// E[x^2] - mean^2, which loses all digits where the mean is large. Memory-bound: about 8 bytes and 6 operations an
// element.
//
// Largest errors of the fast version on any instruction set, against float64, in parts of the row's largest output, for
// numbers of channels of a range. LayerNorm_far: of values 1000 times as far from zero as from each other.
//
//   LayerNorm      2     64    4e-7    of the largest output
//   LayerNorm      65    4096  6e-7    of the largest output
//   LayerNorm_far  2     4096  1.5e-3  of the largest output
//   RMSNorm        2     4096  4.5e-7  of the largest output
//   SimpleNorm     2     4096  6e-7    of the largest output
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/aligned_floats.h"
#include "kernels/isa.h"
#include "model/config.h"

namespace convnext {

namespace ref {

// in, out (rows, channels); weight (channels,); bias (channels,) for LayerNorm, else empty. Float64 inside.
void norm(Norm kind, double eps, int channels, std::span<const float> in, std::span<const float> weight,
          std::span<const float> bias, std::span<float> out);

}  // namespace ref

namespace cpu {

struct PackedNorm {
  Norm kind = Norm::kLayerNorm;
  float eps = 0;
  int channels = 0;
  AlignedFloats weight;  // (padded channels,)
  AlignedFloats bias;    // (padded channels,); zeros where there is none

  std::uint64_t bytes() const { return (weight.size() + bias.size()) * sizeof(float); }
};
PackedNorm pack_norm(Isa isa, Norm kind, double eps, int channels, std::span<const float> weight,
                     std::span<const float> bias);

using NormFunction = void (*)(const PackedNorm& op, std::int64_t rows, const float* in, std::ptrdiff_t in_stride,
                              float* out, std::ptrdiff_t out_stride);
NormFunction norm_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
