#include "model/vision_transformer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "convnext/error.h"
#include "model/config.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry_entries.h"
#include "model/transformer.h"

namespace convnext {
namespace {

// The one value of a list that holds one for each stage.
int only_value(std::string_view what, const std::vector<int>& values) {
  if (values.size() != 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} values ({}), but a vision transformer has one stage", what, values.size(),
                            fmt::join(values, ",")));
  }
  return values.front();
}

// Collects the layers of one network.
class VisionTransformerLayers : private LayerList {
 public:
  explicit VisionTransformerLayers(const VisionTransformerConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    stem();
    for (int i = 0; i < config_.depth; ++i) block(i);
    head();
    return std::move(layers_);
  }

 private:
  void parameter(std::string name, int rows) {
    add(std::move(name), LayerKind::kParameter, config_.dim, config_.dim).shape = {1, rows, config_.dim};
  }

  void stem() {
    LayerSpec& patches = add("patch_embed.proj", LayerKind::kConvolution, config_.input_channels, config_.dim);
    patches.kernel = config_.patch_size;
    patches.stride = config_.patch_size;
    part_.tokens = config_.prefix_tokens();
    parameter("cls_token", 1);
    if (config_.distilled) parameter("dist_token", 1);
    parameter("pos_embed", part_.tokens + config_.grid_height * config_.grid_width);
  }

  void block(int index) {
    part_.place = LayerPlace::kBlock;
    part_.block = index;
    add_transformer_block(layers_, part_, fmt::format("blocks.{}.", index), config_.dim);
  }

  void head() {
    part_.place = LayerPlace::kHead;
    part_.block = -1;
    add("norm", LayerKind::kNorm, config_.dim, config_.dim);
    part_.tokens = 0;  // what is left is the class
    add("head.global_pool", LayerKind::kPool, config_.dim, config_.dim);
    if (config_.classes == 0) return;
    add("head", LayerKind::kLinear, config_.dim, config_.classes);
    if (config_.distilled) add("head_dist", LayerKind::kLinear, config_.dim, config_.classes);
  }

  const VisionTransformerConfig& config_;
};

// Of pictures of `resolution` pixels a side.
VisionTransformerConfig sized(int dim, int depth, int heads, int resolution, bool distilled = false) {
  VisionTransformerConfig config;
  config.dim = dim;
  config.depth = depth;
  config.heads = heads;
  config.distilled = distilled;
  set_input_size(config, resolution, resolution);
  return config;
}

}  // namespace

void validate(const VisionTransformerConfig& config) {
  check_range("depth", config.depth, 1, 256);
  check_range("dim", config.dim, 1, 16384);
  check_heads(config.dim, config.heads);
  check_range("patch_size", config.patch_size, 1, 64);
  check_range("grid_height", config.grid_height, 1, 256);
  check_range("grid_width", config.grid_width, 1, 256);
  check_ends(config.input_channels, config.classes);
  check_norm_eps("norm_eps", config.norm_eps);
}

void apply(const NetworkOverrides& overrides, VisionTransformerConfig& config) {
  if (overrides.kernel_sizes) {
    throw Error(ErrorCode::kInvalidArgument,
                "kernel_sizes do not go with a vision transformer: it has no convolutions "
                "but that of the patches, whose size is patch_size");
  }
  if (overrides.depths) config.depth = only_value("depths", *overrides.depths);
  if (overrides.dims) {
    const int head = config.dim / config.heads;
    config.dim = only_value("dims", *overrides.dims);
    config.heads = heads_of(config.dim, head);
  }
  if (overrides.patch_size) {
    check_range("patch_size", *overrides.patch_size, 1, 64);
    const auto regrid = [&](int grid) { return std::max(1, grid * config.patch_size / *overrides.patch_size); };
    config.grid_height = regrid(config.grid_height);
    config.grid_width = regrid(config.grid_width);
    config.patch_size = *overrides.patch_size;
  }
  if (overrides.classes) config.classes = *overrides.classes;
  if (overrides.input_channels) config.input_channels = *overrides.input_channels;
}

void check_input_size(const VisionTransformerConfig& config, std::int64_t height, std::int64_t width) {
  check_patches(config.patch_size, height, width);
}

void set_input_size(VisionTransformerConfig& config, std::int64_t height, std::int64_t width) {
  check_input_size(config, height, width);
  check_range("the height of the input", height, 1, 256 * config.patch_size);
  check_range("the width of the input", width, 1, 256 * config.patch_size);
  config.grid_height = static_cast<int>(height / config.patch_size);
  config.grid_width = static_cast<int>(width / config.patch_size);
}

std::vector<LayerSpec> layer_specs(const VisionTransformerConfig& config) {
  return VisionTransformerLayers(config).all();
}

void add_vision_transformers(const AddNetwork& add) {
  // Names have the size of the pictures, and with it that of the position embeddings.
  const auto vit = [&add](const std::string& size, int dim, int depth, int heads) {
    for (const int resolution : {224, 384}) {
      add(Family::kVisionTransformer, fmt::format("vit_{}_patch16_{}", size, resolution),
          sized(dim, depth, heads, resolution), "augreg_in21k_ft_in1k");
    }
  };
  vit("tiny", 192, 12, 3);
  vit("small", 384, 12, 6);
  vit("base", 768, 12, 12);
  vit("large", 1024, 24, 16);

  for (const bool distilled : {false, true}) {
    const auto deit = [&](const std::string& size, int dim, int heads, int resolution) {
      add(Family::kVisionTransformer,
          fmt::format("deit_{}{}_patch16_{}", size, distilled ? "_distilled" : "", resolution),
          sized(dim, 12, heads, resolution, distilled), "fb_in1k");
    };
    deit("tiny", 192, 3, 224);
    deit("small", 384, 6, 224);
    deit("base", 768, 12, 224);
    deit("base", 768, 12, 384);
  }
}

}  // namespace convnext
