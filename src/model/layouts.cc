#include "model/layouts.h"

#include <fmt/format.h>

#include "convnext/error.h"

namespace convnext {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32 || dtype == DType::kF64;
}

}  // namespace

std::optional<std::string> own_name(std::string_view key, DType dtype) {
  if (!is_float(dtype)) return std::nullopt;
  return std::string(key);
}

WeightStore import_weights(const SafetensorsFile& file, std::string_view source) {
  WeightStore weights;
  for (const auto& [key, view] : file.tensors()) {
    const std::optional<std::string> name = own_name(key, view.dtype);
    if (!name) continue;
    if (weights.contains(*name)) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' holds '{}' twice, once as '{}'", source, *name, key));
    }
    weights.add(*name, view, file.file().owner());
  }
  return weights;
}

}  // namespace convnext
