// What a detector's run begins from: the detector that is trained, its card, and its first weights.
#pragma once

#include <string>
#include <vector>

#include "detect/detection_settings.h"
#include "metrics/coco_file.h"
#include "model/card.h"
#include "model/weights.h"

namespace convnext {

struct DetectorStart {
  DetectorCard card;
  WeightStore weights;  // a float32 tensor for each of tensor_specs(card.detector)
  std::string note;     // what was taken from where, for a person; empty for random weights
};

// `categories` become the classes. Without `init` all weights are random. `init` may be the weights of a backbone (any
// file of a network that can be one: it takes the place of the registered backbone, and its colours are the card's), or
// those of a whole detector, of which only what depends on the classes is new when those are others. Throws Error.
DetectorStart start_of(const DetectionSettings& settings, const std::vector<CocoCategory>& categories);

}  // namespace convnext
