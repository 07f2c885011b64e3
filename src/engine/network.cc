#include "engine/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "convnext/error.h"
#include "model/description.h"
#include "model/registry.h"

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

void check_output(const TensorView& view, std::span<const std::int64_t> expected, const std::string& name) {
  if (view.data == nullptr) return;
  if (!std::ranges::equal(view.shape, expected)) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("the output '{}' is {}, but this input makes it {}", name, to_string(view.shape),
                            to_string(Shape(expected.begin(), expected.end()))));
  }
  if (view.dtype != DType::kF32 || !is_dense(view.shape, view.strides)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("the output '{}' must be contiguous float32", name));
  }
}

void check_input_data(const ConstTensorView& input) {
  if (input.data == nullptr && input.shape[0] > 0) {
    throw Error(ErrorCode::kInvalidArgument, "the input has no data");
  }
}

void check_stage_count(const OutputViews& outputs, std::size_t stages) {
  if (outputs.stages.empty() || outputs.stages.size() == stages) return;
  throw Error(ErrorCode::kMismatch,
              fmt::format("{} stage outputs are wanted of a network of {} stages", outputs.stages.size(), stages));
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

MapSize input_size(int channels, const ConstTensorView& input) {
  if (input.shape.size() != 4 || input.shape[0] < 0 || input.shape[1] != channels) {
    throw Error(ErrorCode::kMismatch, fmt::format("the input is {}, but this network takes (n, {}, height, width)",
                                                  to_string(input.shape), channels));
  }
  if (input.dtype != DType::kF32 || input.layout == Layout::kNhwc || !is_dense(input.shape, input.strides)) {
    throw Error(ErrorCode::kInvalidArgument, "the input must be contiguous float32 in the order NCHW");
  }
  return {input.shape[2], input.shape[3]};
}

const ConvNextConfig& check_compile(const NetworkConfig& config, const WeightStore& weights) {
  const auto* network = std::get_if<ConvNextConfig>(&config);
  if (!network) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("a {} does not run here: this engine runs ConvNeXt, and convnext-train the networks that it "
                    "is compared with",
                    name_of(family_of(config))));
  }
  validate(config);
  check_weights(weights, config, "weights");
  return *network;
}

std::int64_t check_views(const ConvNextConfig& config, const Geometry& geometry, const ConstTensorView& input,
                         const OutputViews& outputs) {
  const std::int64_t n = input.shape[0];
  check_input_data(input);
  check_output(outputs.logits, std::array<std::int64_t, 2>{n, config.classes}, "logits");
  check_output(outputs.pooled, std::array<std::int64_t, 2>{n, embedding_channels(config)}, "pooled");
  check_stage_count(outputs, config.dims.size());
  for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
    const MapSize& size = geometry.stages[i];
    if (outputs.stages[i].data == nullptr) continue;
    check_output(outputs.stages[i], std::array<std::int64_t, 4>{n, config.dims[i], size.height, size.width},
                 "stages." + std::to_string(i));
  }
  return n;
}

std::int64_t check_views(const OutputShapes& shapes, const ConstTensorView& input, const OutputViews& outputs) {
  check_input_data(input);
  check_output(outputs.logits, shapes.logits, "logits");
  check_output(outputs.pooled, shapes.pooled, "pooled");
  check_stage_count(outputs, shapes.stages.size());
  for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
    check_output(outputs.stages[i], shapes.stages[i], "stages." + std::to_string(i));
  }
  return input.shape[0];
}

}  // namespace convnext
