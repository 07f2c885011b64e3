// The files of tests/goldens: outputs of a reference implementation, and in the metadata what network they are of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "convnext/tensor.h"
#include "io/safetensors.h"
#include "model/config.h"

namespace convnext {

// tests/goldens/`path` in the source tree.
std::filesystem::path golden_path(std::string_view path);

struct Golden {
  SafetensorsFile file;
  NetworkConfig config;    // the registered network with the overrides in place
  std::uint64_t seed = 0;  // of the formula, for weights and inputs
};

// Throws Error when the file is not there, or its metadata name no network.
Golden open_golden(std::string_view path);

// A copy of a golden's tensor, aligned. Throws Error (kNotFound) with the name.
Tensor golden_tensor(const SafetensorsFile& file, std::string_view name);

}  // namespace convnext
