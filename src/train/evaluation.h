// How good a network is on pictures that it has not seen.
#pragma once

#include "metrics/classification.h"
#include "nn/network.h"
#include "train/dataset.h"

namespace convnext {

ClassificationMetrics evaluate(Network& network, const PictureSource& source, int classes, int batch_size);

}  // namespace convnext
