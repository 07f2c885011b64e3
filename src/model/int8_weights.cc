#include "model/int8_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "convnext/error.h"
#include "core/int8.h"
#include "io/quoted.h"

namespace convnext {
namespace {

constexpr std::string_view kScaleEnding = "_scale";

bool is_int8(std::string_view name) {
  return name.starts_with("stages.") && (name.ends_with(".mlp.fc1.weight") || name.ends_with(".mlp.fc2.weight") ||
                                         name.ends_with(".downsample.1.weight"));
}

bool is_bfloat16(std::string_view name) { return name == "head.fc.weight" || name == "head.pre_logits.fc.weight"; }

struct Integers {
  Tensor values;  // I8, of the weight's shape
  Tensor scales;  // F32, (outputs,)
};

Integers integers_of(const WeightStore& weights, const std::string& name) {
  const Shape& shape = weights.at(name).shape;
  Integers result{Tensor::zeros(shape, DType::kI8), Tensor::zeros({shape[0]})};
  const std::vector<float> floats = weights.floats(name);
  const auto outputs = static_cast<std::size_t>(shape[0]);
  const std::size_t inputs = floats.size() / outputs;
  for (std::size_t n = 0; n < outputs; ++n) {
    const float scale = quantize_weights(std::span(floats).subspan(n * inputs, inputs),
                                         result.values.values<std::int8_t>().subspan(n * inputs, inputs));
    result.scales.values<float>()[n] = scale;
  }
  return result;
}

// `values` (outputs, ...) of I8, which need not be aligned, times `scales`.
Tensor floats_of(const ConstTensorView& values, std::span<const float> scales) {
  Tensor result = Tensor::zeros(values.shape);
  const std::span<float> floats = result.values<float>();
  const std::size_t inputs = floats.size() / scales.size();
  for (std::size_t i = 0; i < floats.size(); ++i) {
    floats[i] = static_cast<float>(std::to_integer<std::int8_t>(values.data[i])) * scales[i / inputs];
  }
  return result;
}

}  // namespace

WeightStore rounded_to_int8(const WeightStore& weights) {
  WeightStore rounded;
  for (const auto& [name, view] : weights.all()) {
    if (is_int8(name)) {
      const Integers integers = integers_of(weights, name);
      rounded.add(name, floats_of(integers.values.view(), integers.scales.values<float>()));
    } else {
      rounded.add(name, converted(view, is_bfloat16(name) ? DType::kBF16 : DType::kF32));
    }
  }
  return rounded;
}

std::map<std::string, Tensor> int8_tensors(const WeightStore& rounded) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, view] : rounded.all()) {
    if (is_int8(name)) {
      Integers integers = integers_of(rounded, name);
      tensors.emplace(name, std::move(integers.values));
      tensors.emplace(name + std::string(kScaleEnding), std::move(integers.scales));
    } else {
      tensors.emplace(name, converted(view, view.dtype));
    }
  }
  return tensors;
}

void restore_int8(TensorFile& file) {
  // In a PyTorch file tensors may share their bytes, and as floats they would not.
  if (file.kind != TensorFileKind::kSafetensors && file.kind != TensorFileKind::kSafetensorsIndex) return;
  std::vector<std::string> names;
  for (const auto& [name, view] : file.tensors) {
    if (view.dtype == DType::kI8 && file.tensors.contains(name + std::string(kScaleEnding))) names.push_back(name);
  }
  for (const std::string& name : names) {
    ConstTensorView& view = file.tensors.find(name)->second;
    const auto scale = file.tensors.find(name + std::string(kScaleEnding));
    if (scale->second.dtype != DType::kF32 || view.shape.empty() || scale->second.shape != Shape{view.shape[0]}) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("'{}': {} is {} {}, and the scales of {} {} are F32, one an output", file.path.string(),
                              in_quotes(scale->first), name_of(scale->second.dtype), to_string(scale->second.shape),
                              in_quotes(name), to_string(view.shape)));
    }
    std::vector<float> scales(static_cast<std::size_t>(view.shape[0]));
    to_float32(scale->second, scales);
    const auto floats =
        std::make_shared<const Tensor>(scales.empty() ? Tensor::zeros(view.shape) : floats_of(view, scales));
    view = floats->view();
    file.owners.push_back(floats);
    file.tensors.erase(scale);
  }
}

}  // namespace convnext
