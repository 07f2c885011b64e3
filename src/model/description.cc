#include "model/description.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "convnext/error.h"
#include "model/layers.h"
#include "model/tensors.h"

namespace convnext {
namespace {

constexpr std::int64_t kMaxSide = std::numeric_limits<std::int32_t>::max();

// What stands for every count that does not fit 63 bits.
constexpr std::int64_t kTooMany = std::numeric_limits<std::int64_t>::max();

// Of counts, which are not negative.
std::int64_t product(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? kTooMany : result;
}

std::int64_t sum(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? kTooMany : result;
}

[[noreturn]] void throw_too_large(std::int64_t height, std::int64_t width, std::string_view what) {
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("an input of {}x{} is too large: {} would be more than can be counted", height, width, what));
}

bool slides(const LayerSpec& layer) {
  return layer.kind == LayerKind::kConvolution || layer.kind == LayerKind::kMaxPool;
}

std::int64_t output_side(std::int64_t side, const LayerSpec& layer) {
  if (layer.same_padding) return (side + layer.stride - 1) / layer.stride;
  const std::int64_t room = side + 2 * layer.padding - layer.kernel;
  return room < 0 ? 0 : room / layer.stride + 1;
}

struct MapSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t pixels() const { return height * width; }
};

// Asks the families that do not take every size.
void check_input(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  std::visit(
      [=](const auto& network) {
        if constexpr (requires { check_input_size(network, height, width); }) check_input_size(network, height, width);
      },
      config);
}

// How many tokens attention compares with how many, summed.
std::int64_t pairs_of_tokens(const LayerSpec& layer, const MapSize& map) {
  if (layer.window == 0) {
    const std::int64_t tokens = map.pixels() + layer.tokens;
    return product(tokens, tokens);
  }
  const WindowGrid grid = window_grid(layer.window, map.height, map.width);
  return product(product(grid.count(), grid.tokens()), grid.tokens());
}

double giga(std::int64_t count) { return static_cast<double>(count) / 1e9; }

}  // namespace

std::int64_t parameter_count(const LayerSpec& layer) {
  const std::int64_t bias = layer.bias ? layer.out_channels : 0;
  switch (layer.kind) {
    case LayerKind::kConvolution:
    case LayerKind::kTransposedConvolution:
      return static_cast<std::int64_t>(layer.out_channels) * (layer.in_channels / layer.groups) * layer.kernel *
                 layer.kernel +
             bias;
    case LayerKind::kLinear:
      return static_cast<std::int64_t>(layer.out_channels) * layer.in_channels + bias;
    case LayerKind::kNorm:
    case LayerKind::kBatchNorm:
      return layer.out_channels + bias;
    case LayerKind::kGrn:
      return 2 * static_cast<std::int64_t>(layer.out_channels);
    case LayerKind::kLayerScale:
      return layer.out_channels;
    case LayerKind::kParameter:
      return element_count(layer.shape);
    case LayerKind::kActivation:
    case LayerKind::kScale:
    case LayerKind::kAdd:
    case LayerKind::kPool:
    case LayerKind::kMaxPool:
    case LayerKind::kMerge:
    case LayerKind::kAttention:
      return 0;
  }
  return 0;
}

std::int64_t products_of_place(const LayerSpec& layer) {
  if (layer.kind != LayerKind::kConvolution && layer.kind != LayerKind::kTransposedConvolution &&
      layer.kind != LayerKind::kLinear) {
    return 0;
  }
  return static_cast<std::int64_t>(layer.out_channels) * (layer.in_channels / layer.groups) * layer.kernel *
         layer.kernel;
}

std::int64_t norm_operations(const LayerSpec& layer, std::int64_t elements) {
  if (layer.kind == LayerKind::kNorm) return product(5, elements);
  return layer.kind == LayerKind::kBatchNorm ? product(2, elements) : 0;
}

std::int64_t norm_operations(const LayerCost& cost) { return norm_operations(cost.layer, cost.in_elements); }

std::vector<LayerCost> layer_costs(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  if (height > kMaxSide || width > kMaxSide) throw_too_large(height, width, "its pixels");
  check_input(config, height, width);
  const MapSize input{height, width};
  MapSize main = input, shortcut = input;
  int stage = -1, block = -1;
  std::vector<LayerCost> costs;
  for (LayerSpec& layer : layer_specs(config)) {
    if (layer.stage != stage || layer.block != block) {
      stage = layer.stage;
      block = layer.block;
      shortcut = main;
    }
    MapSize squeezed{1, 1};
    MapSize& map = layer.branch == LayerBranch::kMain       ? main
                   : layer.branch == LayerBranch::kShortcut ? shortcut
                                                            : squeezed;
    LayerCost& cost = costs.emplace_back();
    cost.in_elements = product(map.pixels() + layer.tokens, layer.in_channels);
    if (slides(layer)) {
      map = {output_side(map.height, layer), output_side(map.width, layer)};
    } else if (layer.kind == LayerKind::kPool) {
      map = {1, 1};
    } else if (layer.kind == LayerKind::kMerge) {
      map = {(map.height + 1) / 2, (map.width + 1) / 2};
    }
    if (map.height < 1 || map.width < 1) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("an input of {}x{} is too small: nothing is left of it after '{}'", input.height,
                              input.width, layer.name));
    }
    const std::int64_t places = map.pixels() + layer.tokens;
    cost.height = map.height;
    cost.width = map.width;
    cost.out_elements = product(places, layer.out_channels);
    cost.params = parameter_count(layer);
    cost.multiply_accumulates = product(products_of_place(layer), places);
    if (layer.kind == LayerKind::kAttention) {
      cost.attention_multiply_accumulates = product(product(2, pairs_of_tokens(layer, map)), layer.out_channels);
    }
    if (std::max({cost.in_elements, cost.out_elements, cost.multiply_accumulates,
                  cost.attention_multiply_accumulates}) == kTooMany) {
      throw_too_large(input.height, input.width, fmt::format("the work of '{}'", layer.name));
    }
    cost.layer = std::move(layer);
  }
  return costs;
}

std::vector<MapShape> stage_maps(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  std::vector<MapShape> maps;
  for (const LayerCost& cost : layer_costs(config, height, width)) {
    if (cost.layer.place == LayerPlace::kHead) break;
    if (cost.layer.branch != LayerBranch::kMain) continue;
    if (static_cast<std::size_t>(cost.layer.stage) == maps.size()) maps.emplace_back();
    maps.back() = {cost.layer.out_channels, cost.height, cost.width};
  }
  return maps;
}

int embedding_channels(const ConvNextConfig& config) {
  return config.head == Head::kMlp ? config.head_hidden : config.dims.back();
}

int embedding_channels(const NetworkConfig& config) {
  // Asked for with each picture: without the list of layers.
  if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) return embedding_channels(*convnext);
  const std::vector<LayerSpec> layers = layer_specs(config);
  const bool classifies = class_count(config) > 0;
  return classifies ? layers.back().in_channels : layers.back().out_channels;
}

NetworkCost count_cost(const NetworkConfig& config, std::int64_t height, std::int64_t width) {
  NetworkCost cost;
  std::int64_t macs = 0, of_norms = 0, attention_macs = 0, head_macs = 0;
  std::vector<std::int64_t> stage_macs;
  std::int64_t peak_bytes = 0;
  std::int64_t kept = 0;  // elements of the map that the current block's shortcut keeps
  int stage = -1, block = -1;

  for (const LayerCost& one : layer_costs(config, height, width)) {
    const LayerSpec& layer = one.layer;
    cost.params += one.params;
    macs = sum(macs, one.multiply_accumulates);
    attention_macs = sum(attention_macs, one.attention_multiply_accumulates);
    of_norms = sum(of_norms, norm_operations(one));

    const bool opens_block = layer.block >= 0 && (layer.stage != stage || layer.block != block);
    stage = layer.stage;
    block = layer.block;
    if (layer.place == LayerPlace::kHead) {
      cost.head_params += one.params;
      head_macs = sum(head_macs, one.multiply_accumulates);
    } else {
      if (static_cast<std::size_t>(layer.stage) == cost.stages.size()) {
        cost.stages.emplace_back();
        stage_macs.push_back(0);
      }
      StageCost& at = cost.stages.back();
      at.params += one.params;
      stage_macs.back() = sum(stage_macs.back(), one.multiply_accumulates);
      if (layer.branch == LayerBranch::kMain) {
        at.dim = layer.out_channels;
        at.height = one.height;
        at.width = one.width;
      }
      if (opens_block) ++at.depth;
    }
    if (layer.block < 0) kept = 0;
    const std::int64_t live = sum(sum(one.in_elements, one.out_elements), opens_block ? 0 : kept);
    if (opens_block) kept = one.in_elements;
    peak_bytes = std::max(peak_bytes, product(live, sizeof(float)));
  }
  // Those of a stage or of the head are parts of these.
  const std::int64_t with_norms = sum(macs, of_norms);
  if (std::max({with_norms, attention_macs, peak_bytes}) == kTooMany) {
    throw_too_large(height, width, "the work of the network");
  }
  cost.peak_activation_bytes = static_cast<std::uint64_t>(peak_bytes);
  for (std::size_t i = 0; i < cost.stages.size(); ++i) cost.stages[i].gmac = giga(stage_macs[i]);
  cost.head_gmac = giga(head_macs);
  cost.gmac = giga(macs);
  cost.gmac_attention = giga(attention_macs);
  cost.gmac_with_norms = giga(with_norms);
  return cost;
}

}  // namespace convnext
