// What the tests of kernels run on: random numbers, rows with padding that tell what was written, and a fixture.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"
#include "kernels/isa.h"
#include "kernels/padding.h"

namespace convnext {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Uniform in [-1, 1), different for each seed.
inline std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = 2 * unit_float(mix(mix(seed) + i)) - 1;
  return values;
}

inline std::size_t product(std::initializer_list<std::int64_t> sizes) {
  std::size_t count = 1;
  for (const std::int64_t size : sizes) count *= static_cast<std::size_t>(size);
  return count;
}

// Rows with padding, as the kernels want them: zeros up to the padded channels, NaN behind, which nobody may read, and
// a row of NaN before and after. `offset` floats are left free in front, so that rows start at any multiple of 4 bytes.
class PaddedRows {
 public:
  PaddedRows(std::int64_t rows, int channels, Isa isa, std::ptrdiff_t offset = 0)
      : rows_(rows),
        channels_(channels),
        padded_(padded_channels(channels, isa)),
        stride_(row_stride(channels, isa) + 16),
        offset_(offset),
        storage_(static_cast<std::size_t>((rows + 2) * stride_ + 64), kNan) {}

  void fill(std::span<const float> values) {
    for (std::int64_t m = 0; m < rows_; ++m) {
      std::copy_n(values.data() + m * channels_, channels_, data() + m * stride_);
      std::fill_n(data() + m * stride_ + channels_, padded_ - channels_, 0.0f);
    }
  }

  float* data() { return first_line() + stride_ + offset_; }
  std::ptrdiff_t stride() const { return stride_; }

  std::vector<float> values() {
    std::vector<float> result;
    for (std::int64_t m = 0; m < rows_; ++m) result.insert(result.end(), row(m), row(m) + channels_);
    return result;
  }

  // Padding is zero, and nothing outside was written.
  testing::AssertionResult is_clean() {
    for (std::int64_t m = -1; m <= rows_; ++m) {
      const bool inside = m >= 0 && m < rows_;
      for (std::ptrdiff_t c = inside ? channels_ : 0; c < stride_ - offset_; ++c) {
        const float value = row(m)[c];
        if (inside && c < padded_ ? value != 0 : !std::isnan(value)) {
          return testing::AssertionFailure() << "channel " << c << " of row " << m << " became " << value;
        }
      }
    }
    return testing::AssertionSuccess();
  }

 private:
  float* row(std::int64_t m) { return data() + m * stride_; }
  float* first_line() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64 / sizeof(float);
  }

  std::int64_t rows_;
  int channels_;
  std::ptrdiff_t padded_;
  std::ptrdiff_t stride_;
  std::ptrdiff_t offset_;
  std::vector<float> storage_;
};

// Of every instruction set that this machine has.
class EachIsa : public testing::TestWithParam<Isa> {
 protected:
  Isa isa() const { return GetParam(); }
  int vector() const { return lanes(isa()); }
};

inline std::string name_of_isa(const testing::TestParamInfo<Isa>& test) { return std::string(name_of(test.param)); }

}  // namespace convnext
