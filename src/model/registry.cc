#include "model/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "convnext/error.h"
#include "model/published.h"
#include "model/registry_entries.h"

namespace convnext {
namespace {

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
  std::vector<RegistryEntry> all;
  // Preprocessing and accuracy are those of the weights that a network is best known by; "" where nobody published any.
  const auto add = [&all](Family family, std::string name, NetworkConfig config,
                          std::string weights) -> RegistryEntry& {
    RegistryEntry entry{std::move(name), {}, family, std::move(config), {}, {}, std::move(weights)};
    if (const PublishedWeights* published = find_published(entry.name, entry.published_weights)) {
      entry.preprocessing = published->preprocessing;
      const PublishedTop1& top1 = published->top1;
      if (top1.timm > 0 || top1.published > 0) entry.top1 = top1.timm > 0 ? top1.timm : top1.published;
    } else if (!entry.published_weights.empty()) {
      throw std::logic_error(fmt::format("no {} of {} is published", entry.published_weights, entry.name));
    }
    return all.emplace_back(std::move(entry));
  };
  const auto v1 = [&add](std::string name, ConvNextConfig config, std::string weights) {
    add(Family::kConvNext, std::move(name), std::move(config), std::move(weights));
  };
  v1("convnext_zepto_rms", small(z, 32, kPatch, kSimpleNorm), "ra4_e3600_r224_in1k");
  v1("convnext_zepto_rms_ols", small(z, 32, kOverlapAct, kSimpleNorm), "ra4_e3600_r224_in1k");
  v1("convnext_atto", small(a, 40), "d2_in1k");
  v1("convnext_atto_ols", small(a, 40, kOverlapTiered), "a2_in1k");
  v1("convnext_atto_rms", small(a, 40, kPatch, kRmsNorm), "");
  v1("convnext_femto", small(a, 48), "d1_in1k");
  v1("convnext_femto_ols", small(a, 48, kOverlapTiered), "d1_in1k");
  v1("convnext_pico", small(a, 64), "d1_in1k");
  v1("convnext_pico_ols", small(a, 64, kOverlapTiered), "d1_in1k");
  v1("convnext_nano", small(n, 80), "d1h_in1k");
  v1("convnext_nano_ols", small(n, 80, kOverlap), "d1h_in1k");
  v1("convnext_tiny", sized(t, 96), "fb_in1k");
  v1("convnext_tiny_hnf", head_norm_first(sized(t, 96)), "a2h_in1k");
  v1("convnext_small", sized(s, 96), "fb_in1k");
  v1("convnext_base", sized(s, 128), "fb_in1k");
  v1("convnext_large", sized(s, 192), "fb_in1k");
  v1("convnext_large_mlp", mlp_head(sized(s, 192), 1536), "clip_laion2b_augreg_ft_in1k");
  v1("convnext_xlarge", sized(s, 256), "fb_in22k_ft_in1k");
  v1("convnext_xxlarge", with_eps(sized({3, 4, 30, 3}, 384), 1e-5), "clip_laion2b_soup_ft_in1k");
  v1("test_convnext", timm_test({1, 2, 4, 2}, {24, 32, 48, 64}, Activation::kGeluTanh), "r160_in1k");
  v1("test_convnext2", timm_test({1, 1, 1, 1}, {32, 64, 96, 128}, Activation::kGeluTanh), "r160_in1k");
  v1("test_convnext3", timm_test({1, 1, 1, 1}, {32, 64, 96, 128}, Activation::kSilu, {7, 5, 5, 3}), "r160_in1k");

  const std::string fcmae = "fcmae_ft_in1k";
  add(Family::kConvNextV2, "convnextv2_atto", v2(small(a, 40)), fcmae);
  add(Family::kConvNextV2, "convnextv2_femto", v2(small(a, 48)), fcmae);
  add(Family::kConvNextV2, "convnextv2_pico", v2(small(a, 64)), fcmae);
  add(Family::kConvNextV2, "convnextv2_nano", v2(small(n, 80)), fcmae);
  add(Family::kConvNextV2, "convnextv2_tiny", v2(sized(t, 96)), fcmae);
  add(Family::kConvNextV2, "convnextv2_small", v2(sized(s, 96)), "");
  add(Family::kConvNextV2, "convnextv2_base", v2(sized(s, 128)), fcmae);
  add(Family::kConvNextV2, "convnextv2_large", v2(sized(s, 192)), fcmae);
  add(Family::kConvNextV2, "convnextv2_huge", v2(sized(s, 352)), fcmae);

  // The authors' small and base isotropic networks were trained without layer scale; only the large one has it.
  add(Family::kConvNextIsotropic, "convnext_isotropic_small", isotropic(18, 384, false), "fb_in1k");
  add(Family::kConvNextIsotropic, "convnext_isotropic_base", isotropic(18, 768, false), "fb_in1k");
  add(Family::kConvNextIsotropic, "convnext_isotropic_large", isotropic(36, 1024, true), "fb_in1k");

  const std::string lvd = "dinov3_lvd1689m";
  add(Family::kDinov3ConvNext, "dinov3_convnext_tiny", without_classifier(sized(t, 96)), lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_small", without_classifier(sized(s, 96)), lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_base", without_classifier(sized(s, 128)), lvd);
  add(Family::kDinov3ConvNext, "dinov3_convnext_large", without_classifier(sized(s, 192)), lvd);

  add_resnets(add);
  add_regnets(add);
  add_efficientnets(add);
  add_vision_transformers(add);
  add_swins(add);
  add_roadmap(add);

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
    case Family::kResNet:
      return "resnet";
    case Family::kRegNet:
      return "regnet";
    case Family::kEfficientNet:
      return "efficientnet";
    case Family::kVisionTransformer:
      return "vision_transformer";
    case Family::kSwin:
      return "swin";
    case Family::kRoadmap:
      return "roadmap";
  }
  return "";
}

Family family_of(const NetworkConfig& network) {
  constexpr Family kFamilies[] = {Family::kConvNext,          Family::kResNet, Family::kRegNet, Family::kEfficientNet,
                                  Family::kVisionTransformer, Family::kSwin};
  static_assert(std::size(kFamilies) == std::variant_size_v<NetworkConfig>);
  return kFamilies[network.index()];
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
