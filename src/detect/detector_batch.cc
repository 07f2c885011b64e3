#include "detect/detector_batch.h"

#include <algorithm>

#include "convnext/error.h"

namespace convnext {

DetectorBatch make_batch(std::span<const Image> pictures, const DetectorCard& card) {
  if (pictures.empty()) throw Error(ErrorCode::kInvalidArgument, "a batch of no pictures");
  Preprocessing pixels;
  pixels.mean = card.mean;
  pixels.std = card.std;
  DetectorBatch batch;
  int height = 0, width = 0;
  for (const Image& picture : pictures) {
    batch.sizes.push_back({picture.height, picture.width});
    height = std::max(height, picture.height);
    width = std::max(width, picture.width);
  }
  const auto n = static_cast<std::int64_t>(pictures.size());
  batch.pictures =
      torch::zeros({n, 3, filled_side(height), filled_side(width)}).contiguous(torch::MemoryFormat::ChannelsLast);
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    const Image& picture = pictures[static_cast<std::size_t>(i)];
    values.resize(picture.pixels.size());
    normalize(picture, pixels, values);
    batch.pictures[i]
        .slice(1, 0, picture.height)
        .slice(2, 0, picture.width)
        .copy_(torch::from_blob(values.data(), {3, picture.height, picture.width}, torch::kFloat32));
  }
  return batch;
}

}  // namespace convnext
