// What there is on a picture.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "detect/box.h"
#include "metrics/coco_file.h"

namespace convnext {

// In pixels as the network gets them. As many classes and masks as boxes.
struct PictureObjects {
  std::vector<Box> boxes;  // with an area
  std::vector<int> classes;
  std::vector<std::vector<std::uint8_t>> masks;  // (height, width) of the picture, all but 0 belong to the object
};

// On a picture of that size as it is in its file. An outline stays what it is: polygons can be moved exactly.
struct OutlinedObjects {
  std::vector<Box> boxes;
  std::vector<int> classes;
  std::vector<CocoSegmentation> outlines;
};

// What a detector learns of a picture's annotations: no crowds, no box of less than a pixel a side, and none that lies
// outside of the picture (mmdet's CocoDataset); `dropped` counts the others.
OutlinedObjects objects_to_learn(std::span<const CocoAnnotation> annotations, int height, int width,
                                 std::int64_t& dropped);

}  // namespace convnext
