// Float32 memory for packed weights: on a cache line, zero at first. Large pieces ask the system for huge pages: most
// of the time of packing a network goes to page faults (114 MB: 70 ms with huge pages, 130 without).
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

namespace convnext {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t count);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  std::span<float> values() { return {data_.get(), count_}; }
  std::span<const float> values() const { return {data_.get(), count_}; }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t count_ = 0;
};

}  // namespace convnext
