// What every backend needs to know of a ConvNeXt: the names and shapes of the convolutions of its stem, the sizes of
// its maps, and the checks before compiling and running. Sizes are plain values: working them out allocates nothing.
// Checks before running are there for other families too.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "convnext/tensor.h"
#include "engine/backend.h"
#include "kernels/convolution.h"
#include "model/config.h"

namespace convnext {

// The convolutions of a stem, in order; `count` of them, 1 or 2.
struct StemShape {
  std::array<ConvolutionShape, 2> convolutions;
  int count = 0;
};
StemShape stem_shape(const ConvNextConfig& config);

// What the names of their tensors, and of the stem's norm, begin with.
struct StemNames {
  std::array<std::string, 2> convolutions;
  std::string norm;
};
StemNames stem_names(const ConvNextConfig& config);

// The convolution between stages `stage` - 1 and `stage`.
ConvolutionShape downsample_shape(const ConvNextConfig& config, int stage);

struct MapSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t pixels() const { return height * width; }
};

struct Geometry {
  MapSize input;
  MapSize stem_middle;              // between the two convolutions of an overlapping stem
  std::array<MapSize, 4> stages{};  // of the stages there are
};

// Throws Error (kInvalidArgument) with the smallest size that works, when no pixel is left at the last stage.
Geometry network_geometry(const ConvNextConfig& config, std::int64_t height, std::int64_t width);

// The ConvNeXt that a backend is to compile. Throws Error when it cannot: kUnsupported for another family,
// kInvalidArgument for an impossible network, kMismatch for a tensor that is missing or has another shape.
const ConvNextConfig& check_compile(const NetworkConfig& config, const WeightStore& weights);

// Throws Error when input or outputs are not what Executable::run() documents: kInvalidArgument for types, layouts and
// strides, kMismatch for shapes (both are named). Returns the number of pictures.
std::int64_t check_views(const ConvNextConfig& config, const Geometry& geometry, const ConstTensorView& input,
                         const OutputViews& outputs);
// The same for any network; `shapes` are output_shapes() for this input.
std::int64_t check_views(const OutputShapes& shapes, const ConstTensorView& input, const OutputViews& outputs);

// Height and width of a run's input, once its rank, type and channels are known to be right; throws as check_views().
MapSize input_size(int channels, const ConstTensorView& input);

}  // namespace convnext
