// Swin Transformer (Liu et al. 2021); timm/models/swin_transformer.py is the reference.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace convnext {

struct NetworkOverrides;

// Stages of transformer blocks, whose attention looks inside windows of the map only; every other block shifts the
// windows by half their side. Between stages 2x2 tokens become one.
struct SwinConfig {
  std::vector<int> depths = {2, 2, 6, 2};       // blocks a stage
  std::vector<int> dims = {96, 192, 384, 768};  // channels a stage
  std::vector<int> heads = {3, 6, 12, 24};      // of attention a stage
  // Sides of a stage's windows in tokens, and so of the table of relative positions that each of its blocks has. They
  // differ where a network was built for small pictures: a window is then no larger than its map.
  std::vector<int> windows = {7, 7, 7, 7};
  int patch_size = 4;  // kernel and stride of the convolution that makes the tokens
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output
  double norm_eps = 1e-5;
  // Whether a map that windows do not divide is filled up with zeros, as timm does in a network that was built for such
  // an input; timm's config.json beside the weights says whether it was (img_size). Otherwise it is refused: the
  // authors' code stops at such a map, and timm at any size but the one that the network was built for.
  bool pads_windows = false;

  int stages() const { return static_cast<int>(depths.size()); }
  int largest_window() const { return *std::ranges::max_element(windows); }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("depths", config.depths);
    visit("dims", config.dims);
    visit("heads", config.heads);
    visit("windows", config.windows);
    visit("patch_size", config.patch_size);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
    visit("norm_eps", config.norm_eps);
    visit("pads_windows", config.pads_windows);
  }
  bool operator==(const SwinConfig&) const = default;
};

// How the windows lie over a map of the size that a block is given: timm's network built for that input. A side that is
// not longer than the window is one window of its own length and is not shifted. A longer one that the window does not
// divide is padded with zeros behind the norm, and the padding is looked at like anything else.
struct WindowGrid {
  std::int64_t window_height = 0;
  std::int64_t window_width = 0;
  std::int64_t rows = 0;  // of windows
  std::int64_t columns = 0;
  std::int64_t shift_y = 0;  // of every other block
  std::int64_t shift_x = 0;

  std::int64_t padded_height() const { return rows * window_height; }
  std::int64_t padded_width() const { return columns * window_width; }
  std::int64_t count() const { return rows * columns; }
  std::int64_t tokens() const { return window_height * window_width; }  // of one window
};
WindowGrid window_grid(int window, std::int64_t height, std::int64_t width);

// Throws Error (kInvalidArgument) with the field, its value and the range, when no such network can exist: up to 4
// stages of equal-length lists, depths up to 256, dims up to 16384 and multiples of the heads, up to 128 heads, windows
// up to 32 (attention takes memory for each head and pair of tokens in a window), patch up to 64.
void validate(const SwinConfig& config);

// Puts the overrides in place; heads stay as wide as they were, or there is one, and all windows are the first stage's
// where the number of stages changes. Throws Error (kInvalidArgument) for kernel sizes, which this family does not
// have.
void apply(const NetworkOverrides& overrides, SwinConfig& config);

// Whether each map on the way from an input of that size is no larger than a window or divided by windows, so that
// nothing has to be padded.
bool windows_divide(const SwinConfig& config, std::int64_t height, std::int64_t width);

// Throws Error (kInvalidArgument) with the nearest sizes when the patches do not divide the input, or the windows a map
// that is larger than one and is not to be padded.
void check_input_size(const SwinConfig& config, std::int64_t height, std::int64_t width);

// The network as timm builds it for square pictures of that side (`img_size`): no window larger than its map, and
// padding where windows do not divide one. Throws Error (kInvalidArgument) when the patches do not divide the side.
void set_input_size(SwinConfig& config, std::int64_t side);

// The side of the largest pictures for which set_input_size() makes these windows out of equal ones; nothing where all
// are equal, or no picture does it.
std::optional<std::int64_t> input_size_of_windows(const SwinConfig& config);

}  // namespace convnext
