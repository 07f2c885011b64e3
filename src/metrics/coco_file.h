// COCO's files: pictures with objects in them (instances_*.json), and what a detector found (results).
//
//   const CocoDataset truth = read_coco_dataset("instances_val.json", {.file_names = true, .boxes = true});
//   for (const CocoPicture& picture : truth.pictures) {
//     for (const CocoAnnotation& object : truth.annotations_of(picture)) {
//       const MaskRle mask = mask_of(object.segmentation, picture.height, picture.width);
//
// The text goes by in pieces and is never held; masks stay as compact as the file has them. What cannot be right is an
// Error that names the file, the entry and the field; what people have in their files and pycocotools goes on with is
// counted and reported as a warning.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "convnext/thread_pool.h"
#include "metrics/mask_rle.h"

namespace convnext {

// Corners of each polygon, x, y, x, y, ...; the object is their union.
using CocoPolygons = std::vector<std::vector<double>>;

// A mask whose counts are still the text of the file.
struct CompressedMask {
  int height = 0;
  int width = 0;
  std::string counts;
};

// How an object is outlined; std::monostate where the file does not say.
using CocoSegmentation = std::variant<std::monostate, CocoPolygons, CompressedMask, MaskRle>;

// Throws Error as the functions of mask_rle.h, kMismatch for a mask of another size, and kInvalidArgument when there is
// no outline.
MaskRle mask_of(const CocoSegmentation& segmentation, int height, int width);

struct CocoCategory {
  std::int64_t id = 0;
  std::string name;           // its id where the file has none
  std::string supercategory;  // may be empty
};

// One a class, in their order.
std::vector<std::string> names_of(const std::vector<CocoCategory>& categories);

struct CocoAnnotation {
  std::int64_t id = 0;
  int picture = 0;   // index in CocoDataset::pictures
  int category = 0;  // index in CocoDataset::categories: the class
  BoundingBox box;
  double area = 0.0;
  bool crowd = false;  // a region with many objects, which no detection is expected of
  CocoSegmentation segmentation;
};

struct CocoPicture {
  std::int64_t id = 0;
  std::string file_name;
  int height = 0;  // 0 where the file does not say
  int width = 0;
  std::size_t first_annotation = 0;  // in CocoDataset::annotations
  std::size_t annotations = 0;
};

// Something of which there were `count`; `text` says what, of which entry first, and what becomes of it.
struct CocoWarning {
  std::int64_t count = 0;
  std::string text;
};
// "gt.json: 3 times: annotation 7: ...".
std::string describe(const CocoWarning& warning, const std::filesystem::path& file);

// Which fields every entry must have. Others are read where they are there; outlines only where they are asked for.
struct CocoFields {
  bool file_names = false;
  bool sizes = false;  // of pictures
  bool boxes = false;
  bool areas = false;
  bool segmentations = false;

  // What evaluate_coco() and a trainer want.
  static constexpr CocoFields for_boxes() { return {.boxes = true, .areas = true}; }
  static constexpr CocoFields for_masks() { return {.sizes = true, .areas = true, .segmentations = true}; }
  static constexpr CocoFields for_training(bool masks) {
    return {.file_names = true, .sizes = true, .boxes = true, .segmentations = masks};
  }
};

struct CocoDataset {
  std::filesystem::path path;
  std::vector<CocoCategory> categories;  // by ascending id: class 0 is the lowest, whatever gaps there are
  std::vector<CocoPicture> pictures;     // by ascending id
  // By picture, and of a picture in the file's order.
  std::vector<CocoAnnotation> annotations;
  std::vector<CocoWarning> warnings;

  std::span<const CocoAnnotation> annotations_of(const CocoPicture& picture) const {
    return std::span(annotations).subspan(picture.first_annotation, picture.annotations);
  }
  // The index of the picture or category with that id, or -1.
  int find_picture(std::int64_t id) const;
  int find_category(std::int64_t id) const;
};

// Throws Error: kNotFound, kIo; kDamaged, for text that is no JSON, fields that are missing or of another type, numbers
// that are none, ids that stand twice, sizes of pictures that are not positive, and outlines as mask_of() refuses them.
// Warnings: annotations of pictures or categories that the file does not have (they are left out), boxes without area
// and boxes outside of their picture (they are kept).
CocoDataset read_coco_dataset(const std::filesystem::path& path, const CocoFields& required);

// What a detector says of one object.
struct CocoDetection {
  int picture = 0;   // index in CocoDataset::pictures
  int category = 0;  // index in CocoDataset::categories
  BoundingBox box;
  double area = 0.0;  // that decides whether it is small, medium or large
  double score = 0.0;
  CocoSegmentation segmentation;  // without one the box is meant
};

struct CocoResults {
  std::filesystem::path path;
  std::vector<CocoDetection> detections;  // in the file's order, which decides between equal scores
  std::vector<CocoWarning> warnings;
};

// Reads a list of {image_id, category_id, score, bbox or segmentation}. As pycocotools has it, the first entry decides
// for all: when it has a box, areas are those of the boxes and each entry must have one; else each must have a mask,
// which then gives area and box. `masks`: keep the outlines.
//
// Throws Error as read_coco_dataset(), and kMismatch for a picture that `truth` does not have. Warnings: categories
// that `truth` does not have (left out), boxes without area and outside of their picture (kept).
CocoResults read_coco_results(const std::filesystem::path& path, const CocoDataset& truth, bool masks);

struct CocoFiles {
  CocoDataset truth;
  CocoResults results;
};

// Both, at a time where the pool has two threads. Of two bad files the ground truth is told of.
CocoFiles read_coco_files(const std::filesystem::path& truth, const CocoFields& required,
                          const std::filesystem::path& results, bool masks, ThreadPool& pool);

}  // namespace convnext
