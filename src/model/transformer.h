// What ViT and Swin have in common: patches, and heads of attention.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/layers.h"

namespace convnext {

// Throws Error (kInvalidArgument) with the nearest sizes when patches of that side do not divide the input.
void check_patches(int patch_size, std::int64_t height, std::int64_t width);

// How many heads of `width` channels there are in `dim`: one when it is narrower. Throws Error (kInvalidArgument) when
// the heads do not divide it.
int heads_of(int dim, int width);

// Throws Error (kInvalidArgument) when the heads do not divide dim.
void check_heads(int dim, int heads);

// The layers of one block, added to `layers`: attention and a perceptron four times as wide, each behind a norm and
// with a shortcut. `base` is what its layers have in common: place, stage, block and tokens. `window` as in LayerSpec;
// `position_biases`: the shape of the table that attention adds, or none.
void add_transformer_block(std::vector<LayerSpec>& layers, const LayerSpec& base, std::string_view prefix, int dim,
                           int window = 0, const Shape& position_biases = {});

}  // namespace convnext
