#include "kernels/aligned_floats.h"

#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <new>

namespace convnext {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

AlignedFloats::AlignedFloats(std::size_t count) : count_(count) {
  if (count == 0) return;
  if (count > std::numeric_limits<std::size_t>::max() / sizeof(float)) throw std::bad_array_new_length();
  const std::size_t bytes = count * sizeof(float);
  const bool huge = bytes >= kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, huge ? kHugePage : kCacheLine, bytes) != 0) throw std::bad_alloc();
  data_.reset(static_cast<float*>(memory));
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, only slower
  std::fill_n(data_.get(), count, 0.0f);
}

}  // namespace convnext
