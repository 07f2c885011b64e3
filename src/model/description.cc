#include "model/description.h"

#include <fmt/format.h>

#include <algorithm>

#include "convnext/error.h"
#include "model/layers.h"
#include "model/tensors.h"

namespace convnext {
namespace {

std::int64_t parameters(const LayerSpec& layer) {
  const std::int64_t bias = layer.bias ? layer.out_channels : 0;
  switch (layer.kind) {
    case LayerKind::kConvolution:
      return static_cast<std::int64_t>(layer.out_channels) * (layer.in_channels / layer.groups) * layer.kernel *
                 layer.kernel +
             bias;
    case LayerKind::kLinear:
      return static_cast<std::int64_t>(layer.out_channels) * layer.in_channels + bias;
    case LayerKind::kNorm:
      return layer.out_channels + bias;
    case LayerKind::kGrn:
      return 2 * static_cast<std::int64_t>(layer.out_channels);
    case LayerKind::kLayerScale:
      return layer.out_channels;
    case LayerKind::kActivation:
    case LayerKind::kAdd:
    case LayerKind::kPool:
      return 0;
  }
  return 0;
}

std::int64_t products_a_pixel(const LayerSpec& layer) {
  if (layer.kind != LayerKind::kConvolution && layer.kind != LayerKind::kLinear) return 0;
  return static_cast<std::int64_t>(layer.out_channels) * (layer.in_channels / layer.groups) * layer.kernel *
         layer.kernel;
}

std::int64_t output_side(std::int64_t side, const LayerSpec& layer) {
  const std::int64_t room = side + 2 * layer.padding - layer.kernel;
  return room < 0 ? 0 : room / layer.stride + 1;
}

double giga(std::int64_t count) { return static_cast<double>(count) / 1e9; }

}  // namespace

std::vector<LayerCost> layer_costs(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  const std::int64_t input_height = height, input_width = width;
  std::vector<LayerCost> costs;
  for (LayerSpec& layer : layer_specs(config)) {
    LayerCost& cost = costs.emplace_back();
    cost.in_elements = height * width * layer.in_channels;
    if (layer.kind == LayerKind::kConvolution) {
      height = output_side(height, layer);
      width = output_side(width, layer);
      if (height < 1 || width < 1) {
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("an input of {}x{} is too small: nothing is left of it after '{}'", input_height,
                                input_width, layer.name));
      }
    } else if (layer.kind == LayerKind::kPool) {
      height = width = 1;
    }
    cost.height = height;
    cost.width = width;
    cost.out_elements = height * width * layer.out_channels;
    cost.params = parameters(layer);
    cost.multiply_accumulates = products_a_pixel(layer) * height * width;
    cost.layer = std::move(layer);
  }
  return costs;
}

NetworkCost count_cost(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  NetworkCost cost;
  std::int64_t macs = 0, norm_elements = 0, head_macs = 0;
  std::vector<std::int64_t> stage_macs;
  std::int64_t block_input = 0;  // elements of the map that the current block's shortcut keeps

  for (const LayerCost& one : layer_costs(config, height, width)) {
    const LayerSpec& layer = one.layer;
    cost.params += one.params;
    macs += one.multiply_accumulates;
    if (layer.kind == LayerKind::kNorm) norm_elements += one.in_elements;

    if (layer.place == LayerPlace::kHead) {
      cost.head_params += one.params;
      head_macs += one.multiply_accumulates;
      block_input = 0;
    } else {
      if (static_cast<std::size_t>(layer.stage) == cost.stages.size()) {
        cost.stages.emplace_back();
        stage_macs.push_back(0);
      }
      StageCost& stage = cost.stages.back();
      stage.params += one.params;
      stage_macs.back() += one.multiply_accumulates;
      stage.dim = layer.out_channels;
      stage.height = one.height;
      stage.width = one.width;
      if (layer.kind == LayerKind::kAdd) ++stage.depth;
      if (layer.place != LayerPlace::kBlock) {
        block_input = 0;
      } else if (layer.kind == LayerKind::kConvolution) {
        block_input = one.in_elements;  // the depthwise convolution opens a block
      }
    }
    const bool reads_shortcut_itself = layer.place == LayerPlace::kBlock && layer.kind == LayerKind::kConvolution;
    const std::int64_t live = one.in_elements + one.out_elements + (reads_shortcut_itself ? 0 : block_input);
    cost.peak_activation_bytes = std::max(cost.peak_activation_bytes, static_cast<std::uint64_t>(live) * sizeof(float));
  }
  for (std::size_t i = 0; i < cost.stages.size(); ++i) cost.stages[i].gmac = giga(stage_macs[i]);
  cost.head_gmac = giga(head_macs);
  cost.gmac = giga(macs);
  cost.gmac_with_norms = giga(macs + 5 * norm_elements);
  return cost;
}

}  // namespace convnext
