#include "engine/backend.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "core/names.h"
#include "engine/network.h"
#include "model/description.h"

namespace convnext {

namespace {

constexpr std::array kPrecisions = {Named<Precision>{Precision::kFp32, "fp32"},
                                    Named<Precision>{Precision::kBf16, "bf16"},
                                    Named<Precision>{Precision::kInt8, "int8"}};

}  // namespace

std::string_view name_of(Precision precision) { return find_name(kPrecisions, precision); }

Precision precision_from_name(std::string_view name) { return find_value(kPrecisions, name, "the precision"); }

OutputShapes output_shapes(const NetworkConfig& config, std::int64_t n, std::int64_t height, std::int64_t width) {
  if (n < 0) throw Error(ErrorCode::kInvalidArgument, fmt::format("a batch of {} pictures cannot be", n));
  OutputShapes shapes;
  shapes.logits = {n, class_count(config)};
  if (const auto* network = std::get_if<ConvNextConfig>(&config)) {
    // Asked for with each picture: sizes alone, without the list of layers.
    const Geometry geometry = network_geometry(*network, height, width);
    shapes.pooled = {n, embedding_channels(*network)};
    for (std::size_t i = 0; i < network->dims.size(); ++i) {
      shapes.stages.push_back({n, network->dims[i], geometry.stages[i].height, geometry.stages[i].width});
    }
    return shapes;
  }
  shapes.pooled = {n, embedding_channels(config)};
  for (const MapShape& map : stage_maps(config, height, width)) {
    shapes.stages.push_back({n, map.channels, map.height, map.width});
  }
  return shapes;
}

}  // namespace convnext
