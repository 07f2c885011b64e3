// PyTorch's files of weights (torch/serialization.py): a zip archive since 1.6, a stream of pickles before. Reading is
// tensor_file.h's.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "convnext/tensor.h"
#include "io/file.h"
#include "io/tensor_file.h"

namespace convnext {

// Whether a file's first bytes are those of the one or the other.
bool is_pytorch_zip(std::span<const std::byte> first_bytes);
bool is_pytorch_legacy(std::span<const std::byte> first_bytes);

// Views of the mapped bytes where they can be; what is deflated, or lies in memory with gaps, is laid out anew. Throw
// Error as open_tensor_file().
TensorFile open_pytorch_zip(const MappedFile& file, const TensorFileOptions& options);
TensorFile open_pytorch_legacy(const MappedFile& file, const TensorFileOptions& options);

// Writes a state dict that torch.load(weights_only=True) reads: an OrderedDict of these tensors in this order. Atomic;
// equal inputs give equal bytes; the numbers are aligned to 64 bytes. Views must be contiguous, of a type that PyTorch
// has storages of (not U16, U32, U64). Throws Error: kInvalidArgument for those, or a name that stands twice or is not
// UTF-8.
void write_pytorch(const std::filesystem::path& path, std::span<const std::pair<std::string, ConstTensorView>> tensors);

}  // namespace convnext
