// Global response normalisation (ConvNeXt V2, section 3; models/utils.py, timm/layers/grn.py) of one picture's map.
//
//   G(c) = sqrt(sum over pixels of x(p, c)^2)      N(c) = G(c) / (mean over channels of G + 1e-6)
//   out(p, c) = weight(c) * x(p, c) * N(c) + bias(c) + x(p, c)
//
// It needs the whole map before the first output. The fast version has three steps: the sums of squares, which may be
// split over channels, then factors 1 + weight * N, then out = x * factor + bias, which may be split over pixels. The
// squares are added up in runs of 64 pixels first, so that the error hardly grows with the size of the picture.
//
// Largest errors of the sums of squares on any instruction set, against float64, for numbers of pixels of a range:
//
//   grn_sums  1    64      4.5e-7  of the sum
//   grn_sums  65   100000  2.5e-6  of the sum
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/aligned_floats.h"
#include "kernels/isa.h"

namespace convnext {

inline constexpr double kGrnEps = 1e-6;

namespace ref {

// map (pixels, channels), in place; weight, bias (channels,). Float64 inside.
void grn(int channels, std::span<const float> weight, std::span<const float> bias, std::span<float> map);

}  // namespace ref

namespace cpu {

struct PackedGrn {
  int channels = 0;
  AlignedFloats weight;  // (padded channels,)
  AlignedFloats bias;    // (padded channels,)

  std::uint64_t bytes() const { return (weight.size() + bias.size()) * sizeof(float); }
};
PackedGrn pack_grn(Isa isa, int channels, std::span<const float> weight, std::span<const float> bias);

// sums(c) = sum over pixels of map(p, c)^2 for c in [first, last), whole vectors.
using GrnSumsFunction = void (*)(const float* map, std::int64_t pixels, std::ptrdiff_t stride, std::ptrdiff_t first,
                                 std::ptrdiff_t last, float* sums);
GrnSumsFunction grn_sums_for(Isa isa);

// From the sums of all channels to 1 + weight * N, in place.
void grn_factors(const PackedGrn& op, std::span<float> sums);

// map(p, c) = map(p, c) * factors(c) + bias(c), in place.
using GrnApplyFunction = void (*)(const PackedGrn& op, const float* factors, std::int64_t pixels, float* map,
                                  std::ptrdiff_t stride);
GrnApplyFunction grn_apply_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
