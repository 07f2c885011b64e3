// The weights of a network by name, in whatever type they were stored, wherever they lie.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/tensor.h"
#include "model/config.h"
#include "model/tensors.h"

namespace convnext {

// Names are those of tensor_specs(). Copies share the memory.
class WeightStore {
 public:
  // `owner` keeps the viewed memory alive (a mapped file); null when the memory outlives the store by other means.
  void add(std::string name, ConstTensorView view, std::shared_ptr<const void> owner);
  void add(std::string name, Tensor tensor);
  // Integers (I8) that stand for integer * scale, with a scale (F32) for each of their first axis.
  void add(std::string name, ConstTensorView integers, ConstTensorView scales, std::shared_ptr<const void> owner);
  void add(std::string name, Tensor integers, Tensor scales);
  // For memory that many tensors lie in.
  void keep_alive(std::shared_ptr<const void> owner);

  bool contains(std::string_view name) const;
  // As it is stored: integers where there are scales. Throws Error (kNotFound) with the name.
  const ConstTensorView& at(std::string_view name) const;
  // Null for a tensor of floats.
  const ConstTensorView* scales(std::string_view name) const;
  const std::map<std::string, ConstTensorView, std::less<>>& all() const { return views_; }

  // Elements of a tensor as float32, row-major, whatever its type.
  std::vector<float> floats(std::string_view name) const;

  // Gives the memory of a tensor that lies in a mapped file back to the system, for when it has been copied elsewhere.
  // It can still be read, from the file again. Throws as at().
  void release(std::string_view name) const;

  // As they are stored, scales included.
  std::uint64_t bytes() const;

 private:
  std::map<std::string, ConstTensorView, std::less<>> views_;
  std::map<std::string, ConstTensorView, std::less<>> scales_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Whether weights can be of that type without scales.
bool is_float(DType dtype);

// Converts elements of any float type (unaligned too). `out` has view.count() values.
void to_float32(const ConstTensorView& view, std::span<float> out);
// The same of integers with scales, as WeightStore has them.
void to_float32(const ConstTensorView& integers, const ConstTensorView& scales, std::span<float> out);

// One of the weights as `dtype` (kF32, kF16 or kBF16), rounded to nearest even.
Tensor converted(const WeightStore& weights, std::string_view name, DType dtype);

// Throws Error (kMismatch) naming the first tensor of `config` that is missing or has another shape (both shapes), or
// the first that does not belong to it.
void check_weights(const WeightStore& weights, const NetworkConfig& config, std::string_view source);
void check_weights(const WeightStore& weights, std::span<const TensorSpec> specs, std::string_view source);

}  // namespace convnext
