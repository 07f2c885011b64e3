// Every detector that the program knows by name: Mask R-CNN and Cascade Mask R-CNN over the registered networks.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/detector.h"

namespace convnext {

struct DetectorEntry {
  std::string name;      // "mask_rcnn_convnext_tiny"
  std::string backbone;  // a registered network's
  DetectorConfig config;
  // Published average precisions on COCO's val2017, percent, after 36 epochs (paper, table 3), the backbone pre-trained
  // on ImageNet-1K, those of L and XL on 22K.
  std::optional<double> box_ap, mask_ap;
};

// Those of the paper's table 3, in its order.
const std::vector<DetectorEntry>& detectors();

// Of the paper's, or "mask_rcnn_" or "cascade_mask_rcnn_" before the name or alias of a registered network that can be
// a backbone ("swin_tiny" for "swin_tiny_patch4_window7_224"); nothing for other names.
std::optional<DetectorEntry> find_detector(std::string_view name);
// The same. Throws Error (kInvalidArgument) that says how detectors are called, or why this network is no backbone.
DetectorEntry detector_named(std::string_view name);
// Whether a name is that of a detector over some registered network, be it a backbone or not.
bool is_detector_name(std::string_view name);

}  // namespace convnext
