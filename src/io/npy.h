// NumPy's .npy, format versions 1.0 to 3.0 (numpy.lib.format): one array in a file, readable by np.load.
#pragma once

#include <filesystem>

#include "convnext/tensor.h"

namespace convnext {

// Little-endian C-order arrays of bool, integers, float16, float32 and float64. Throws Error: kDamaged, or kUnsupported
// for Fortran order, big-endian and structured types, with how to save the array anew.
Tensor read_npy(const std::filesystem::path& path);

// Writes atomically. bfloat16, which NumPy does not have, is refused (kUnsupported).
void write_npy(const std::filesystem::path& path, const ConstTensorView& tensor);

}  // namespace convnext
