#include "metrics/coco_results.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

namespace convnext {
namespace {

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void CocoResultsWriter::add(const Ids& ids, const BoundingBox& box, double score, const MaskRle& mask) {
  fmt::format_to(std::back_inserter(entries_),
                 R"({}{{"image_id":{},"file_name":{},"category_id":{},"bbox":[{},{},{},{}],"score":{},)"
                 R"("segmentation":{{"size":[{},{}],"counts":{}}}}})",
                 entries_.empty() ? "\n" : ",\n", ids.picture, json_text(ids.file_name), ids.category, box.x, box.y,
                 box.width, box.height, score, mask.height, mask.width, json_text(compressed_counts(mask)));
}

std::string coco_results_text(const CocoDataset& truth, std::span<const CocoDetection> detections) {
  CocoResultsWriter writer;
  for (const CocoDetection& detection : detections) {
    const CocoPicture& picture = truth.pictures[static_cast<std::size_t>(detection.picture)];
    const CocoCategory& category = truth.categories[static_cast<std::size_t>(detection.category)];
    writer.add({picture.id, picture.file_name, category.id}, detection.box, detection.score,
               mask_of(detection.segmentation, picture.height, picture.width));
  }
  return writer.text();
}

}  // namespace convnext
