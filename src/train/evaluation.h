// How good a network is on pictures that it has not seen.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "convnext/thread_pool.h"
#include "metrics/classification.h"
#include "nn/network.h"
#include "train/dataset.h"

namespace convnext {

struct EvaluationOptions {
  ThreadPool* pool = nullptr;                             // prepares pictures; without it the calling thread alone does
  std::function<void(std::int64_t pictures)> advance;     // hears of each batch
  std::function<void(const std::string& error)> failure;  // hears of each picture that could not be read
};

// The labels of `source` are classes of the network. A picture that cannot be read is left out: metrics.pictures() is
// then less than there are samples.
ClassificationMetrics evaluate(Network& network, const PictureSource& source, int classes, int batch_size,
                               const EvaluationOptions& options = {});

}  // namespace convnext
