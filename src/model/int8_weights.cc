#include "model/int8_weights.h"

#include <fmt/format.h>

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

void add_rounded(const WeightStore& weights, const std::string& name, WeightStore& rounded) {
  const Shape& shape = weights.at(name).shape;
  Tensor integers = Tensor::zeros(shape, DType::kI8);
  Tensor scales = Tensor::zeros({shape[0]});
  const std::vector<float> floats = weights.floats(name);
  const auto outputs = static_cast<std::size_t>(shape[0]);
  const std::size_t inputs = floats.size() / outputs;
  for (std::size_t n = 0; n < outputs; ++n) {
    scales.values<float>()[n] = quantize_weights(std::span(floats).subspan(n * inputs, inputs),
                                                 integers.values<std::int8_t>().subspan(n * inputs, inputs));
  }
  rounded.add(name, std::move(integers), std::move(scales));
}

std::string name_of_scales(const std::string& name) { return name + std::string(kScaleEnding); }

}  // namespace

WeightStore rounded_to_int8(const WeightStore& weights) {
  WeightStore rounded;
  for (const auto& [name, view] : weights.all()) {
    if (is_int8(name)) {
      add_rounded(weights, name, rounded);
    } else {
      rounded.add(name, converted(weights, name, is_bfloat16(name) ? DType::kBF16 : DType::kF32));
    }
  }
  return rounded;
}

std::map<std::string, ConstTensorView> file_tensors(const WeightStore& weights) {
  std::map<std::string, ConstTensorView> tensors(weights.all().begin(), weights.all().end());
  for (const auto& [name, view] : weights.all()) {
    if (const ConstTensorView* scales = weights.scales(name)) tensors.emplace(name_of_scales(name), *scales);
  }
  return tensors;
}

TensorViews take_scales(TensorFile& file) {
  TensorViews scales;
  // In a PyTorch file tensors may share their bytes: many names, each to be expanded, for a few of them.
  if (file.kind != TensorFileKind::kSafetensors && file.kind != TensorFileKind::kSafetensorsIndex) return scales;
  for (const auto& [name, view] : file.tensors) {
    const auto scale = file.tensors.find(name_of_scales(name));
    if (view.dtype != DType::kI8 || scale == file.tensors.end()) continue;
    if (scale->second.dtype != DType::kF32 || view.shape.empty() || scale->second.shape != Shape{view.shape[0]}) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("'{}': {} is {} {}, and the scales of {} {} are F32, one an output", file.path.string(),
                              in_quotes(scale->first), name_of(scale->second.dtype), to_string(scale->second.shape),
                              in_quotes(name), to_string(view.shape)));
    }
    scales.emplace(name, scale->second);
  }
  for (const auto& [name, view] : scales) file.tensors.erase(name_of_scales(name));
  return scales;
}

}  // namespace convnext
