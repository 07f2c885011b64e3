// Which name is which: how the tensors of somebody's file are called in our own layout. The one home of name maps.
//
// Our own layout is timm's key names, so that timm reads our files and we read timm's without any change.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/safetensors.h"
#include "model/weights.h"

namespace convnext {

// The name in our own layout of the tensor that a file calls `key`; nothing when it holds no weight (a counter of batch
// norm, a table of indices).
std::optional<std::string> own_name(std::string_view key, DType dtype);

// All weights of a file under our own names. Throws Error (kMismatch) when two keys mean the same tensor.
WeightStore import_weights(const SafetensorsFile& file, std::string_view source);

}  // namespace convnext
