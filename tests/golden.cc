#include "tests/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "convnext/error.h"
#include "model/registry.h"

namespace convnext {
namespace {

NetworkOverrides overrides_from_json(const std::string& text) {
  const nlohmann::json fields = nlohmann::json::parse(text);
  NetworkOverrides overrides;
  for (const auto& [key, value] : fields.items()) {
    if (key == "depths") {
      overrides.depths = value.get<std::vector<int>>();
    } else if (key == "dims") {
      overrides.dims = value.get<std::vector<int>>();
    } else if (key == "kernel_sizes") {
      overrides.kernel_sizes = value.get<std::vector<int>>();
    } else if (key == "patch_size") {
      overrides.patch_size = value.get<int>();
    } else if (key == "classes") {
      overrides.classes = value.get<int>();
    } else if (key == "input_channels") {
      overrides.input_channels = value.get<int>();
    } else {
      throw Error(ErrorCode::kDamaged, fmt::format("a golden overrides '{}', which no network has", key));
    }
  }
  return overrides;
}

}  // namespace

std::filesystem::path golden_path(std::string_view path) {
  return std::filesystem::path(CONVNEXT_SOURCE_DIR) / "tests" / "goldens" / path;
}

Golden open_golden(std::string_view path) {
  SafetensorsFile file = SafetensorsFile::open(golden_path(path));
  const auto& metadata = file.metadata();
  NetworkConfig config =
      with_overrides(architecture(metadata.at("architecture")).network, overrides_from_json(metadata.at("overrides")));
  const std::uint64_t seed = std::stoull(metadata.at("seed"));
  return {std::move(file), std::move(config), seed};
}

Tensor golden_tensor(const SafetensorsFile& file, std::string_view name) {
  const auto found = file.tensors().find(std::string(name));
  if (found == file.tensors().end()) {
    throw Error(ErrorCode::kNotFound, fmt::format("'{}' holds no tensor '{}'", file.file().path().string(), name));
  }
  const ConstTensorView& view = found->second;
  Tensor tensor = Tensor::zeros(view.shape, view.dtype);
  std::copy_n(view.data, tensor.bytes().size(), tensor.bytes().data());
  return tensor;
}

}  // namespace convnext
