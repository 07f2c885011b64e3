#include "train/loader.h"

#include <vector>

#include "train/prefetch.h"
#include "train/random.h"

namespace convnext {
namespace {

Batch empty_batch(std::size_t count, int resolution) {
  const auto n = static_cast<std::int64_t>(count);
  Batch batch;
  batch.pictures = torch::empty({n, 3, resolution, resolution},
                                torch::TensorOptions(torch::kFloat32).memory_format(torch::MemoryFormat::ChannelsLast));
  batch.targets = torch::empty({n}, torch::kInt64);
  return batch;
}

// Writes one picture into its place, (h, w, 3) in memory, which is what channels_last means. Gives back that place.
std::span<float> put(Batch& batch, std::size_t place, const Image& image, const Preprocessing& preprocessing,
                     int label) {
  const auto pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  std::vector<float> planes(3 * pixels);
  normalize(image, preprocessing, planes);
  float* out = batch.pictures.data_ptr<float>() + place * 3 * pixels;
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c) out[3 * i + c] = planes[c * pixels + i];
  }
  batch.targets.data_ptr<std::int64_t>()[place] = label;
  return {out, 3 * pixels};
}

}  // namespace

struct EpochLoader::State {
  State(const PictureSource& pictures, const LoaderOptions& loader_options, int epoch_number, std::int64_t first_batch)
      : source(pictures),
        options(loader_options),
        epoch(epoch_number),
        order(shuffled_samples(pictures.samples().size(), loader_options.seed, epoch_number)),
        ready({.first = first_batch,
               .end = batches(order.size(), options.batch_size),
               .workers = options.workers,
               .ahead = options.prefetch},
              [this](std::int64_t number) { return make(number); }) {}

  Batch make(std::int64_t number) const {
    const auto size = static_cast<std::size_t>(options.batch_size);
    Batch batch = empty_batch(size, source.preprocessing().resolution);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t sample = order[static_cast<std::size_t>(number) * size + i];
      batch.samples.push_back(sample);
      const SampleKey key{.seed = options.seed, .epoch = static_cast<std::uint64_t>(epoch), .sample = sample};
      Example example = source.example(sample);
      const Image image = augment(std::move(example.image), options.augmentation, source.preprocessing(), key);
      const std::span<float> place = put(batch, i, image, source.preprocessing(), example.label);
      erase(place, image.width, image.height, options.augmentation, key);
    }
    return batch;
  }

  const PictureSource& source;
  const LoaderOptions options;
  const int epoch;
  const std::vector<std::size_t> order;
  Prefetch<Batch> ready;  // whose threads use all of the above
};

EpochLoader::EpochLoader(const PictureSource& source, const LoaderOptions& options, int epoch, std::int64_t first_batch)
    : state_(std::make_unique<State>(source, options, epoch, first_batch)) {}

EpochLoader::~EpochLoader() = default;

std::optional<Batch> EpochLoader::next() { return state_->ready.next(); }

}  // namespace convnext
