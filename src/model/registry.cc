#include "model/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr std::array<float, 3> kHalf = {0.5f, 0.5f, 0.5f};
constexpr std::array<float, 3> kClipMean = {0.48145466f, 0.4578275f, 0.40821073f};
constexpr std::array<float, 3> kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};

Preprocessing imagenet(double crop_fraction) { return {.crop_fraction = crop_fraction}; }
Preprocessing inception(int resolution, double crop_fraction) {
  return {.resolution = resolution, .mean = kHalf, .std = kHalf, .crop_fraction = crop_fraction};
}
Preprocessing clip(int resolution) {
  return {.resolution = resolution, .mean = kClipMean, .std = kClipStd, .crop_fraction = 1.0};
}

// Widths double from stage to stage in every published network but timm's test models.
ConvNextConfig sized(std::vector<int> depths, int width) {
  ConvNextConfig config;
  config.depths = std::move(depths);
  config.dims = {width, 2 * width, 4 * width, 8 * width};
  return config;
}

// timm's small networks keep the linears of a block as 1x1 convolutions.
ConvNextConfig small(std::vector<int> depths, int width, Stem stem = Stem::kPatch, Norm norm = Norm::kLayerNorm) {
  ConvNextConfig config = sized(std::move(depths), width);
  config.conv_mlp = true;
  config.stem = stem;
  config.norm = norm;
  return config;
}

// ConvNeXt V2: response normalisation in place of layer scale.
ConvNextConfig v2(ConvNextConfig config) {
  config.grn = true;
  config.layer_scale = false;
  return config;
}

// One stage on 16x16 patches, no norm after the stem (paper section 3.3).
ConvNextConfig isotropic(int depth, int width, bool layer_scale) {
  ConvNextConfig config;
  config.depths = {depth};
  config.dims = {width};
  config.kernel_sizes = {7};
  config.patch_size = 16;
  config.stem_norm = false;
  config.layer_scale = layer_scale;
  return config;
}

ConvNextConfig head_norm_first(ConvNextConfig config) {
  config.head = Head::kNormPool;
  config.conv_mlp = true;
  return config;
}

ConvNextConfig mlp_head(ConvNextConfig config, int hidden) {
  config.head = Head::kMlp;
  config.head_hidden = hidden;
  return config;
}

ConvNextConfig with_eps(ConvNextConfig config, double eps) {
  config.norm_eps = eps;
  return config;
}

ConvNextConfig without_classifier(ConvNextConfig config) {
  config.classes = 0;
  return config;
}

// timm's models for testing loaders: small files with real accuracy.
ConvNextConfig timm_test(std::vector<int> depths, std::vector<int> dims, Activation activation,
                         std::vector<int> kernels = {7, 7, 7, 7}) {
  ConvNextConfig config;
  config.depths = std::move(depths);
  config.dims = std::move(dims);
  config.kernel_sizes = std::move(kernels);
  config.activation = activation;
  config.norm_eps = 1e-5;
  return config;
}

std::vector<RegistryEntry> make_registry() {
  using enum Stem;
  using enum Norm;
  const std::vector<int> t = {3, 3, 9, 3}, s = {3, 3, 27, 3}, a = {2, 2, 6, 2}, n = {2, 2, 8, 2}, z = {2, 2, 4, 2};
  const Preprocessing p875 = imagenet(0.875), p95 = imagenet(0.95);
  const auto v1 = [](std::string name, ConvNextConfig config, Preprocessing preprocessing, std::optional<double> top1,
                     std::string weights) {
    return RegistryEntry{std::move(name), {},   Family::kConvNext, std::move(config),
                         preprocessing,   top1, std::move(weights)};
  };
  std::vector<RegistryEntry> all = {
      v1("convnext_zepto_rms", small(z, 32, kPatch, kSimpleNorm), inception(224, 0.875), 72.820, "ra4_e3600_r224_in1k"),
      v1("convnext_zepto_rms_ols", small(z, 32, kOverlapAct, kSimpleNorm), inception(224, 0.9), 73.234,
         "ra4_e3600_r224_in1k"),
      v1("convnext_atto", small(a, 40), p875, 75.672, "d2_in1k"),
      v1("convnext_atto_ols", small(a, 40, kOverlapTiered), p875, 75.902, "a2_in1k"),
      v1("convnext_atto_rms", small(a, 40, kPatch, kRmsNorm), p875, std::nullopt, ""),
      v1("convnext_femto", small(a, 48), p875, 77.498, "d1_in1k"),
      v1("convnext_femto_ols", small(a, 48, kOverlapTiered), p875, 77.852, "d1_in1k"),
      v1("convnext_pico", small(a, 64), p875, 79.516, "d1_in1k"),
      v1("convnext_pico_ols", small(a, 64, kOverlapTiered), p95, 79.542, "d1_in1k"),
      v1("convnext_nano", small(n, 80), p95, 80.762, "d1h_in1k"),
      v1("convnext_nano_ols", small(n, 80, kOverlap), p95, 80.906, "d1h_in1k"),
      v1("convnext_tiny", sized(t, 96), p875, 82.066, "fb_in1k"),
      v1("convnext_tiny_hnf", head_norm_first(sized(t, 96)), p95, 82.230, "a2h_in1k"),
      v1("convnext_small", sized(s, 96), p875, 83.144, "fb_in1k"),
      v1("convnext_base", sized(s, 128), p875, 83.838, "fb_in1k"),
      v1("convnext_large", sized(s, 192), p875, 84.304, "fb_in1k"),
      v1("convnext_large_mlp", mlp_head(sized(s, 192), 1536), clip(256), 87.344, "clip_laion2b_augreg_ft_in1k"),
      v1("convnext_xlarge", sized(s, 256), p875, 86.970, "fb_in22k_ft_in1k"),
      v1("convnext_xxlarge", with_eps(sized({3, 4, 30, 3}, 384), 1e-5), clip(256), 88.622, "clip_laion2b_soup_ft_in1k"),
      v1("test_convnext", timm_test({1, 2, 4, 2}, {24, 32, 48, 64}, Activation::kGeluTanh), inception(160, 0.95), 47.77,
         "r160_in1k"),
      v1("test_convnext2", timm_test({1, 1, 1, 1}, {32, 64, 96, 128}, Activation::kGeluTanh), inception(160, 0.95),
         53.52, "r160_in1k"),
      v1("test_convnext3", timm_test({1, 1, 1, 1}, {32, 64, 96, 128}, Activation::kSilu, {7, 5, 5, 3}),
         inception(160, 0.95), 53.30, "r160_in1k"),
  };
  const auto add = [&all](Family family, std::string name, ConvNextConfig config, Preprocessing preprocessing,
                          std::optional<double> top1, std::string weights) {
    all.push_back({std::move(name), {}, family, std::move(config), preprocessing, top1, std::move(weights)});
  };
  const std::string fcmae = "fcmae_ft_in1k";
  add(Family::kConvNextV2, "convnextv2_atto", v2(small(a, 40)), p875, 76.644, fcmae);
  add(Family::kConvNextV2, "convnextv2_femto", v2(small(a, 48)), p875, 78.476, fcmae);
  add(Family::kConvNextV2, "convnextv2_pico", v2(small(a, 64)), p875, 80.304, fcmae);
  add(Family::kConvNextV2, "convnextv2_nano", v2(small(n, 80)), p875, 81.856, fcmae);
  add(Family::kConvNextV2, "convnextv2_tiny", v2(sized(t, 96)), p875, 82.948, fcmae);
  add(Family::kConvNextV2, "convnextv2_small", v2(sized(s, 96)), p875, std::nullopt, "");
  add(Family::kConvNextV2, "convnextv2_base", v2(sized(s, 128)), p875, 84.890, fcmae);
  add(Family::kConvNextV2, "convnextv2_large", v2(sized(s, 192)), p875, 85.762, fcmae);
  add(Family::kConvNextV2, "convnextv2_huge", v2(sized(s, 352)), p875, 86.260, fcmae);

  // The authors' small and base isotropic networks were trained without layer scale; only the large one has it.
  add(Family::kConvNextIsotropic, "convnext_isotropic_small", isotropic(18, 384, false), p875, 78.7, "fb_in1k");
  add(Family::kConvNextIsotropic, "convnext_isotropic_base", isotropic(18, 768, false), p875, 82.0, "fb_in1k");
  add(Family::kConvNextIsotropic, "convnext_isotropic_large", isotropic(36, 1024, true), p875, 82.6, "fb_in1k");

  const Preprocessing whole = imagenet(1.0);
  const std::string lvd = "lvd1689m";
  add(Family::kDinov3ConvNext, "dinov3_convnext_tiny", without_classifier(sized(t, 96)), whole, std::nullopt, lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_small", without_classifier(sized(s, 96)), whole, std::nullopt, lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_base", without_classifier(sized(s, 128)), whole, std::nullopt, lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_large", without_classifier(sized(s, 192)), whole, std::nullopt, lvd);

  for (RegistryEntry& entry : all) {
    validate(entry.network);
    constexpr std::string_view kIsotropic = "convnext_isotropic_";
    if (entry.name.starts_with(kIsotropic)) entry.aliases = {"convnext_iso_" + entry.name.substr(kIsotropic.size())};
  }
  return all;
}

// Levenshtein distance: how many letters to insert, drop or replace.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::vector<std::string> nearest_names(std::string_view name, std::size_t count) {
  // A family's name is long: without the prefix, "tiny" finds convnext_tiny.
  const auto cost = [name](const std::string& candidate) {
    const std::size_t underscore = candidate.find('_');
    const std::string_view tail = std::string_view(candidate).substr(underscore + 1);
    return std::min(distance(name, candidate), distance(name, tail));
  };
  std::vector<std::string> names;
  for (const RegistryEntry& entry : registry()) names.push_back(entry.name);
  std::stable_sort(names.begin(), names.end(),
                   [&cost](const std::string& a, const std::string& b) { return cost(a) < cost(b); });
  names.resize(std::min(count, names.size()));
  return names;
}

}  // namespace

std::string_view name_of(Family family) {
  switch (family) {
    case Family::kConvNext:
      return "convnext";
    case Family::kConvNextV2:
      return "convnextv2";
    case Family::kConvNextIsotropic:
      return "convnext_isotropic";
    case Family::kDinov3ConvNext:
      return "dinov3_convnext";
  }
  return "";
}

const std::vector<RegistryEntry>& registry() {
  static const std::vector<RegistryEntry> entries = make_registry();
  return entries;
}

const RegistryEntry* find_architecture(std::string_view name) {
  for (const RegistryEntry& entry : registry()) {
    if (entry.name == name) return &entry;
    if (std::find(entry.aliases.begin(), entry.aliases.end(), name) != entry.aliases.end()) return &entry;
  }
  return nullptr;
}

const RegistryEntry& architecture(std::string_view name) {
  if (const RegistryEntry* entry = find_architecture(name)) return *entry;
  // A name can be anything that was typed: only so much of it is worth repeating or comparing.
  const std::string_view shown = name.substr(0, 80);
  throw Error(ErrorCode::kNotFound,
              fmt::format("no network is called '{}'; the nearest names are {} ('convnext list' shows all)", shown,
                          fmt::join(nearest_names(shown, 3), ", ")));
}

}  // namespace convnext
