#include "io/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "convnext/error.h"
#include "core/hash.h"
#include "io/image_folder.h"
#include "io/shards.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

// Hidden ones are caches of what fetched the data.
bool has_folders(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error) && !it->path().filename().string().starts_with('.')) return true;
  }
  return false;
}

}  // namespace

std::string Split::name() const {
  return shards.empty() ? folder.string() : (folder / fmt::format("*{}*.tar", shards)).string();
}

std::optional<Split> find_split(const fs::path& root, std::span<const std::string_view> names) {
  std::error_code error;
  for (const std::string_view name : names) {
    if (fs::is_directory(root / name, error)) return Split{.folder = root / name, .shards = {}};
  }
  if (!fs::is_directory(root, error)) return std::nullopt;
  for (const std::string_view name : names) {
    if (!list_shards(root, name).empty()) return Split{.folder = root, .shards = std::string(name)};
  }
  return std::nullopt;
}

std::optional<Split> find_training_split(const fs::path& root) {
  return find_split(root, std::array<std::string_view, 1>{"train"});
}

std::optional<Split> find_held_out_split(const fs::path& root) {
  return find_split(root, std::array<std::string_view, 3>{"val", "validation", "test"});
}

Dataset open_dataset(const Split& split, std::span<const std::string> classes) {
  std::error_code error;
  if (split.folder.extension() == ".tar" && fs::is_regular_file(split.folder, error)) {
    return read_shards(std::array{split.folder}, classes);
  }
  if (!fs::is_directory(split.folder, error)) return read_image_folder(split.folder, classes);
  const std::vector<fs::path> shards = list_shards(split.folder, split.shards);
  if (shards.empty()) return read_image_folder(split.folder, classes);
  if (split.shards.empty() && has_folders(split.folder)) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("'{}' holds folders and shards ('{}'): it can be a folder of class folders or one of "
                            "shards, not both",
                            split.folder.string(), shards.front().filename().string()));
  }
  return read_shards(shards, classes);
}

Dataset open_dataset(const fs::path& folder, std::span<const std::string> classes) {
  return open_dataset(Split{.folder = folder, .shards = {}}, classes);
}

std::uint64_t hash_of_names(const Dataset& dataset) {
  std::uint64_t hash = mix(dataset.samples.size());
  for (const Sample& sample : dataset.samples) {
    for (const std::string_view part :
         {std::string_view(dataset.classes[static_cast<std::size_t>(sample.label)]),
          std::string_view(sample.picture.path.filename().native()), std::string_view(sample.picture.member)}) {
      hash = mix(hash ^ hash_name(part));
    }
  }
  return hash;
}

Dataset read_image_folder(const fs::path& root, std::span<const std::string> classes) {
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
    for (fs::path& picture : folder.pictures) {
      dataset.samples.push_back({.picture = {.path = std::move(picture), .member = {}}, .label = label});
    }
  }
  return dataset;
}

}  // namespace convnext
