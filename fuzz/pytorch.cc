// PyTorch files, zip and legacy, with both choices that a training checkpoint leaves.
#include "fuzz/input.h"
#include "io/tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const InputFile file(std::as_bytes(std::span(data, size)));
  for (const bool prefer_average : {true, false}) {
    read_or_refuse([&] {
      TensorFileOptions options;
      options.prefer_average = prefer_average;
      for (const auto& [name, view] : open_tensor_file(file.path(), options).tensors) require(view.is_contiguous());
      const TensorFile tensors = open_tensor_file(file.path(), options);
      for (const auto& [name, view] : tensors.tensors) {
        // Many tensors may share one storage: reading each whole would take longer than the file is long.
        if (tensors.tensors.size() < 64) sum_of(view);
      }
    });
  }
  return 0;
}
