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

struct Inspection {
  std::filesystem::path path;  // the file that was opened
  std::optional<TensorFileKind> kind;
  std::optional<WeightLayout> layout;  // absent when no block of a network was found
  std::map<DType, StoredType> types;
  std::vector<InspectedTensor> tensors;  // by key
  std::vector<Misfit> misfits;           // against the network of the card
  std::optional<CheckpointCard> card;    // absent when none could be had
  std::vector<std::string> notes;
  std::vector<std::string> problems;  // why the file could not be opened or makes no network

  // Whether read_checkpoint() would read it, and every weight is finite.
  bool is_whole() const;
};

// Never throws for what is wrong with the file or the folder: that is what it is asked for.
Inspection inspect(const std::filesystem::path& path, std::string_view architecture = {},
                   const TensorFileOptions& options = {});

}  // namespace convnext
