#include "engine/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr std::int64_t kMaxSide = std::int64_t{1} << 24;  // sizes of maps, in bytes, still fit 63 bits

std::int64_t last_side(const ConvNextConfig& config, std::int64_t side) {
  const StemShape stem = stem_shape(config);
  for (int i = 0; i < stem.count; ++i) side = stem.convolutions[static_cast<std::size_t>(i)].out_side(side);
  for (int stage = 1; stage < config.stages(); ++stage) side = downsample_shape(config, stage).out_side(side);
  return side;
}

std::int64_t smallest_side(const ConvNextConfig& config) {
  std::int64_t side = 1;
  while (last_side(config, side) < 1) ++side;
  return side;
}

MapSize after(const ConvolutionShape& shape, const MapSize& size) {
  return {shape.out_side(size.height), shape.out_side(size.width)};
}

bool is_dense(const Shape& shape, const Shape& strides) {
  if (strides.size() != shape.size()) return false;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

void check_output(const TensorView& view, std::initializer_list<std::int64_t> expected, const std::string& name) {
  if (view.data == nullptr) return;
  if (!std::equal(view.shape.begin(), view.shape.end(), expected.begin(), expected.end())) {
    throw Error(ErrorCode::kMismatch, fmt::format("the output '{}' is {}, but this input makes it {}", name,
                                                  to_string(view.shape), to_string(Shape(expected))));
  }
  if (view.dtype != DType::kF32 || !is_dense(view.shape, view.strides)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("the output '{}' must be contiguous float32", name));
  }
}

}  // namespace

StemShape stem_shape(const ConvNextConfig& config) {
  const int in = config.input_channels;
  const int out = config.dims.front();
  if (config.stem == Stem::kPatch) {
    return {{ConvolutionShape{in, out, config.patch_size, config.patch_size, 0}, ConvolutionShape{}}, 1};
  }
  const int middle = stem_width(config);
  return {{ConvolutionShape{in, middle, 3, 2, 1}, ConvolutionShape{middle, out, 3, 2, 1}}, 2};
}

StemNames stem_names(const ConvNextConfig& config) {
  switch (config.stem) {
    case Stem::kPatch:
      return {{"stem.0", ""}, "stem.1"};
    case Stem::kOverlap:
    case Stem::kOverlapTiered:
      return {{"stem.0", "stem.1"}, "stem.2"};
    case Stem::kOverlapAct:
      break;
  }
  return {{"stem.0", "stem.2"}, "stem.3"};
}

ConvolutionShape downsample_shape(const ConvNextConfig& config, int stage) {
  const auto i = static_cast<std::size_t>(stage);
  return {config.dims[i - 1], config.dims[i], 2, 2, 0};
}

Geometry network_geometry(const ConvNextConfig& config, std::int64_t height, std::int64_t width) {
  if (height > kMaxSide || width > kMaxSide) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("an input of {} x {} pixels is larger than the {} a side that "
                                                         "can be run",
                                                         height, width, kMaxSide));
  }
  if (height < 1 || width < 1 || last_side(config, height) < 1 || last_side(config, width) < 1) {
    const std::int64_t side = smallest_side(config);
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("an input of {} x {} pixels leaves nothing at the last stage: this network needs at least "
                            "{} x {}",
                            height, width, side, side));
  }
  const StemShape stem = stem_shape(config);
  Geometry geometry;
  geometry.input = {height, width};
  geometry.stem_middle = after(stem.convolutions[0], geometry.input);
  geometry.stages[0] = stem.count == 1 ? geometry.stem_middle : after(stem.convolutions[1], geometry.stem_middle);
  for (int stage = 1; stage < config.stages(); ++stage) {
    const auto i = static_cast<std::size_t>(stage);
    geometry.stages[i] = after(downsample_shape(config, stage), geometry.stages[i - 1]);
  }
  return geometry;
}

int pooled_channels(const ConvNextConfig& config) {
  return config.head == Head::kMlp ? config.head_hidden : config.dims.back();
}

MapSize input_size(const ConvNextConfig& config, const ConstTensorView& input) {
  if (input.shape.size() != 4 || input.shape[0] < 0 || input.shape[1] != config.input_channels) {
    throw Error(ErrorCode::kMismatch, fmt::format("the input is {}, but this network takes (n, {}, height, width)",
                                                  to_string(input.shape), config.input_channels));
  }
  if (input.dtype != DType::kF32 || input.layout == Layout::kNhwc || !is_dense(input.shape, input.strides)) {
    throw Error(ErrorCode::kInvalidArgument, "the input must be contiguous float32 in the order NCHW");
  }
  return {input.shape[2], input.shape[3]};
}

void check_compile(const NetworkConfig& config, const WeightStore& weights) {
  validate(config);
  check_weights(weights, config, "weights");
}

std::int64_t check_views(const ConvNextConfig& config, const Geometry& geometry, const ConstTensorView& input,
                         const OutputViews& outputs) {
  const std::int64_t n = input.shape[0];
  if (input.data == nullptr && n > 0) throw Error(ErrorCode::kInvalidArgument, "the input has no data");
  check_output(outputs.logits, {n, config.classes}, "logits");
  check_output(outputs.pooled, {n, pooled_channels(config)}, "pooled");
  if (!outputs.stages.empty() && outputs.stages.size() != config.dims.size()) {
    throw Error(ErrorCode::kMismatch, fmt::format("{} stage outputs are wanted of a network of {} stages",
                                                  outputs.stages.size(), config.stages()));
  }
  for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
    const MapSize& size = geometry.stages[i];
    if (outputs.stages[i].data == nullptr) continue;
    check_output(outputs.stages[i], {n, config.dims[i], size.height, size.width}, "stages." + std::to_string(i));
  }
  return n;
}

}  // namespace convnext
