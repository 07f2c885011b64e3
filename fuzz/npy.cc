// .npy arrays.
#include "io/npy.h"

#include "fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const InputFile file(std::as_bytes(std::span(data, size)));
  read_or_refuse([&] {
    const Tensor tensor = read_npy(file.path());
    require(tensor.bytes().size() <= size);
    sum_of(tensor.view());
  });
  return 0;
}
