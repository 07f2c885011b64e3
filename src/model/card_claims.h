// What other libraries' JSON files say of the weights beside them.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "convnext/file_limits.h"
#include "convnext/image.h"
#include "model/config.h"
#include "model/published.h"

namespace convnext {

// What one source says; nothing where it is silent.
struct CardClaims {
  std::string origin;  // "config.json, 'pretrained_cfg'"
  std::optional<std::string> architecture{};
  std::optional<int> resolution{};
  std::optional<std::array<float, 3>> mean{};
  std::optional<std::array<float, 3>> std{};
  std::optional<Interpolation> interpolation{};
  std::optional<double> crop_fraction{};
  std::optional<CropMode> crop_mode{};
  std::optional<PixelPipeline> pipeline{};  // whose program would prepare pictures by this source
  std::optional<std::vector<std::string>> labels{};
  std::optional<std::string> license{};
  std::optional<double> norm_eps{};
  std::optional<double> head_norm_eps{};
  std::optional<Activation> activation{};
  std::optional<bool> pads_windows{};           // of a Swin
  const PublishedWeights* published = nullptr;  // the weights that it says these are
  // Of a ConvNeXt: the architecture with the changes that the source makes; nothing when it is no registered one.
  std::optional<ConvNextConfig> network{};
  bool describes_tensors = false;  // says depths and widths itself, and they are those of the tensors
  bool is_dinov3 = false;
  std::string note{};  // what a person should know; empty when there is nothing
};

// All the JSON files in `folder`, the most trusted first: timm's config.json; Hugging Face's preprocessor_config.json
// and config.json; OpenCLIP's open_clip_config.json. `network`: what the tensors say. Throws Error: a file that is
// damaged, beyond the limits, or belongs to another network.
std::vector<CardClaims> read_claims(const std::filesystem::path& folder, const NetworkConfig& network,
                                    const FileLimits& limits = {});

// Whether timm builds such a network for pictures of one size, its 'img_size'.
bool timm_fixes_input_size(const NetworkConfig& network);

}  // namespace convnext
