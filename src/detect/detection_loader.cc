#include "detect/detection_loader.h"

#include <fmt/format.h>

#include <utility>

#include "convnext/error.h"
#include "train/prefetch.h"
#include "train/random.h"

namespace convnext {

PreparedPicture DetectionSource::example(const DetectionAugmentation& augmentation, std::uint64_t seed, int epoch,
                                         std::size_t& sample) const {
  constexpr int kMostFailures = 100;
  for (int failures = 0;; ++failures) {
    try {
      const Image image = pictures_.image(sample);
      const SampleKey key{.seed = seed, .epoch = static_cast<std::uint64_t>(epoch), .sample = sample};
      return prepare(image, pictures_.objects(sample), draw_picture(augmentation, image.width, image.height, key));
    } catch (const Error& error) {
      const std::lock_guard lock(mutex_);
      if (failed_.insert(sample).second) new_failures_.emplace_back(error.what());
      if (failures == kMostFailures) {
        throw Error(ErrorCode::kDamaged,
                    fmt::format("{} pictures in a row cannot be read, the last: {}", failures + 1, error.what()));
      }
    }
    sample = (sample + 1) % pictures_.size();
  }
}

std::vector<std::string> DetectionSource::new_failures() const {
  const std::lock_guard lock(mutex_);
  return std::exchange(new_failures_, {});
}

struct DetectionLoader::State {
  State(const DetectionSource& pictures, const DetectorCard& detector, const DetectionLoaderOptions& loader_options,
        int epoch_number, std::int64_t first_batch)
      : source(pictures),
        card(detector),
        options(loader_options),
        epoch(epoch_number),
        order(shuffled_samples(pictures.pictures().size(), loader_options.seed, epoch_number)),
        ready({.first = first_batch,
               .end = static_cast<std::int64_t>(order.size()) / options.batch_size,
               .workers = options.workers,
               .ahead = options.prefetch},
              [this](std::int64_t number) { return make(number); }) {}

  DetectionBatch make(std::int64_t number) const {
    const auto size = static_cast<std::size_t>(options.batch_size);
    DetectionBatch batch;
    std::vector<Image> images;
    for (std::size_t i = 0; i < size; ++i) {
      std::size_t sample = order[static_cast<std::size_t>(number) * size + i];
      PreparedPicture ready_picture = source.example(options.augmentation, options.seed, epoch, sample);
      images.push_back(std::move(ready_picture.image));
      batch.objects.push_back(std::move(ready_picture.objects));
      batch.samples.push_back(sample);
    }
    batch.pictures = make_batch(images, card);
    return batch;
  }

  const DetectionSource& source;
  const DetectorCard& card;
  const DetectionLoaderOptions options;
  const int epoch;
  const std::vector<std::size_t> order;
  Prefetch<DetectionBatch> ready;  // whose threads use all of the above
};

DetectionLoader::DetectionLoader(const DetectionSource& source, const DetectorCard& card,
                                 const DetectionLoaderOptions& options, int epoch, std::int64_t first_batch)
    : state_(std::make_unique<State>(source, card, options, epoch, first_batch)) {}

DetectionLoader::~DetectionLoader() = default;

std::optional<DetectionBatch> DetectionLoader::next() { return state_->ready.next(); }

}  // namespace convnext
