// RoIAlign over a feature pyramid, with its gradient.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "detect/roi_align.h"

namespace convnext {

// `maps`: of the levels 0 to 3 of a pyramid (pyramid_level()), each (pictures, channels, height, width), strides 4 to
// 32. Gives (regions, channels, bins, bins), float32. Computed on the CPU, wherever the maps are.
torch::Tensor pool_regions(const std::vector<torch::Tensor>& maps, const std::vector<RegionOfInterest>& regions,
                           int bins);

}  // namespace convnext
