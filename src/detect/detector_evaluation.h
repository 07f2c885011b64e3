// How good a detector is on a COCO file's pictures, by COCO's own measure.
//
//   const CocoPictures pictures = CocoPictures::open("instances_val.json", "val2017", {.areas = true});
//   const DetectorScores scores = evaluate_detector(detector, card, pictures, pool);
//   scores.boxes.stats[0];  // AP of boxes; coco_stat_names() names all twelve
//   scores.masks.stats[0];
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "convnext/thread_pool.h"
#include "detect/coco_pictures.h"
#include "detect/detector.h"
#include "metrics/coco_evaluation.h"
#include "model/card.h"

namespace convnext {

struct DetectorScores {
  CocoEvaluation boxes;
  CocoEvaluation masks;                   // detections are small or large by their masks
  std::vector<CocoDetection> detections;  // all that was judged, by pictures, with masks; areas are those of the masks
  std::int64_t pictures = 0;              // of the file, those that failed too
  std::vector<std::string> failures;      // of pictures that are missing, damaged or of another size: nothing was found
  double seconds = 0.0;                   // of decoding and detecting, without judging
};

struct DetectorEvaluationOptions {
  DecodeOptions decode{};
  int batch_size = 1;  // pictures that the network is given at a time
};

// Runs the detector in the mode of evaluation, on the device that it is on, and leaves it in the mode that it was in.
// `progress` hears how many pictures were done since it was called last. Throws Error: as check_categories(), and
// kInvalidArgument for pictures that were opened without areas or without those that show nothing.
DetectorScores evaluate_detector(Detector& detector, const DetectorCard& card, const CocoPictures& pictures,
                                 ThreadPool& pool, const std::function<void(std::int64_t pictures)>& progress = {},
                                 const DetectorEvaluationOptions& options = {});

// A detection on the picture of that number in a CocoDataset; its area is that of its mask.
CocoDetection to_coco(const PictureDetection& found, int picture);

// The classes of a detector are the file's categories in the order of their ids. Throws Error (kMismatch) with both
// counts, or where both have names, with the first two that differ.
void check_categories(const DetectorCard& card, const CocoDataset& dataset);

}  // namespace convnext
