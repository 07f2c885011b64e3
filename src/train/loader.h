// Batches, prepared by worker threads ahead of the step that needs them.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "train/augmentation.h"
#include "train/dataset.h"

namespace convnext {

struct Batch {
  torch::Tensor pictures;            // (n, 3, h, w) float32, channels_last, normalised
  torch::Tensor targets;             // (n,) int64
  std::vector<std::size_t> samples;  // which pictures of the source these are
};

struct LoaderOptions {
  int batch_size = 128;
  int workers = 1;
  int prefetch = 4;  // batches that may lie ready
  std::uint64_t seed = 0;
  Augmentation augmentation{};
};

// The augmented, shuffled batches of one epoch; a last batch that is not full is dropped. Order and augmentation depend
// on seed, epoch and sample alone, whatever the number of workers and wherever one begins.
class EpochLoader {
 public:
  // `first_batch`: the first that next() gives, for a run that goes on in the middle of an epoch.
  EpochLoader(const PictureSource& source, const LoaderOptions& options, int epoch, std::int64_t first_batch = 0);
  ~EpochLoader();

  static std::int64_t batches(std::size_t samples, int batch_size) {
    return static_cast<std::int64_t>(samples) / batch_size;
  }

  // Nothing after the last batch. Throws what a worker threw.
  std::optional<Batch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace convnext
