// ViT (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021); timm/models/vision_transformer.py and deit.py are the
// reference.
#pragma once

#include <cstdint>
#include <vector>

namespace convnext {

struct NetworkOverrides;

// Patches as tokens, a token of the class before them, and blocks of attention over all tokens and a perceptron, each
// behind a norm and with a shortcut. The class is read from its token.
struct VisionTransformerConfig {
  int depth = 12;       // blocks
  int dim = 192;        // channels of a token
  int heads = 3;        // of attention; dim / heads channels each
  int patch_size = 16;  // kernel and stride of the convolution that makes the tokens
  // Rows and columns of the position embeddings, which are those of the pictures that the weights were trained on.
  // Another input is taken too: the embeddings are resized to its grid each time.
  int grid_height = 14;
  int grid_width = 14;
  bool distilled = false;  // a second token and classifier, taught by another network; logits are the mean of both
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output
  double norm_eps = 1e-6;

  // Tokens before those of the patches.
  int prefix_tokens() const { return distilled ? 2 : 1; }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("depth", config.depth);
    visit("dim", config.dim);
    visit("heads", config.heads);
    visit("patch_size", config.patch_size);
    visit("grid_height", config.grid_height);
    visit("grid_width", config.grid_width);
    visit("distilled", config.distilled);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
    visit("norm_eps", config.norm_eps);
  }
  bool operator==(const VisionTransformerConfig&) const = default;
};

// Throws Error (kInvalidArgument) with the field, its value and the range, when no such network can exist: depth up to
// 256, dim up to 16384 and a multiple of heads, patch up to 64, a grid of up to 256 a side.
void validate(const VisionTransformerConfig& config);

// Puts the overrides in place: one depth, one dim (its heads stay as wide as they were, or there is one), a patch size
// (the grid becomes that of the same pictures). Throws Error (kInvalidArgument) for kernel sizes and for lists of
// several stages, which this family does not have.
void apply(const NetworkOverrides& overrides, VisionTransformerConfig& config);

// Throws Error (kInvalidArgument) with the nearest sizes when the patches do not divide the input.
void check_input_size(const VisionTransformerConfig& config, std::int64_t height, std::int64_t width);

// Position embeddings for pictures of that size, for a network that is yet to be trained on them. Throws as
// check_input_size(), and for more than 256 patches a side.
void set_input_size(VisionTransformerConfig& config, std::int64_t height, std::int64_t width);

}  // namespace convnext
