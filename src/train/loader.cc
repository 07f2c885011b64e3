#include "train/loader.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

namespace convnext {
namespace {

// What a number is drawn for, so that no two uses share a sequence.
enum Purpose : std::uint64_t { kShuffle = 1 };

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

std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed, int epoch) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  KeyedRandom random({seed, kShuffle, static_cast<std::uint64_t>(epoch)});
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  return order;
}

}  // namespace

struct EpochLoader::State {
  State(const PictureSource& pictures, const LoaderOptions& loader_options, int epoch_number, std::int64_t first_batch)
      : source(pictures),
        options(loader_options),
        epoch(epoch_number),
        order(shuffled(pictures.samples().size(), loader_options.seed, epoch_number)),
        total(batches(order.size(), options.batch_size)),
        started(first_batch),
        taken(first_batch) {
    for (int i = 0; i < std::max(1, options.workers); ++i) workers.emplace_back([this] { work(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    room.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void work() {
    while (true) {
      std::int64_t mine;
      {
        std::unique_lock lock(mutex);
        room.wait(lock, [this] { return stopping || started >= total || started < taken + options.prefetch; });
        if (stopping || started >= total) return;
        mine = started++;
      }
      Batch batch;
      std::exception_ptr failure;
      try {
        batch = make(mine);
      } catch (...) {
        failure = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex);
        ready.emplace(mine, std::move(batch));
        if (failure && !error) error = failure;
      }
      arrived.notify_all();
    }
  }

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
  const std::int64_t total;

  std::mutex mutex;
  std::condition_variable room, arrived;
  std::int64_t started;  // batches that workers have begun
  std::int64_t taken;    // batches that next() gave away
  std::map<std::int64_t, Batch> ready;
  std::exception_ptr error;
  bool stopping = false;
  std::vector<std::thread> workers;
};

EpochLoader::EpochLoader(const PictureSource& source, const LoaderOptions& options, int epoch, std::int64_t first_batch)
    : state_(std::make_unique<State>(source, options, epoch, first_batch)) {}

EpochLoader::~EpochLoader() = default;

std::optional<Batch> EpochLoader::next() {
  std::unique_lock lock(state_->mutex);
  if (state_->taken >= state_->total) return std::nullopt;
  state_->arrived.wait(lock, [this] { return state_->error || state_->ready.contains(state_->taken); });
  if (state_->error) std::rethrow_exception(state_->error);
  Batch batch = std::move(state_->ready.extract(state_->taken).mapped());
  ++state_->taken;
  lock.unlock();
  state_->room.notify_all();
  return batch;
}

}  // namespace convnext
