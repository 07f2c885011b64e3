// Float32 memory for packed weights: on a cache line, zero at first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace convnext {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t count) : count_(count) {
    if (count == 0) return;
    data_.reset(static_cast<float*>(::operator new(count * sizeof(float), kAlignment)));
    std::fill_n(data_.get(), count, 0.0f);
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  std::span<float> values() { return {data_.get(), count_}; }
  std::span<const float> values() const { return {data_.get(), count_}; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t count_ = 0;
};

}  // namespace convnext
