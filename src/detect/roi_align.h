// RoIAlign (He et al. 2017, Mask R-CNN, section 3): the map under a box, averaged into a grid of bins
// (torchvision/csrc/ops/cpu/roi_align_kernel.cpp).
//
// A bin is the mean of the map at points spread evenly over it, as many in each direction as it is pixels of the map
// wide, rounded up; between pixels the map is interpolated, beyond its edge it is zero (a pixel further out at most, it
// is its edge). Rows and columns of the points do not depend on each other, so that each bin is a sum over rows and
// columns of the map with one weight each, and no point is ever looked at on its own.
#pragma once

#include <cstdint>
#include <span>

#include "detect/box.h"

namespace convnext {

struct RegionOfInterest {
  int picture = 0;  // of the batch
  Box box;          // in pixels of the network's input
};

// A batch of maps as (pictures, height, width, channels), contiguous.
struct MapBatch {
  int pictures = 0, height = 0, width = 0, channels = 0;
};

struct RoiAlignOptions {
  int bins = 7;        // a side
  float scale = 1.0f;  // pixels of the map in one of the input: 1 / stride
};

// out (regions, bins, bins, channels). Boxes may lie anywhere; one without area gives zeros, and so does one that is
// not finite. Every region's picture must be in the batch. Threads can share out the regions.
void roi_align(const float* map, const MapBatch& size, std::span<const RegionOfInterest> regions,
               const RoiAlignOptions& options, float* out);

// Adds to map_gradient what out_gradient, of the shape of roi_align()'s out, makes of it, for the channels in [first,
// last) alone. Regions overlap, so that threads have to share out the channels.
void roi_align_gradient(const float* out_gradient, const MapBatch& size, std::span<const RegionOfInterest> regions,
                        const RoiAlignOptions& options, int first_channel, int last_channel, float* map_gradient);

}  // namespace convnext
