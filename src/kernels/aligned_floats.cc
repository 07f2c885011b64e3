#include "kernels/aligned_floats.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace convnext {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kPage = std::size_t{1} << 16;  // the largest that a machine has of the ordinary ones
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Fresh zero pages from a boundary of huge pages on; null when there is no memory.
void* map_pages(std::size_t bytes) {
  const std::size_t whole = bytes + kHugePage;
  void* const start = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  char* const first = static_cast<char*>(start);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(first) % kHugePage) % kHugePage;
  if (before > 0) munmap(first, before);
  munmap(first + before + bytes, kHugePage - before);
  madvise(first + before, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, only slower
  return first + before;
}

}  // namespace

AlignedMemory allocate_aligned(std::size_t bytes) {
  if (bytes >= kHugePage) {
    const std::size_t pages = (bytes + kPage - 1) / kPage * kPage;
    void* const memory = map_pages(pages);
    if (memory == nullptr) throw std::bad_alloc();
    return {memory, pages};
  }
  void* memory = nullptr;
  if (posix_memalign(&memory, kCacheLine, bytes) != 0) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return {memory, 0};
}

void free_aligned(const AlignedMemory& memory) {
  if (memory.mapped_bytes > 0) {
    munmap(memory.data, memory.mapped_bytes);
  } else {
    std::free(memory.data);
  }
}

}  // namespace convnext
