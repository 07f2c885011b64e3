#include "detect/detection_augmentation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "convnext/error.h"
#include "detect/box_coding.h"
#include "image/pixel_operations.h"
#include "model/field_checks.h"

namespace convnext {
namespace {

constexpr int kMaxSide = 65535;

int drawn_of(const std::vector<int>& values, KeyedRandom& random) {
  return values[random.below(static_cast<std::uint32_t>(values.size()))];
}

// A side of the part that is cut out, and where it begins.
std::pair<int, std::int64_t> drawn_part(int side, const DetectionAugmentation& augmentation, KeyedRandom& random) {
  const int least = std::min(side, augmentation.least_crop), largest = std::min(side, augmentation.largest_crop);
  const int length = least + static_cast<int>(random.below(static_cast<std::uint32_t>(largest - least + 1)));
  return {length, random.below(static_cast<std::uint32_t>(side - length + 1))};
}

// The way of a point from the file's picture to the network's: mirrored, then scaled and shifted, once or twice.
class Motion {
 public:
  explicit Motion(const PictureSize& size) : size_(size) {}

  void mirror() {
    x_ = {-x_.scale, size_.width - x_.offset};
    is_mirrored_ = !is_mirrored_;
  }
  void resize(const PictureSize& to) {
    x_.scale_by(static_cast<double>(to.width) / size_.width);
    y_.scale_by(static_cast<double>(to.height) / size_.height);
    size_ = to;
  }
  void cut(const Region& region) {
    x_.offset -= static_cast<double>(region.left);
    y_.offset -= static_cast<double>(region.top);
    size_ = {region.height, region.width};
  }

  double x(double from) const { return x_.of(from); }
  double y(double from) const { return y_.of(from); }
  // Back to the file's picture.
  double from_x(double to) const { return (to - x_.offset) / x_.scale; }
  double from_y(double to) const { return (to - y_.offset) / y_.scale; }
  const PictureSize& size() const { return size_; }

  Box moved(const Box& box) const {
    const double left = x(is_mirrored_ ? box.x2 : box.x1), right = x(is_mirrored_ ? box.x1 : box.x2);
    return clipped({static_cast<float>(left), static_cast<float>(y(box.y1)), static_cast<float>(right),
                    static_cast<float>(y(box.y2))},
                   size_.height, size_.width);
  }

 private:
  struct Axis {
    double scale = 1, offset = 0;
    double of(double from) const { return scale * from + offset; }
    void scale_by(double factor) {
      scale *= factor;
      offset *= factor;
    }
  };
  PictureSize size_;
  Axis x_, y_;
  bool is_mirrored_ = false;
};

std::vector<std::uint8_t> moved_mask(const CocoPolygons& polygons, const Motion& motion) {
  CocoPolygons moved = polygons;
  for (std::vector<double>& points : moved) {
    for (std::size_t i = 0; i + 1 < points.size(); i += 2) {
      points[i] = motion.x(points[i]);
      points[i + 1] = motion.y(points[i + 1]);
    }
  }
  return decode_mask(mask_from_polygons(moved, motion.size().height, motion.size().width));
}

std::vector<std::uint8_t> moved_mask(const MaskRle& mask, const Motion& motion) {
  const std::vector<std::uint8_t> pixels = decode_mask(mask);
  const PictureSize& size = motion.size();
  std::vector<std::uint8_t> moved(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width));
  // The pixel in which the middle of each lies.
  const auto place = [](double at, int side) { return std::clamp(static_cast<int>(std::floor(at)), 0, side - 1); };
  std::vector<std::size_t> columns;
  for (int x = 0; x < size.width; ++x) {
    columns.push_back(static_cast<std::size_t>(place(motion.from_x(x + 0.5), mask.width)));
  }
  std::size_t i = 0;
  for (int y = 0; y < size.height; ++y) {
    const auto row = static_cast<std::size_t>(place(motion.from_y(y + 0.5), mask.height));
    const std::uint8_t* from = pixels.data() + row * static_cast<std::size_t>(mask.width);
    for (const std::size_t column : columns) moved[i++] = from[column];
  }
  return moved;
}

Image resized(const Image& image, const PictureSize& size) {
  if (image.width == size.width && image.height == size.height) return image;
  return resize(image, size.width, size.height, Interpolation::kBilinear);
}

void check_size(const PictureSize& size, std::string_view what) {
  if (size.width >= 1 && size.height >= 1 && size.width <= kMaxSide && size.height <= kMaxSide) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}x{}, expected sides of 1 to {} pixels", what, size.width, size.height, kMaxSide));
}

}  // namespace

void validate(const DetectionAugmentation& augmentation) {
  check_interval("flip_probability", augmentation.flip_probability, 0, 1);
  check_interval("crop_probability", augmentation.crop_probability, 0, 1);
  const std::pair<const char*, const std::vector<int>*> lists[] = {
      {"short_sides", &augmentation.short_sides}, {"crop_short_sides", &augmentation.crop_short_sides}};
  for (const auto& [name, list] : lists) {
    check_range(fmt::format("the number of {}", name), static_cast<std::int64_t>(list->size()), 1, 1000);
    for (const int side : *list) check_range(name, side, 1, kMaxSide);
  }
  check_range("long_side", augmentation.long_side, 1, kMaxSide);
  check_range("least_crop", augmentation.least_crop, 1, kMaxSide);
  check_range("largest_crop", augmentation.largest_crop, augmentation.least_crop, kMaxSide);
}

PictureSize size_within(const PictureSize& size, int short_side, int long_side) {
  const double scale = std::min(static_cast<double>(long_side) / std::max(size.width, size.height),
                                static_cast<double>(short_side) / std::min(size.width, size.height));
  const auto scaled = [scale](int side) { return std::max(1, static_cast<int>(side * scale + 0.5)); };
  return {scaled(size.height), scaled(size.width)};
}

PictureDraw draw_picture(const DetectionAugmentation& augmentation, int width, int height, const SampleKey& key) {
  KeyedRandom random({key.seed, key.epoch, key.sample});
  PictureDraw draw;
  PictureSize size{height, width};
  draw.flip = random.chance(augmentation.flip_probability);
  if (random.chance(augmentation.crop_probability)) {
    PictureDraw::Crop crop;
    crop.resized = size_within(size, drawn_of(augmentation.crop_short_sides, random), augmentation.long_side);
    std::tie(crop.region.height, crop.region.top) = drawn_part(crop.resized.height, augmentation, random);
    std::tie(crop.region.width, crop.region.left) = drawn_part(crop.resized.width, augmentation, random);
    size = {crop.region.height, crop.region.width};
    draw.crop = crop;
  }
  draw.size = size_within(size, drawn_of(augmentation.short_sides, random), augmentation.long_side);
  return draw;
}

PictureDraw plain_picture(int width, int height, int short_side, int long_side) {
  return {.flip = false, .crop = {}, .size = size_within({height, width}, short_side, long_side)};
}

PreparedPicture prepare(const Image& image, const OutlinedObjects& objects, const PictureDraw& draw) {
  PreparedPicture ready;
  Motion motion({image.height, image.width});
  ready.image = draw.flip ? flip_horizontally(image) : image;
  if (draw.flip) motion.mirror();
  if (draw.crop) {
    check_size(draw.crop->resized, "the picture before its crop");
    // Resized as a whole, as the crop of it is drawn; only the part is computed.
    const Region& region = draw.crop->region;
    ready.image = resize_region(ready.image, draw.crop->resized.width, draw.crop->resized.height,
                                {.interpolation = Interpolation::kBilinear}, region);
    motion.resize(draw.crop->resized);
    motion.cut(region);
  }
  check_size(draw.size, "the size of a picture for the network");
  ready.image = resized(ready.image, draw.size);
  motion.resize(draw.size);

  for (std::size_t i = 0; i < objects.boxes.size(); ++i) {
    const Box box = motion.moved(objects.boxes[i]);
    if (!(box.width() > 0 && box.height() > 0)) continue;
    const CocoSegmentation& outline = objects.outlines[i];
    const auto* polygons = std::get_if<CocoPolygons>(&outline);
    ready.objects.boxes.push_back(box);
    ready.objects.classes.push_back(objects.classes[i]);
    ready.objects.masks.push_back(polygons ? moved_mask(*polygons, motion)
                                           : moved_mask(mask_of(outline, image.height, image.width), motion));
  }
  return ready;
}

}  // namespace convnext
