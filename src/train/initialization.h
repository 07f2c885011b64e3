// What a run begins from: the network that is trained, its card, and its first weights.
#pragma once

#include <string>
#include <vector>

#include "model/card.h"
#include "model/weights.h"
#include "train/settings.h"

namespace convnext {

struct TrainStart {
  Card card;            // network, preprocessing of evaluation, labels
  WeightStore weights;  // a float32 tensor for each of tensor_specs(card.network)
  std::string note;     // for a person: what was taken from where, and windows that are padded
};

// The card of what settings without `init` train: `labels.size()` classes, and preprocessing without a margin around
// the crop unless the settings ask for one. Throws Error when there can be no such network.
Card card_of(const TrainSettings& settings, const std::vector<std::string>& labels);

// Card and first weights. Without `init` they are card_of() and random_weights(). With it they are those of the file,
// and the classifier alone is new when the file has another number of classes, or the same number under other names.
// Throws Error.
TrainStart start_of(const TrainSettings& settings, const std::vector<std::string>& labels);

}  // namespace convnext
