#include "detect/picture_objects.h"

#include <algorithm>

namespace convnext {

OutlinedObjects objects_to_learn(std::span<const CocoAnnotation> annotations, int height, int width,
                                 std::int64_t& dropped) {
  OutlinedObjects objects;
  for (const CocoAnnotation& annotation : annotations) {
    const BoundingBox& box = annotation.box;
    const double right = box.x + box.width, bottom = box.y + box.height;
    const bool overlaps = std::min<double>(right, width) > std::max(box.x, 0.0) &&
                          std::min<double>(bottom, height) > std::max(box.y, 0.0);
    if (annotation.crowd || !(box.width >= 1 && box.height >= 1) || !overlaps) {
      ++dropped;
      continue;
    }
    objects.boxes.push_back(
        {static_cast<float>(box.x), static_cast<float>(box.y), static_cast<float>(right), static_cast<float>(bottom)});
    objects.classes.push_back(annotation.category);
    objects.outlines.push_back(annotation.segmentation);
  }
  return objects;
}

}  // namespace convnext
