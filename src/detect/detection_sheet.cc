#include "detect/detection_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "metrics/mask_rle.h"
#include "plot/detection_drawing.h"
#include "train/sample_sheet.h"

namespace convnext {
namespace {

constexpr int kReadableSide = 320;

// Each value a square of `factor`.
std::vector<std::uint8_t> enlarged(std::span<const std::uint8_t> values, int width, int height, int channels,
                                   int factor) {
  std::vector<std::uint8_t> result;
  result.reserve(values.size() * static_cast<std::size_t>(factor) * static_cast<std::size_t>(factor));
  const auto row = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  for (int y = 0; y < height * factor; ++y) {
    for (int x = 0; x < width * factor; ++x) {
      const std::size_t from = static_cast<std::size_t>(y / factor) * row +
                               static_cast<std::size_t>(x / factor) * static_cast<std::size_t>(channels);
      const auto value = values.subspan(from, static_cast<std::size_t>(channels));
      result.insert(result.end(), value.begin(), value.end());
    }
  }
  return result;
}

Image drawn(const PreparedPicture& ready, const std::vector<std::string>& labels, int factor) {
  const Image& small = ready.image;
  const Image picture{.width = small.width * factor,
                      .height = small.height * factor,
                      .pixels = enlarged(small.pixels, small.width, small.height, 3, factor)};
  std::vector<MaskRle> masks;
  for (const std::vector<std::uint8_t>& mask : ready.objects.masks) {
    masks.push_back(encode_mask(enlarged(mask, small.width, small.height, 1, factor), picture.height, picture.width));
  }
  std::vector<DrawnObject> objects;
  for (std::size_t i = 0; i < masks.size(); ++i) {
    const Box& box = ready.objects.boxes[i];
    const double side = factor;
    const int of_class = ready.objects.classes[i];
    const auto number = static_cast<std::size_t>(of_class);
    objects.push_back({.box = {box.x1 * side, box.y1 * side, box.width() * side, box.height() * side},
                       .name = number < labels.size() ? labels[number] : std::to_string(of_class),
                       .class_index = of_class,
                       .mask = &masks[i]});
  }
  return draw_objects(picture, objects);
}

Image filled_up(const Image& picture, int width, int height) {
  Image result{.width = width, .height = height, .pixels = {}};
  result.pixels.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 0);
  const auto row = static_cast<std::ptrdiff_t>(picture.width) * 3;
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.pixels.begin() + y * row, row, result.pixels.begin() + std::ptrdiff_t{y} * width * 3);
  }
  return result;
}

}  // namespace

Image detection_sheet(std::span<const PreparedPicture> pictures, const std::vector<std::string>& labels, int columns) {
  int longest = 1, width = 0, height = 0;
  for (const PreparedPicture& ready : pictures) longest = std::max({longest, ready.image.width, ready.image.height});
  const int factor = std::max(1, (kReadableSide + longest - 1) / longest);
  std::vector<Image> images;
  for (const PreparedPicture& ready : pictures) {
    images.push_back(drawn(ready, labels, factor));
    width = std::max(width, images.back().width);
    height = std::max(height, images.back().height);
  }
  for (Image& image : images) image = filled_up(image, width, height);
  return sample_sheet(images, columns);
}

}  // namespace convnext
