// Masks as COCO keeps them: the lengths of runs of zeros and ones in turn, down the columns from the left, zeros first.
// Every function gives what pycocotools 2.0.11 (maskApi.c) gives, to the bit, for masks that are whole.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/image.h"

namespace convnext {

// In pixels; (0, 0, 1, 1) is the first pixel. Sizes may be 0 or negative where a file has them so.
struct BoundingBox {
  double x = 0.0;
  double y = 0.0;
  double width = 0.0;
  double height = 0.0;

  bool operator==(const BoundingBox&) const = default;
};

// What the functions below give adds up: the counts are height * width together.
struct MaskRle {
  int height = 0;
  int width = 0;
  std::vector<std::uint32_t> counts;

  bool operator==(const MaskRle&) const = default;
};

// Pixels of a mask at most: places in it are 32-bit integers.
inline constexpr std::int64_t kMaxMaskPixels = (std::int64_t{1} << 31) - 1;

// `pixels`: (height, width), rows from the top; all but 0 belong to the mask. Throws Error (kInvalidArgument) for sizes
// that are not positive, more than kMaxMaskPixels, or not those of `pixels`.
MaskRle encode_mask(std::span<const std::uint8_t> pixels, int height, int width);
// (height, width), 0 or 1. Throws Error (kUnsupported) for more than `max_pixels`, before anything is allocated.
std::vector<std::uint8_t> decode_mask(const MaskRle& mask, std::int64_t max_pixels = kDefaultMaxPixels);

// The text that stands for the counts in COCO's files: of each count (from the fourth on, of its difference from the
// one before the last) groups of 5 bits, the lowest first, with 32 added where more follow, and 48 to all.
std::string compressed_counts(const MaskRle& mask);
// Throws Error: kDamaged for texts that are cut off, hold other characters or counts below 0 or above 32 bits, and for
// counts that do not add up; kInvalidArgument for sizes as encode_mask().
MaskRle mask_from_compressed_counts(std::string_view text, int height, int width);
// Throws Error as mask_from_compressed_counts().
MaskRle mask_from_counts(std::vector<std::uint32_t> counts, int height, int width);

// `points`: x, y, x, y, ... of the corners. The boundary is walked in steps of a fifth of a pixel; a pixel belongs to
// the polygon by where its column's middle is crossed. Parts outside of the picture are cut off. Throws Error
// (kDamaged) for fewer than three points, half a point, and boundaries that leave the range of 32-bit integers or are
// longer than six million pixels.
MaskRle mask_from_polygon(std::span<const double> points, int height, int width);
// The part of it that needs no drawing: throws Error for fewer than three points, half a point and corners that are
// out of range.
void check_polygon(std::span<const double> points);
// The union of polygons, of which there must be one.
MaskRle mask_from_polygons(std::span<const std::vector<double>> polygons, int height, int width);
// As the polygon of the box's corners.
MaskRle mask_from_box(const BoundingBox& box, int height, int width);

// Pixels of the mask.
std::uint32_t mask_area(const MaskRle& mask);
// Of an empty mask (0, 0, 0, 0).
BoundingBox mask_bounds(const MaskRle& mask);

enum class MaskMerge { kUnion, kIntersection };
// Throws Error (kMismatch) when the sizes differ, kInvalidArgument when there is no mask.
MaskRle merge_masks(std::span<const MaskRle> masks, MaskMerge merge);

// Intersection over union of each detection with each object: (detections, objects), rows of detections. With a crowd
// (a flag for each object) it is the intersection over the detection's own area.
std::vector<double> box_iou(std::span<const BoundingBox> detections, std::span<const BoundingBox> objects,
                            std::span<const std::uint8_t> crowds);
// -1 where the sizes of two masks whose bounds overlap differ.
std::vector<double> mask_iou(std::span<const MaskRle> detections, std::span<const MaskRle> objects,
                             std::span<const std::uint8_t> crowds);

}  // namespace convnext
