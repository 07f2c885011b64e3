#include "model/swin.h"

#include <fmt/format.h>

#include <algorithm>

#include "convnext/error.h"
#include "model/config.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry_entries.h"
#include "model/transformer.h"

namespace convnext {
namespace {

class SwinLayers : private LayerList {
 public:
  explicit SwinLayers(const SwinConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    stem();
    for (int stage = 0; stage < config_.stages(); ++stage) {
      part_.stage = stage;
      if (stage > 0) downsample();
      blocks();
    }
    head();
    return std::move(layers_);
  }

 private:
  std::size_t index() const { return static_cast<std::size_t>(part_.stage); }

  void stem() {
    part_.place = LayerPlace::kStem;
    LayerSpec& patches = add("patch_embed.proj", LayerKind::kConvolution, config_.input_channels, config_.dims.front());
    patches.kernel = config_.patch_size;
    patches.stride = config_.patch_size;
    add("patch_embed.norm", LayerKind::kNorm, config_.dims.front(), config_.dims.front());
  }

  void downsample() {
    part_.place = LayerPlace::kDownsample;
    const std::string prefix = fmt::format("layers.{}.downsample.", part_.stage);
    const int dim = config_.dims[index() - 1];
    add(prefix + "merge", LayerKind::kMerge, dim, 4 * dim);
    add(prefix + "norm", LayerKind::kNorm, 4 * dim, 4 * dim);
    add(prefix + "reduction", LayerKind::kLinear, 4 * dim, config_.dims[index()]).bias = false;
  }

  void blocks() {
    part_.place = LayerPlace::kBlock;
    const int window = config_.windows[index()], offsets = 2 * window - 1;
    for (part_.block = 0; part_.block < config_.depths[index()]; ++part_.block) {
      add_transformer_block(layers_, part_, fmt::format("layers.{}.blocks.{}.", part_.stage, part_.block),
                            config_.dims[index()], window, {offsets * offsets, config_.heads[index()]});
    }
    part_.block = -1;
  }

  void head() {
    part_.place = LayerPlace::kHead;
    const int dim = config_.dims.back();
    add("norm", LayerKind::kNorm, dim, dim);
    add("head.global_pool", LayerKind::kPool, dim, dim);
    if (config_.classes > 0) add("head.fc", LayerKind::kLinear, dim, config_.classes);
  }

  const SwinConfig& config_;
};

// One side of a map: the length of its windows, how many there are, and by how much every other block shifts them.
struct Windows {
  std::int64_t side;
  std::int64_t count;
  std::int64_t shift;
};

Windows windows_along(std::int64_t window, std::int64_t side) {
  if (side <= window) return {side, 1, 0};
  return {window, (side + window - 1) / window, window / 2};
}

// Widths double from stage to stage, heads are 32 wide.
SwinConfig sized(int width, int blocks_of_third, int window) {
  SwinConfig config;
  config.depths = {2, 2, blocks_of_third, 2};
  config.dims = {width, 2 * width, 4 * width, 8 * width};
  config.heads.clear();
  for (const int dim : config.dims) config.heads.push_back(heads_of(dim, 32));
  config.windows.assign(config.dims.size(), window);
  return config;
}

}  // namespace

WindowGrid window_grid(int window, std::int64_t height, std::int64_t width) {
  const Windows y = windows_along(window, height);
  const Windows x = windows_along(window, width);
  return {y.side, x.side, y.count, x.count, y.shift, x.shift};
}

void validate(const SwinConfig& config) {
  const std::size_t stages = config.depths.size();
  check_range("the number of stages", static_cast<std::int64_t>(stages), 1, 4);
  check_list("depths", config.depths, stages, 1, 256);
  check_list("dims", config.dims, stages, 1, 16384);
  check_list("heads", config.heads, stages, 1, 128);
  for (std::size_t i = 0; i < stages; ++i) check_heads(config.dims[i], config.heads[i]);
  check_list("windows", config.windows, stages, 1, 32);
  check_range("patch_size", config.patch_size, 1, 64);
  check_ends(config.input_channels, config.classes);
  check_norm_eps("norm_eps", config.norm_eps);
}

void apply(const NetworkOverrides& overrides, SwinConfig& config) {
  if (overrides.kernel_sizes) {
    throw Error(ErrorCode::kInvalidArgument,
                "kernel_sizes do not go with Swin: it has no convolutions but that of the patches, whose size is "
                "patch_size");
  }
  if (overrides.depths) {
    config.depths = *overrides.depths;
    if (config.depths.size() != config.windows.size()) {
      config.windows.assign(config.depths.size(), config.windows.front());
    }
  }
  if (overrides.dims) {
    const int width = config.dims.front() / config.heads.front();
    config.dims = *overrides.dims;
    config.heads.clear();
    for (const int dim : config.dims) config.heads.push_back(heads_of(dim, width));
  }
  if (overrides.patch_size) config.patch_size = *overrides.patch_size;
  if (overrides.classes) config.classes = *overrides.classes;
  if (overrides.input_channels) config.input_channels = *overrides.input_channels;
}

namespace {

// Side of a map, and of the windows on it.
struct MapAndWindow {
  std::int64_t map = 0;
  int window = 0;
};

// The first map on the way from an input of that side which windows neither hold nor divide, if there is one.
std::optional<MapAndWindow> undivided_map(const SwinConfig& config, std::int64_t side) {
  std::int64_t map = side / config.patch_size;
  for (const int window : config.windows) {
    if (map > window && map % window != 0) return MapAndWindow{map, window};
    map = (map + 1) / 2;
  }
  return std::nullopt;
}

}  // namespace

bool windows_divide(const SwinConfig& config, std::int64_t height, std::int64_t width) {
  return !undivided_map(config, height) && !undivided_map(config, width);
}

void check_input_size(const SwinConfig& config, std::int64_t height, std::int64_t width) {
  check_patches(config.patch_size, height, width);
  if (config.pads_windows) return;
  for (const auto& [name, side] : {std::pair{"height", height}, std::pair{"width", width}}) {
    const auto undivided = undivided_map(config, side);
    if (!undivided) continue;
    // Whole windows of every stage fit somewhere above, and below at least a single patch does.
    std::int64_t below = side, above = side;
    while (below > config.patch_size && undivided_map(config, below)) below -= config.patch_size;
    while (undivided_map(config, above)) above += config.patch_size;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("an input of {}x{} leaves a map of {} a side, which windows of {}x{} do not divide: its {} "
                            "can be {} or {}",
                            height, width, undivided->map, undivided->window, undivided->window, name, below, above));
  }
}

void set_input_size(SwinConfig& config, std::int64_t side) {
  check_patches(config.patch_size, side, side);
  std::int64_t map = side / config.patch_size;
  for (int& window : config.windows) {
    window = static_cast<int>(std::min<std::int64_t>(window, map));
    map = (map + 1) / 2;
  }
  config.pads_windows = !windows_divide(config, side, side);
}

std::optional<std::int64_t> input_size_of_windows(const SwinConfig& config) {
  const int largest = config.largest_window();
  const auto small = std::ranges::find_if(config.windows, [largest](int window) { return window < largest; });
  if (small == config.windows.end()) return std::nullopt;
  // That window is its whole map, which is half as large as the one before it, or that and half a token.
  const std::int64_t side = (std::int64_t{*small} << (small - config.windows.begin())) * config.patch_size;
  SwinConfig built = config;
  built.windows.assign(config.windows.size(), largest);
  set_input_size(built, side);
  return built.windows == config.windows ? std::optional(side) : std::nullopt;
}

std::vector<LayerSpec> layer_specs(const SwinConfig& config) { return SwinLayers(config).all(); }

void add_swins(const AddNetwork& add) {
  const auto swin = [&add](const std::string& name, SwinConfig config, std::string weights) {
    add(Family::kSwin, "swin_" + name, std::move(config), std::move(weights));
  };
  swin("tiny_patch4_window7_224", sized(96, 6, 7), "ms_in1k");
  swin("small_patch4_window7_224", sized(96, 18, 7), "ms_in1k");
  swin("base_patch4_window7_224", sized(128, 18, 7), "ms_in1k");
  swin("base_patch4_window12_384", sized(128, 18, 12), "ms_in1k");
  swin("large_patch4_window7_224", sized(192, 18, 7), "ms_in22k_ft_in1k");
  swin("large_patch4_window12_384", sized(192, 18, 12), "ms_in22k_ft_in1k");
}

}  // namespace convnext
