// The tensors of a file of weights, whatever kind of file it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "convnext/tensor.h"

namespace convnext {

enum class TensorFileKind { kSafetensors, kSafetensorsIndex, kPytorchZip, kPytorchLegacy, kPytorchIndex };

// "safetensors", "safetensors in shards", "PyTorch zip", "PyTorch of before 1.6", "PyTorch in shards".
std::string_view name_of(TensorFileKind kind);

struct TensorFileOptions {
  // Of a training checkpoint that holds both: the moving average's weights (model_ema, state_dict_ema), or the others.
  bool prefer_average = true;
  FileLimits limits = {};
};

// What a checkpoint of OpenMMLab's calls its classes.
struct NamedClasses {
  std::string key;                 // where it says so: "meta.CLASSES"; empty where it does not
  std::vector<std::string> names;  // in their order; empty where what stands there are no names
};

struct TensorFile {
  std::filesystem::path path;
  TensorFileKind kind = TensorFileKind::kSafetensors;
  // By the file's own names; contiguous; need not be aligned. Tensors that share their numbers in a PyTorch file share
  // the memory here.
  std::map<std::string, ConstTensorView, std::less<>> tensors;
  // Tensors that are there, but of types that have no place here: by name, what they are ("of type F8_E4M3").
  std::map<std::string, std::string, std::less<>> unread;
  std::map<std::string, std::string> metadata;      // of safetensors
  NamedClasses classes;                             // of PyTorch files
  std::vector<std::shared_ptr<const void>> owners;  // keep the viewed memory alive
  // What was passed over, for people: "took 'model_ema' of 'model', 'model_ema', 'optimizer'".
  std::vector<std::string> notes;
};

// Tells the kind by the first bytes, never by the name. An index as Hugging Face writes it (*.index.json) opens its
// shards, which lie beside it. Throws Error: kNotFound; kDamaged with the place; kMismatch for an index that names
// other tensors than its shards hold; kUnsupported for what is not read (a TorchScript archive, a global that no state
// dict has, by name) or beyond the limits; kInvalidArgument for limits that are out of range.
TensorFile open_tensor_file(const std::filesystem::path& path, const TensorFileOptions& options = {});

}  // namespace convnext
