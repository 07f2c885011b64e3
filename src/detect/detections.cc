#include "detect/detections.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "detect/mask_pasting.h"
#include "detect/nms.h"

namespace convnext {

std::vector<Detection> select_detections(std::span<const Box> boxes, std::span<const float> scores, int classes,
                                         const DetectionOptions& options) {
  const auto columns = static_cast<std::size_t>(classes);
  std::vector<Box> candidates;
  std::vector<float> of_candidates;
  std::vector<int> groups;
  for (std::size_t i = 0; i * columns < boxes.size(); ++i) {
    for (std::size_t c = 0; c < columns; ++c) {
      const float score = scores[i * (columns + 1) + c];
      if (!(score > options.score)) continue;
      candidates.push_back(boxes[i * columns + c]);
      of_candidates.push_back(score);
      groups.push_back(static_cast<int>(c));
    }
  }
  std::vector<int> kept = non_maximum_suppression(candidates, of_candidates, groups, options.overlap);
  kept.resize(std::min(kept.size(), static_cast<std::size_t>(options.kept)));
  std::vector<Detection> detections;
  for (const int number : kept) {
    const auto i = static_cast<std::size_t>(number);
    detections.push_back({candidates[i], groups[i], of_candidates[i], {}});
  }
  return detections;
}

PictureDetection on_picture(const Detection& detection, const PictureSize& network, const PictureSize& picture,
                            float mask_threshold) {
  const float x = static_cast<float>(network.width) / static_cast<float>(picture.width);
  const float y = static_cast<float>(network.height) / static_cast<float>(picture.height);
  const Box& box = detection.box;
  PictureDetection result{{box.x1 / x, box.y1 / y, box.x2 / x, box.y2 / y}, detection.class_index, detection.score, {}};
  const int side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(detection.mask.size()))));
  result.mask = encode_mask(paste_mask(detection.mask, side, result.box, picture.height, picture.width, mask_threshold),
                            picture.height, picture.width);
  return result;
}

}  // namespace convnext
