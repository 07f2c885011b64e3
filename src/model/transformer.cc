#include "model/transformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "convnext/error.h"

namespace convnext {
namespace {

// The multiples of `patch` on both sides of `side`.
std::string nearest_sides(int patch, std::int64_t side) {
  const std::int64_t below = side / patch * patch;
  if (below == 0) return fmt::format("{}", patch);
  return fmt::format("{} or {}", below, below + patch);
}

}  // namespace

void check_patches(int patch_size, std::int64_t height, std::int64_t width) {
  for (const auto& [name, side] : {std::pair{"height", height}, std::pair{"width", width}}) {
    if (side >= 1 && side % patch_size == 0) continue;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("an input of {}x{} is not whole patches of {}x{} pixels: its {} can be {}", height, width,
                            patch_size, patch_size, name, nearest_sides(patch_size, std::max<std::int64_t>(side, 0))));
  }
}

int heads_of(int dim, int width) {
  if (dim < width) return 1;
  if (dim % width != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("dims holds {}, which heads of {} channels do not divide", dim, width));
  }
  return dim / width;
}

void check_heads(int dim, int heads) {
  if (heads < 1 || heads > dim || dim % heads != 0) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} channels do not divide among {} heads", dim, heads));
  }
}

void add_transformer_block(std::vector<LayerSpec>& layers, const LayerSpec& base, std::string_view prefix, int dim,
                           int window, const Shape& position_biases) {
  const auto add = [&](std::string_view name, LayerKind kind, int in, int out) -> LayerSpec& {
    LayerSpec& layer = layers.emplace_back(base);
    layer.name = fmt::format("{}{}", prefix, name);
    layer.kind = kind;
    layer.in_channels = in;
    layer.out_channels = out;
    return layer;
  };
  const int hidden = 4 * dim;
  add("norm1", LayerKind::kNorm, dim, dim);
  if (!position_biases.empty()) {
    add("attn.relative_position_bias_table", LayerKind::kParameter, dim, dim).shape = position_biases;
  }
  add("attn.qkv", LayerKind::kLinear, dim, 3 * dim);
  add("attn", LayerKind::kAttention, 3 * dim, dim).window = window;
  add("attn.proj", LayerKind::kLinear, dim, dim);
  add("attn.shortcut", LayerKind::kAdd, dim, dim);
  add("norm2", LayerKind::kNorm, dim, dim);
  add("mlp.fc1", LayerKind::kLinear, dim, hidden);
  add("mlp.act", LayerKind::kActivation, hidden, hidden);
  add("mlp.fc2", LayerKind::kLinear, hidden, dim);
  add("mlp.shortcut", LayerKind::kAdd, dim, dim);
}

}  // namespace convnext
