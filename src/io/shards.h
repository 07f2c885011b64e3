// Shards as WebDataset has them (webdataset.github.io): tar archives in which members that follow each other and share
// the name up to its first dot are one sample. KEY.jpg, .jpeg, .png or .webp is the picture; KEY.cls its class as an
// index or a name, or else "label" in KEY.json. classes.txt beside the shards lists the classes, one a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"

namespace convnext {

// The shards (*.tar) of a folder, sorted; only those with the word in their names unless `word` is empty. Throws Error
// (kUnsupported) where there are none but compressed ones.
std::vector<std::filesystem::path> list_shards(const std::filesystem::path& folder, std::string_view word = {});

// As open_dataset(). `shards` are not empty and of one folder.
Dataset read_shards(std::span<const std::filesystem::path> shards, std::span<const std::string> classes = {});

struct ShardOptions {
  std::string name = "train";            // of the files: train-000000.tar
  std::uint64_t max_bytes = 64'000'000;  // of a shard, unless its first picture alone is larger
  std::int64_t max_pictures = 0;         // of a shard; 0: any number
  std::uint64_t seed = 0;                // of the order
};

struct PackedShards {
  std::int64_t shards = 0;
  std::int64_t pictures = 0;
  std::int64_t failed = 0;
  std::uint64_t bytes = 0;  // of all shards
};

// Writes the pictures of `dataset`, as they are and in an order that depends on the seed and their number alone, into
// shards in `folder`, which exists, and the classes' names into classes.txt beside them. Equal inputs give equal bytes.
// `done` hears of each picture: nothing, or why it was left out, which is when its header cannot be read. Throws Error:
// kIo, kDamaged when no picture could be read, kInvalidArgument for names that files cannot have.
PackedShards write_shards(const Dataset& dataset, const std::filesystem::path& folder, const ShardOptions& options,
                          const std::function<void(std::string_view failure)>& done);

}  // namespace convnext
