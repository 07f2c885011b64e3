// What a detector found as COCO's list of results, which pycocotools and coco-eval read.
//
//   CocoResultsWriter results;
//   results.add({.picture = 42, .file_name = "000000000042.jpg", .category = 18}, box, 0.97, mask);
//   write_file_atomically("results.json", results.text());
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "metrics/coco_file.h"

namespace convnext {

class CocoResultsWriter {
 public:
  struct Ids {
    std::int64_t picture = 0;
    std::string_view file_name;  // of the picture, for who has no ids; readers of COCO's format pass over it
    std::int64_t category = 0;
  };
  // Numbers are written so that they are read back to the bit.
  void add(const Ids& ids, const BoundingBox& box, double score, const MaskRle& mask);

  // The whole document: a list, an entry a line.
  std::string text() const { return entries_.empty() ? "[]\n" : "[" + entries_ + "\n]\n"; }

 private:
  std::string entries_;
};

// The document of detections with masks.
std::string coco_results_text(const CocoDataset& truth, std::span<const CocoDetection> detections);

}  // namespace convnext
