// convnext/tensor.h: numbers in memory with a type and a shape; either a view of somebody's memory, or owned.
//
//   convnext::Tensor x = convnext::Tensor::zeros({1, 3, 224, 224});  // float32, row-major
//   x.values<float>()[0] = 1.0f;
//   model.run(x.view(), ...);
//
// Images are NCHW at every public function. The engine works in NHWC inside and nobody outside needs to know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#pragma GCC visibility push(default)
namespace convnext {

enum class DType : std::uint8_t { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kBF16, kF32, kF64 };

// Bytes of one element.
std::size_t size_of(DType dtype);
// The spelling of safetensors: "F32", "BF16", "I64", ...
std::string_view name_of(DType dtype);

// The order of the axes of an image tensor in memory; kRowMajor for everything that is not an image.
enum class Layout : std::uint8_t { kRowMajor, kNchw, kNhwc };

using Shape = std::vector<std::int64_t>;

// "(64, 3, 7, 7)", for messages.
std::string to_string(const Shape& shape);
// Product of the sizes; 1 for a scalar. Throws Error when a size is negative or the product (of the sizes other than 0)
// does not fit 63 bits.
std::int64_t element_count(const Shape& shape);
// Strides, in elements, of a row-major tensor without gaps. Throws like element_count().
Shape contiguous_strides(const Shape& shape);

// Not owned: the memory must outlive the view. `strides` are in elements.
template <typename Byte>
struct BasicTensorView {
  Byte* data = nullptr;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRowMajor;
  Shape shape;
  Shape strides;

  std::int64_t count() const { return element_count(shape); }
  bool is_contiguous() const { return strides == contiguous_strides(shape); }

  // What may be written may be read.
  operator BasicTensorView<const std::byte>() const requires(!std::is_const_v<Byte>) {
    return {data, dtype, layout, shape, strides};
  }

  // The elements as T. The caller answers for T being what `dtype` says, and for contiguity.
  template <typename T>
  auto values() const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    return std::span<Element>(reinterpret_cast<Element*>(data), static_cast<std::size_t>(count()));
  }
};

using TensorView = BasicTensorView<std::byte>;
using ConstTensorView = BasicTensorView<const std::byte>;

// Owned, contiguous, row-major.
class Tensor {
 public:
  Tensor() = default;
  static Tensor zeros(Shape shape, DType dtype = DType::kF32);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t count() const { return element_count(shape_); }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::span<std::byte> bytes() { return bytes_; }

  TensorView view(Layout layout = Layout::kRowMajor);
  ConstTensorView view(Layout layout = Layout::kRowMajor) const;

  template <typename T>
  std::span<T> values() {
    return view().template values<T>();
  }
  template <typename T>
  std::span<const T> values() const {
    return view().template values<T>();
  }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  std::vector<std::byte> bytes_;
};

}  // namespace convnext
#pragma GCC visibility pop
