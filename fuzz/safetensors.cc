// safetensors files and the indices of those in shards.
#include "fuzz/input.h"
#include "io/tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const InputFile file(std::as_bytes(std::span(data, size)));
  read_or_refuse([&] {
    const TensorFile tensors = open_tensor_file(file.path());
    std::uint64_t bytes = 0;
    for (const auto& [name, view] : tensors.tensors) {
      bytes += static_cast<std::uint64_t>(view.count()) * size_of(view.dtype);
      sum_of(view);
    }
    // Tensors of one file do not overlap.
    if (tensors.kind == TensorFileKind::kSafetensors) require(bytes <= size);
  });
  return 0;
}
