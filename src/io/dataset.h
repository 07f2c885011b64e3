// Labelled pictures: a folder of class folders, or a folder of tar shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/picture_file.h"

namespace convnext {

struct Sample {
  PictureFile picture;
  int label = 0;  // index in the data set's classes
};

struct Dataset {
  std::vector<std::string> classes;
  std::vector<Sample> samples;
  // False: shards that number their classes and name them nowhere; `classes` are the numbers as text.
  bool has_class_names = true;
};

// One part of the data: a folder, or those of its shards that have the word `shards` in their names, as
// "train-000000.tar" and "imagenet1k-train-0000.tar" have "train".
struct Split {
  std::filesystem::path folder;
  std::string shards;  // empty: all that the folder holds

  std::string name() const;  // for messages: "data/val", "shards/*val*.tar"
};

// The first of `names` that `root` has as a folder, or else shards of.
std::optional<Split> find_split(const std::filesystem::path& root, std::span<const std::string_view> names);
std::optional<Split> find_training_split(const std::filesystem::path& root);  // train
std::optional<Split> find_held_out_split(const std::filesystem::path& root);  // val, validation, test

// The samples without the pictures' bytes: class folders, a folder of shards, or one shard file. With `classes` the
// labels are their indices, and whatever else the data names is an error; without, the classes are what the data holds,
// sorted, or what classes.txt beside the shards lists. Throws Error: kNotFound, kMismatch with the folder or the member
// that is no known class, kDamaged with archive and offset.
Dataset open_dataset(const Split& split, std::span<const std::string> classes = {});
Dataset open_dataset(const std::filesystem::path& folder, std::span<const std::string> classes = {});

// A hash of which pictures these are and of which class each is: of the names of their files, or of shards and members,
// not of the folder that they lie in nor of their bytes.
std::uint64_t hash_of_names(const Dataset& dataset);

// The class folders alone.
Dataset read_image_folder(const std::filesystem::path& root, std::span<const std::string> classes = {});

}  // namespace convnext
