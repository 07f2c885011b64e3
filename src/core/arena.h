// Scratch memory of one thread's inference: grows to what the largest call needed, then never allocates again.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

namespace convnext {

// Blocks stay where they are until reset(); reset() makes one block of all of them, so that the second call at a shape
// finds everything in one piece.
class Arena {
 public:
  // `count` values, aligned to 64 bytes, not initialised.
  template <typename T>
  std::span<T> take(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 64);
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return {reinterpret_cast<T*>(take_bytes(count * sizeof(T))), count};
  }

  // Gives everything back at once; spans taken before are invalid from here on.
  void reset();

  std::size_t capacity() const;

 private:
  struct Free {
    Free() : alignment(0) {}
    explicit Free(std::size_t of_block) : alignment(of_block) {}
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t(alignment)); }
    std::size_t alignment;
  };
  struct Block {
    std::unique_ptr<std::byte, Free> data;
    std::size_t size = 0;
    std::size_t used = 0;
  };

  std::byte* take_bytes(std::size_t bytes);
  void add_block(std::size_t bytes);

  std::vector<Block> blocks_;
};

}  // namespace convnext
