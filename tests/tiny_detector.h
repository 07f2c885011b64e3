// A whole detector that is small enough to write and run in a fraction of a second.
#pragma once

#include <filesystem>
#include <string_view>

#include "model/card.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"
#include "model/formula.h"

namespace convnext {

// Five labelled classes, pictures of up to 64x96. With formula weights it finds something on every picture.
inline DetectorCard tiny_detector_card(std::string_view name = "mask_rcnn_convnext_atto") {
  DetectorCard card;
  card.architecture = name;
  card.detector = find_detector(name).value().config;
  auto& convnext = std::get<ConvNextConfig>(card.detector.backbone);
  convnext.depths = {1, 1, 1, 1};
  convnext.dims = {8, 16, 24, 32};
  card.detector.classes = 5;
  card.detector.pyramid_channels = 12;
  card.detector.box_hidden = 20;
  card.detector.box_bins = 3;
  card.detector.mask_bins = 4;
  card.detector.anchor_scale = 4;
  card.detector.level_proposals = 70;
  card.detector.proposals = 40;
  card.detector.detections = 20;
  card.detector.mask_threshold = 0.2;  // so that hardly a mask is empty
  card.short_side = 64;
  card.long_side = 96;
  card.labels = {"cat", "dog", "ship", "truck", "zebra"};
  return card;
}

inline WeightStore tiny_detector_weights(const DetectorCard& card) {
  return formula_weights(tensor_specs(card.detector), 11);
}

// Gives back the path.
inline std::filesystem::path write_tiny_detector(const std::filesystem::path& path,
                                                 const DetectorCard& card = tiny_detector_card()) {
  std::filesystem::create_directories(path.parent_path());
  write_detector(path, card, tiny_detector_weights(card));
  return path;
}

}  // namespace convnext
