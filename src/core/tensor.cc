#include "convnext/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

#include "convnext/error.h"

namespace convnext {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
    case DType::kI8:
      return 1;
    case DType::kU16:
    case DType::kI16:
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU32:
    case DType::kI32:
    case DType::kF32:
      return 4;
    case DType::kU64:
    case DType::kI64:
    case DType::kF64:
      return 8;
  }
  throw std::logic_error("size_of: not a DType");
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return "BOOL";
    case DType::kU8:
      return "U8";
    case DType::kI8:
      return "I8";
    case DType::kU16:
      return "U16";
    case DType::kI16:
      return "I16";
    case DType::kU32:
      return "U32";
    case DType::kI32:
      return "I32";
    case DType::kU64:
      return "U64";
    case DType::kI64:
      return "I64";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kF32:
      return "F32";
    case DType::kF64:
      return "F64";
  }
  throw std::logic_error("name_of: not a DType");
}

std::string to_string(const Shape& shape) {
  if (shape.size() == 1) return fmt::format("({},)", shape[0]);
  return fmt::format("({})", fmt::join(shape, ", "));
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) throw Error(ErrorCode::kInvalidArgument, fmt::format("shape {}: negative size", to_string(shape)));
    empty |= size == 0;
    if (__builtin_mul_overflow(count, std::max<std::int64_t>(size, 1), &count)) {
      throw Error(ErrorCode::kInvalidArgument, fmt::format("shape {}: more than 2^63 elements", to_string(shape)));
    }
  }
  return empty ? 0 : count;
}

Shape contiguous_strides(const Shape& shape) {
  element_count(shape);  // the products below fit when its product does
  Shape strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max<std::int64_t>(shape[axis], 1);
  }
  return strides;
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(element_count(shape), static_cast<std::int64_t>(size_of(dtype)), &bytes)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("shape {} of {}: more than 2^63 bytes", to_string(shape), name_of(dtype)));
  }
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.bytes_.resize(static_cast<std::size_t>(bytes));
  return tensor;
}

TensorView Tensor::view(Layout layout) { return {bytes_.data(), dtype_, layout, shape_, contiguous_strides(shape_)}; }

ConstTensorView Tensor::view(Layout layout) const {
  return {bytes_.data(), dtype_, layout, shape_, contiguous_strides(shape_)};
}

}  // namespace convnext
