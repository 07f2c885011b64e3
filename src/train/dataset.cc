#include "train/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "convnext/error.h"
#include "core/hash.h"
#include "core/memory_limit.h"

namespace convnext {
namespace {

// Calls work(i) for each i in [0, count). Many small tasks would cost more than the decoding of small pictures.
void run_in_runs(ThreadPool& pool, std::size_t count, const std::function<void(std::size_t)>& work) {
  constexpr std::size_t kPicturesATask = 64;
  const auto tasks = static_cast<int>((count + kPicturesATask - 1) / kPicturesATask);
  pool.run(tasks, [&](int task, int) {
    const std::size_t first = static_cast<std::size_t>(task) * kPicturesATask;
    for (std::size_t i = first; i < std::min(count, first + kPicturesATask); ++i) work(i);
  });
}

std::size_t bytes_of(int width, int height) {
  return 3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
}

}  // namespace

HeldOut hold_out(Dataset dataset, double fraction, std::uint64_t seed) {
  if (!(fraction > 0 && fraction < 1)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a part of {} cannot be held out: expected more than 0 and less than 1", fraction));
  }
  std::vector<std::vector<std::size_t>> of_class(dataset.classes.size());
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    of_class[static_cast<std::size_t>(dataset.samples[i].label)].push_back(i);
  }
  std::vector<bool> is_held_out(dataset.samples.size());
  const std::uint64_t key = mix(seed);
  for (std::vector<std::size_t>& samples : of_class) {
    if (samples.size() < 2) continue;
    const auto wanted = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(samples.size())));
    const std::size_t count = std::clamp<std::size_t>(wanted, 1, samples.size() - 1);
    std::ranges::sort(samples, {}, [key](std::size_t i) { return mix(key + i); });
    for (std::size_t i = 0; i < count; ++i) is_held_out[samples[i]] = true;
  }
  HeldOut parts;
  parts.training.classes = parts.held_out.classes = dataset.classes;
  parts.training.has_class_names = parts.held_out.has_class_names = dataset.has_class_names;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    Dataset& part = is_held_out[i] ? parts.held_out : parts.training;
    part.samples.push_back(std::move(dataset.samples[i]));
  }
  return parts;
}

std::size_t default_picture_memory() {
  constexpr std::size_t kUnknown = std::size_t{2} << 30;
  const std::uint64_t memory = memory_limit();
  return memory == 0 ? kUnknown : static_cast<std::size_t>(memory / 4);
}

PictureSource::PictureSource(Dataset dataset, const Preprocessing& preprocessing, ThreadPool& pool,
                             const PictureSourceOptions& options)
    : dataset_(std::move(dataset)), preprocessing_(preprocessing), options_(options) {
  const std::size_t total = dataset_.samples.size();
  const std::size_t resized_bytes = bytes_of(preprocessing_.resolution, preprocessing_.resolution);
  std::vector<std::string> errors(total);
  std::vector<std::size_t> bytes(total, resized_bytes);
  // Which pictures are kept decides which damage is found now, so it must not depend on the threads: sizes first.
  const bool kept_vary = options_.kept == KeptPicture::kOriginal;
  const std::size_t surely_kept = kept_vary ? 0 : std::min(total, options_.memory_limit / resized_bytes);
  run_in_runs(pool, total - surely_kept, [&](std::size_t i) {
    const std::size_t index = surely_kept + i;
    try {
      const PictureHeader header = read_picture_header(dataset_.samples[index].picture);
      if (kept_vary) bytes[index] = bytes_of(header.width, header.height);
    } catch (const Error& error) {
      errors[index] = error.what();
      bytes[index] = 0;
    }
  });
  std::size_t keep = 0;
  for (std::size_t left = options_.memory_limit; keep < total && bytes[keep] <= left; ++keep) left -= bytes[keep];

  kept_.resize(keep);
  run_in_runs(pool, keep, [&](std::size_t i) {
    if (!errors[i].empty()) return;
    try {
      kept_[i] = load(i);
    } catch (const Error& error) {
      errors[i] = error.what();
    }
  });
  leave_out(errors);
  if (dataset_.samples.empty()) {
    throw Error(ErrorCode::kDamaged, fmt::format("none of the {} pictures could be read; the first: {}", total,
                                                 failures_.empty() ? "there is none" : failures_.front()));
  }
}

void PictureSource::leave_out(std::vector<std::string>& errors) {
  std::vector<Sample> samples;
  std::vector<Image> kept;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    if (!errors[i].empty()) {
      failures_.push_back(std::move(errors[i]));
      continue;
    }
    samples.push_back(std::move(dataset_.samples[i]));
    if (i < kept_.size()) kept.push_back(std::move(kept_[i]));
  }
  dataset_.samples = std::move(samples);
  kept_ = std::move(kept);
}

Image PictureSource::load(std::size_t index) const {
  Image image = open_picture(dataset_.samples[index].picture);
  if (options_.kept == KeptPicture::kOriginal) return image;
  return resize_and_crop(image, preprocessing_);
}

Image PictureSource::get(std::size_t index) const { return index < kept_.size() ? kept_[index] : load(index); }

Example PictureSource::example(std::size_t index) const {
  constexpr int kMaxTries = 100;
  std::string last;
  for (int tried = 0; tried < kMaxTries; ++tried, index = (index + 1) % samples().size()) {
    try {
      return {.image = get(index), .label = samples()[index].label};
    } catch (const Error& error) {
      last = error.what();
      const std::lock_guard lock(mutex_);
      if (failed_later_.insert(index).second) new_failures_.push_back(last);
    }
  }
  throw Error(ErrorCode::kDamaged, fmt::format("{} pictures in a row cannot be read; the last: {}", kMaxTries, last));
}

std::vector<std::string> PictureSource::new_failures() const {
  const std::lock_guard lock(mutex_);
  return std::exchange(new_failures_, {});
}

}  // namespace convnext
