#include "engine/backend.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "engine/network.h"

namespace convnext {

std::string_view name_of(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "?";
}

Precision precision_from_name(std::string_view name) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    if (name == name_of(precision)) return precision;
  }
  throw Error(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a precision: there are fp32, bf16 and int8", name));
}

OutputShapes output_shapes(const NetworkConfig& config, std::int64_t n, std::int64_t height, std::int64_t width) {
  const auto& network = std::get<ConvNextConfig>(config);
  if (n < 0) throw Error(ErrorCode::kInvalidArgument, fmt::format("a batch of {} pictures cannot be", n));
  const Geometry geometry = network_geometry(network, height, width);
  OutputShapes shapes;
  shapes.logits = {n, network.classes};
  shapes.pooled = {n, pooled_channels(network)};
  for (std::size_t i = 0; i < network.dims.size(); ++i) {
    shapes.stages.push_back({n, network.dims[i], geometry.stages[i].height, geometry.stages[i].width});
  }
  return shapes;
}

}  // namespace convnext
