// What transformers' image processors do, for reading their files and for writing them.
#pragma once

#include "convnext/image.h"

namespace convnext {

// ConvNeXt's own processor enlarges and crops below this side, pixels, and squeezes from there on, whatever crop_pct
// says (ConvNextImageProcessor.resize).
inline constexpr int kSqueezedFrom = 384;

// A filter by its number in PIL.Image.Resampling.
struct PillowFilter {
  int number;
  Interpolation interpolation;
};
inline constexpr PillowFilter kPillowFilters[] = {{1, Interpolation::kLanczos},
                                                  {2, Interpolation::kBilinear},
                                                  {3, Interpolation::kBicubic},
                                                  {4, Interpolation::kBox},
                                                  {5, Interpolation::kHamming}};

}  // namespace convnext
