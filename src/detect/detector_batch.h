// Pictures of several sizes as one input of a detector.
#pragma once

#include <torch/torch.h>

#include <span>
#include <vector>

#include "convnext/image.h"
#include "detect/detections.h"
#include "model/card.h"

namespace convnext {

struct DetectorBatch {
  torch::Tensor pictures;          // (n, 3, height, width), normalised, zeros below and to the right of each picture
  std::vector<PictureSize> sizes;  // of each picture in it
};

// As large as the largest of them, filled up to the multiple; channels_last. Mean and deviation are the card's, the
// sizes are as they come. Throws Error (kInvalidArgument) when there is no picture.
DetectorBatch make_batch(std::span<const Image> pictures, const DetectorCard& card);

}  // namespace convnext
