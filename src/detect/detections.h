// From what a detector's heads say of boxes to what is on the picture (mmdet's multiclass_nms and FCNMaskHead).
#pragma once

#include <span>
#include <vector>

#include "detect/box.h"
#include "metrics/mask_rle.h"

namespace convnext {

struct PictureSize {
  int height = 0;
  int width = 0;
  bool operator==(const PictureSize&) const = default;
};

// On the picture as the network was given it.
struct Detection {
  Box box;
  int class_index = 0;
  float score = 0.0f;
  std::vector<float> mask;  // side * side probabilities of what lies in the box, by rows
};

struct DetectionOptions {
  float score = 0.05f;   // a class that scores no more is not there
  float overlap = 0.5f;  // of suppression, which is within a class
  int kept = 100;
};

// `boxes` (n, classes): where each of n regions would hold an object of each class. `scores` (n, classes + 1), the last
// one of the background. Best first, without masks.
std::vector<Detection> select_detections(std::span<const Box> boxes, std::span<const float> scores, int classes,
                                         const DetectionOptions& options);

// On the picture as it is in its file.
struct PictureDetection {
  Box box;
  int class_index = 0;
  float score = 0.0f;
  MaskRle mask;
};

// `network`: the size that the picture had for the network, without padding. A pixel belongs to the object when its
// probability is at least `mask_threshold`.
PictureDetection on_picture(const Detection& detection, const PictureSize& network, const PictureSize& picture,
                            float mask_threshold);

}  // namespace convnext
