// Everything that can be said of a file of weights without running it, the broken ones included.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.h"
#include "model/card.h"
#include "model/checkpoint.h"
#include "model/detector_checkpoint.h"
#include "model/layouts.h"
#include "model/tensor_statistics.h"

namespace convnext {

struct InspectedTensor {
  std::string key;  // in the file
  std::string own;  // our name; empty when it has none
  DType dtype = DType::kF32;
  Shape shape;
  TensorStatistics statistics;
};

struct StoredType {
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;
};

// What can be said of any of them.
struct FileInspection {
  std::filesystem::path path;  // the file that was opened
  std::optional<TensorFileKind> kind;
  std::map<DType, StoredType> types;
  std::vector<InspectedTensor> tensors;  // by key
  std::vector<Misfit> misfits;           // against the network or detector of the card
  std::vector<std::string> notes;
  std::vector<std::string> problems;  // why the file could not be opened, or makes no network or detector

  // Whether nothing is wrong with the tensors, and every weight is finite.
  bool has_whole_weights() const;
};

struct Inspection : FileInspection {
  std::optional<WeightLayout> layout;  // absent when no block of a network was found
  std::optional<CheckpointCard> card;  // absent when none could be had

  // Whether read_checkpoint() would read it, and every weight is finite.
  bool is_whole() const;
};

// Never throws for what is wrong with the file or the folder: that is what it is asked for.
Inspection inspect(const std::filesystem::path& path, std::string_view architecture = {},
                   const TensorFileOptions& options = {});

struct DetectorInspection : FileInspection {
  std::optional<DetectorNaming> naming;
  std::optional<WeightLayout> backbone_layout;
  std::optional<DetectorCheckpointCard> card;  // absent when none could be had

  // Whether read_detector() would read it, and every weight is finite.
  bool is_whole() const;
};

// The same of a file that holds_detector().
DetectorInspection inspect_detector(const std::filesystem::path& path, const TensorFileOptions& options = {});

}  // namespace convnext
