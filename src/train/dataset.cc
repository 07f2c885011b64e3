#include "train/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "convnext/error.h"
#include "io/image_folder.h"

namespace convnext {

Dataset read_image_folder(const std::filesystem::path& root, std::span<const std::string> classes) {
  Dataset dataset;
  dataset.classes.assign(classes.begin(), classes.end());
  for (ClassFolder& folder : list_class_folders(root)) {
    auto found = std::ranges::find(dataset.classes, folder.name);
    if (found == dataset.classes.end()) {
      if (!classes.empty()) {
        throw Error(ErrorCode::kMismatch, fmt::format("'{}' is not one of the {} classes to learn ({}, ...)",
                                                      (root / folder.name).string(), classes.size(), classes.front()));
      }
      found = dataset.classes.insert(dataset.classes.end(), folder.name);
    }
    const int label = static_cast<int>(found - dataset.classes.begin());
    for (std::filesystem::path& picture : folder.pictures) dataset.samples.push_back({std::move(picture), label});
  }
  return dataset;
}

PictureSource::PictureSource(Dataset dataset, const Preprocessing& preprocessing, ThreadPool& pool,
                             std::size_t memory_limit)
    : dataset_(std::move(dataset)), preprocessing_(preprocessing) {
  const auto side = static_cast<std::size_t>(preprocessing_.resolution);
  if (dataset_.samples.size() > memory_limit / (3 * side * side)) return;

  const std::size_t count = dataset_.samples.size();
  std::vector<Image> images(count);
  std::vector<std::string> errors(count);
  // Many small tasks would cost more than the decoding of small pictures.
  constexpr std::size_t kPicturesATask = 64;
  const auto tasks = static_cast<int>((count + kPicturesATask - 1) / kPicturesATask);
  pool.run(tasks, [&](int task, int) {
    const std::size_t first = static_cast<std::size_t>(task) * kPicturesATask;
    for (std::size_t i = first; i < std::min(count, first + kPicturesATask); ++i) {
      try {
        images[i] = get(i);
      } catch (const Error& error) {
        errors[i] = error.what();
      }
    }
  });
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < count; ++i) {
    if (!errors[i].empty()) {
      failures_.push_back(std::move(errors[i]));
      continue;
    }
    samples.push_back(std::move(dataset_.samples[i]));
    kept_.push_back(std::move(images[i]));
  }
  dataset_.samples = std::move(samples);
}

Image PictureSource::get(std::size_t index) const {
  if (!kept_.empty()) return kept_[index];
  return resize_and_crop(Image::open(dataset_.samples[index].path), preprocessing_);
}

}  // namespace convnext
