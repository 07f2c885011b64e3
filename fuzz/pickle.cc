// Pickles alone, without the archive around them, under the usual limits and under narrow ones.
#include "io/pickle.h"

#include "fuzz/input.h"
#include "io/pytorch_state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  read_or_refuse([&] {
    const Pickle pickle = read_pickle(bytes, 0, "input", role_in_pytorch);
    require(pickle.size() > 0 && pickle.size() <= size);
    for (const PickleValue* persistent : pickle.persistent()) {
      read_or_refuse([&] { pytorch_storage(*persistent, "input"); });
    }
    for (const PytorchTensor& tensor : find_pytorch_state(pickle, {}, "input").tensors) {
      require(tensor.shape.size() == tensor.strides.size());
    }
  });
  read_or_refuse([&] {
    constexpr std::size_t kBytes = 1000;
    const FileLimits small{.max_header_bytes = kBytes, .max_nesting = 10, .max_memo = 100};
    require(read_pickle(bytes, 0, "input", role_in_pytorch, small).size() <= kBytes);
  });
  return 0;
}
