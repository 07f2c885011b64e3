// What the fuzzers share: their bytes as a file, and the rule that all of them check.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "convnext/error.h"
#include "convnext/tensor.h"

namespace convnext {

// A file in memory with the fuzzer's bytes, for functions that take a path.
class InputFile {
 public:
  explicit InputFile(std::span<const std::byte> bytes) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || ::write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      std::abort();
    }
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

// A defect: the fuzzer keeps the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

// Runs a reader. Whatever the bytes, it gives a result, or an Error that says what is wrong; any other exception is a
// defect, as are the sanitizers' findings, running out of memory and taking too long.
template <typename Function>
void read_or_refuse(const Function& read) {
  try {
    read();
  } catch (const Error& error) {
    require(!std::string_view(error.what()).empty());
  }
}

// Reads every byte of a view, for the sanitizers to see it. The sum is returned so that no compiler leaves it out.
inline std::uint64_t sum_of(const ConstTensorView& view) {
  require(view.is_contiguous());
  std::uint64_t sum = 0;
  const std::size_t count = static_cast<std::size_t>(view.count()) * size_of(view.dtype);
  for (const std::byte byte : std::span(view.data, count)) sum += std::to_integer<std::uint64_t>(byte);
  return sum;
}

}  // namespace convnext
