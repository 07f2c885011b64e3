// What is done to a picture with objects before a detector learns from it, or looks at it (the training pipeline of
// DETR as mmdetection's configurations for Swin and ConvNeXt have it).
//
//   const PictureDraw draw = draw_picture(augmentation, image.width, image.height, {seed, epoch, sample});
//   const PreparedPicture ready = prepare(image, objects, draw);
//
// Drawing and doing are apart, and all draws depend on the key alone. Pixels are Pillow's, boxes and polygons are moved
// as geometry, so that masks are drawn at the size that the network sees; masks that a file has as pixels are moved by
// the nearest one.
#pragma once

#include <optional>
#include <vector>

#include "convnext/image.h"
#include "detect/detections.h"
#include "detect/picture_objects.h"
#include "image/resize.h"
#include "train/augmentation.h"

namespace convnext {

struct DetectionAugmentation {
  double flip_probability = 0.5;
  std::vector<int> short_sides = {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800};  // one is drawn
  int long_side = 1333;                                                                    // at most
  // With this probability the picture is resized to one of these first, and a part of it is cut out, each side of it
  // between the two.
  double crop_probability = 0.5;
  std::vector<int> crop_short_sides = {400, 500, 600};
  int least_crop = 384, largest_crop = 600;

  bool operator==(const DetectionAugmentation&) const = default;
};

// Throws Error (kInvalidArgument) with the first value that cannot work.
void validate(const DetectionAugmentation& augmentation);

// The largest size of the same proportions whose sides are not longer than these (mmcv's rescale_size), rounded to
// pixels, one at least.
PictureSize size_within(const PictureSize& size, int short_side, int long_side);

struct PictureDraw {
  bool flip = false;
  struct Crop {
    PictureSize resized;  // the whole picture before
    Region region;        // of that
    bool operator==(const Crop& other) const {
      return resized == other.resized && region.left == other.region.left && region.top == other.region.top &&
             region.width == other.region.width && region.height == other.region.height;
    }
  };
  std::optional<Crop> crop;
  PictureSize size;  // in the end

  bool operator==(const PictureDraw&) const = default;
};

// Of a picture of that size.
PictureDraw draw_picture(const DetectionAugmentation& augmentation, int width, int height, const SampleKey& key);
// For evaluation: nothing but the size.
PictureDraw plain_picture(int width, int height, int short_side, int long_side);

struct PreparedPicture {
  Image image;
  PictureObjects objects;  // those of which something is left
};

// Throws Error (kInvalidArgument) when the draw is none of such a picture, and as mask_of() for outlines.
PreparedPicture prepare(const Image& image, const OutlinedObjects& objects, const PictureDraw& draw);

}  // namespace convnext
