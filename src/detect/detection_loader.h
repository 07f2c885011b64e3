// Batches of pictures with objects, prepared by worker threads ahead of the step that needs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "detect/coco_pictures.h"
#include "detect/detection_augmentation.h"
#include "detect/detector_batch.h"
#include "detect/picture_objects.h"
#include "model/card.h"

namespace convnext {

struct DetectionBatch {
  DetectorBatch pictures;
  std::vector<PictureObjects> objects;  // of each
  std::vector<std::size_t> samples;     // which of the source's pictures these are
};

// The pictures of a COCO file for training. All may be called from any thread.
class DetectionSource {
 public:
  explicit DetectionSource(CocoPictures pictures) : pictures_(std::move(pictures)) {}

  const CocoPictures& pictures() const { return pictures_; }

  // Picture `sample` as an epoch shows it. In the place of one that cannot be read comes the next one that can; which
  // it became is in `sample`. Throws Error (kDamaged) when a hundred in a row cannot.
  PreparedPicture example(const DetectionAugmentation& augmentation, std::uint64_t seed, int epoch,
                          std::size_t& sample) const;
  // What example() could not read since the last call; each picture is told once.
  std::vector<std::string> new_failures() const;

 private:
  CocoPictures pictures_;

  mutable std::mutex mutex_;  // of what follows
  mutable std::set<std::size_t> failed_;
  mutable std::vector<std::string> new_failures_;
};

struct DetectionLoaderOptions {
  int batch_size = 2;
  int workers = 1;
  int prefetch = 4;  // batches that may lie ready
  std::uint64_t seed = 0;
  DetectionAugmentation augmentation{};
};

// The augmented, shuffled batches of one epoch, as EpochLoader has those of classifiers: a last batch that is not full
// is dropped, and all that is drawn depends on seed, epoch and picture alone.
class DetectionLoader {
 public:
  // `first_batch`: the first that next() gives, for a run that goes on in the middle of an epoch.
  DetectionLoader(const DetectionSource& source, const DetectorCard& card, const DetectionLoaderOptions& options,
                  int epoch, std::int64_t first_batch = 0);
  ~DetectionLoader();

  // Nothing after the last batch. Throws what a worker threw.
  std::optional<DetectionBatch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace convnext
