// How good a detector is, by COCO's own measure: average precision and recall as pycocotools 2.0.11 computes them.
//
//   const CocoDataset truth = read_coco_dataset("instances_val.json", CocoFields::for_boxes());
//   const CocoResults results = read_coco_results("results.json", truth, /*masks=*/false);
//   const CocoEvaluation evaluation = evaluate_coco(truth, results.detections, CocoType::kBoxes, pool);
//   evaluation.stats[0];  // AP
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/thread_pool.h"
#include "metrics/coco_file.h"

namespace convnext {

// What overlaps are of.
enum class CocoType { kBoxes, kMasks };
// "bbox" and "segm", as pycocotools has them.
std::string_view name_of(CocoType type);
// Throws Error (kInvalidArgument).
CocoType coco_type_named(std::string_view name);

// Small is up to 32 x 32 pixels, large from 96 x 96 on; what lies on a bound is of both sizes.
enum class CocoArea { kAll, kSmall, kMedium, kLarge };
inline constexpr std::size_t kCocoAreas = 4;
inline constexpr std::array<int, 3> kCocoMaxDetections = {1, 10, 100};  // of a category in a picture
inline constexpr std::size_t kCocoThresholds = 10;                      // of IoU: 0.50, 0.55, ... 0.95
inline constexpr std::size_t kCocoRecalls = 101;                        // 0, 0.01, ... 1
// The same as numpy.linspace() gives them, to the bit.
std::array<double, kCocoThresholds> coco_thresholds();
std::array<double, kCocoRecalls> coco_recalls();

inline constexpr std::size_t kCocoStats = 12;
// "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl".
std::span<const std::string_view, kCocoStats> coco_stat_names();

// Figures are in [0, 1], and -1 where there is nothing that they could be of.
struct CocoEvaluation {
  // Precision at each recall: (thresholds, recalls, categories, areas, maximal detections). The largest recall:
  // (thresholds, categories, areas, maximal detections). -1 for categories without objects.
  std::vector<double> precision;
  std::vector<double> recall;
  std::size_t categories = 0;

  // Means over what is not -1, in the order of coco_stat_names().
  std::array<double, kCocoStats> stats = {};
  // The same of one category (an index in CocoDataset::categories).
  std::array<double, kCocoStats> stats_of(std::size_t category) const;

  struct Counts {
    std::int64_t objects = 0;  // without crowds
    std::int64_t detections = 0;
  };
  std::vector<Counts> counts;  // of each category

  std::vector<CocoWarning> warnings;  // on the ground truth
};

// Matches detections with objects, greedily from the highest score down, in each picture and category by itself. Among
// equal scores the one that comes first in `detections` goes first, between pictures the one with the lower id. For
// kMasks the outlines must have been read. Pictures and categories are shared out among the threads of `pool`; at no
// time are more masks expanded than those of one picture and category a thread.
//
// As in pycocotools, a detection that matches an object with the id 0 counts as false: warned of.
//
// Throws Error for outlines that are no masks (see mask_of()), with the file and the annotation, or the place among the
// detections.
CocoEvaluation evaluate_coco(const CocoDataset& truth, std::span<const CocoDetection> detections, CocoType type,
                             ThreadPool& pool);

// The figures as pycocotools prints them, twelve lines.
std::string coco_summary(const std::array<double, kCocoStats>& stats);

}  // namespace convnext
