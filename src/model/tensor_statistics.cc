#include "model/tensor_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/float16.h"

namespace convnext {
namespace {

class Accumulator {
 public:
  void add(double value) {
    ++statistics_.count;
    if (std::isnan(value)) {
      ++statistics_.nans;
    } else if (std::isinf(value)) {
      ++statistics_.infinities;
    } else {
      least_ = std::min(least_, value);
      greatest_ = std::max(greatest_, value);
      // Welford's update: sums of squares would lose a small deviation around a large mean.
      const double before = value - mean_;
      mean_ += before / static_cast<double>(++finite_);
      squares_ += before * (value - mean_);
    }
  }

  TensorStatistics result() const {
    TensorStatistics result = statistics_;
    if (finite_ == 0) return result;
    result.least = least_;
    result.greatest = greatest_;
    result.mean = mean_;
    result.deviation = std::sqrt(squares_ / static_cast<double>(finite_));
    return result;
  }

 private:
  TensorStatistics statistics_;
  std::int64_t finite_ = 0;
  double least_ = std::numeric_limits<double>::infinity();
  double greatest_ = -std::numeric_limits<double>::infinity();
  double mean_ = 0.0;
  double squares_ = 0.0;
};

template <typename Element, typename Value>
TensorStatistics over(const ConstTensorView& tensor, const Value& value) {
  Accumulator accumulator;
  const std::int64_t count = tensor.count();
  for (std::int64_t i = 0; i < count; ++i) {
    Element element;
    std::memcpy(&element, tensor.data + static_cast<std::size_t>(i) * sizeof element, sizeof element);
    accumulator.add(value(element));
  }
  return accumulator.result();
}

template <typename Element>
TensorStatistics over(const ConstTensorView& tensor) {
  return over<Element>(tensor, [](Element element) { return static_cast<double>(element); });
}

// Infinities and NaNs have all bits of the exponent set.
template <typename Bits>
bool is_finite(const ConstTensorView& tensor, Bits exponent) {
  const auto count = static_cast<std::size_t>(tensor.count());
  for (std::size_t i = 0; i < count; ++i) {
    Bits element;
    std::memcpy(&element, tensor.data + i * sizeof element, sizeof element);
    if ((element & exponent) == exponent) return false;
  }
  return true;
}

}  // namespace

bool is_finite(const ConstTensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kF16:
      return is_finite<std::uint16_t>(tensor, 0x7c00);
    case DType::kBF16:
      return is_finite<std::uint16_t>(tensor, 0x7f80);
    case DType::kF32:
      return is_finite<std::uint32_t>(tensor, 0x7f800000);
    case DType::kF64:
      return is_finite<std::uint64_t>(tensor, 0x7ff0000000000000);
    default:
      return true;  // integers
  }
}

TensorStatistics tensor_statistics(const ConstTensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kBool:
      return over<std::uint8_t>(tensor, [](std::uint8_t element) { return element != 0 ? 1.0 : 0.0; });
    case DType::kU8:
      return over<std::uint8_t>(tensor);
    case DType::kI8:
      return over<std::int8_t>(tensor);
    case DType::kU16:
      return over<std::uint16_t>(tensor);
    case DType::kI16:
      return over<std::int16_t>(tensor);
    case DType::kU32:
      return over<std::uint32_t>(tensor);
    case DType::kI32:
      return over<std::int32_t>(tensor);
    case DType::kU64:
      return over<std::uint64_t>(tensor);
    case DType::kI64:
      return over<std::int64_t>(tensor);
    case DType::kF16:
      return over<std::uint16_t>(tensor, float16_to_float);
    case DType::kBF16:
      return over<std::uint16_t>(tensor, bfloat16_to_float);
    case DType::kF32:
      return over<float>(tensor);
    case DType::kF64:
      return over<double>(tensor);
  }
  return {};
}

}  // namespace convnext
