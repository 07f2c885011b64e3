#include "model/layout_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace convnext {
namespace {

// One tensor, or the weight and the bias of a layer. In a pattern `*` is "weight" or "bias", {s} a stage from 0, {b} a
// block from 0; {2s} and {2s+1} are twice the stage, and one more.
struct NameRow {
  std::string_view own;
  std::string_view theirs;
  TensorForm form = TensorForm::kSame;
};

using enum TensorForm;

// Of two rows that fit, the first one counts, so that the stem can share a pattern with the downsampling layers.
constexpr NameRow kTimmNames[] = {
    {"stem.0.*", "stem.0.*"},
    {"stem.1.*", "stem.1.*"},  // what it is depends on the stem: a norm or a convolution
    {"stem.2.*", "stem.2.*"},
    {"stem.3.*", "stem.3.*"},
    {"stages.{s}.downsample.0.*", "stages.{s}.downsample.0.*"},
    {"stages.{s}.downsample.1.*", "stages.{s}.downsample.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.blocks.{b}.conv_dw.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.blocks.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.blocks.{b}.mlp.fc1.*"},
    {"stages.{s}.blocks.{b}.mlp.grn.*", "stages.{s}.blocks.{b}.mlp.grn.*"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.blocks.{b}.mlp.fc2.*"},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.blocks.{b}.gamma"},
    {"norm_pre.*", "norm_pre.*"},
    {"head.norm.*", "head.norm.*"},
    {"head.pre_logits.fc.*", "head.pre_logits.fc.*"},
    {"head.fc.*", "head.fc.*"},
};

// facebookresearch/ConvNeXt models/convnext.py, ConvNeXt-V2 models/convnextv2.py, dinov3 models/convnext.py.
constexpr NameRow kFbNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.*"},
    {"stages.{s}.downsample.1.*", "downsample_layers.{s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.{b}.dwconv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pwconv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pwconv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.{b}.gamma"},
    {"head.norm.*", "norm.*"},
    {"head.norm.*", "norm3.*"},  // of a backbone: the norm of the last stage's output
    {"head.fc.*", "head.*"},
};

// facebookresearch/ConvNeXt models/convnext_isotropic.py.
constexpr NameRow kFbIsotropicNames[] = {
    {"stem.0.*", "stem.*"},
    {"stages.0.blocks.{b}.conv_dw.*", "blocks.{b}.dwconv.*"},
    {"stages.0.blocks.{b}.norm.*", "blocks.{b}.norm.*"},
    {"stages.0.blocks.{b}.mlp.fc1.*", "blocks.{b}.pwconv1.*", kLinear},
    {"stages.0.blocks.{b}.mlp.fc2.*", "blocks.{b}.pwconv2.*", kLinear},
    {"stages.0.blocks.{b}.gamma", "blocks.{b}.gamma"},
    {"head.norm.*", "norm.*"},
    {"head.fc.*", "head.*"},
};

// torchvision/models/convnext.py: features 0 is the stem, 1 3 5 7 are the stages, 2 4 6 the downsampling layers.
constexpr NameRow kTorchvisionNames[] = {
    {"stem.0.*", "features.0.0.*"},
    {"stem.1.*", "features.0.1.*"},
    {"stages.{s}.downsample.0.*", "features.{2s}.0.*"},
    {"stages.{s}.downsample.1.*", "features.{2s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "features.{2s+1}.{b}.block.0.*"},
    {"stages.{s}.blocks.{b}.norm.*", "features.{2s+1}.{b}.block.2.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "features.{2s+1}.{b}.block.3.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "features.{2s+1}.{b}.block.5.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "features.{2s+1}.{b}.layer_scale", kChannelMap},
    {"head.norm.*", "classifier.0.*"},
    {"head.fc.*", "classifier.2.*"},
};

// transformers models/convnext/modeling_convnext.py and models/convnextv2/modeling_convnextv2.py.
constexpr NameRow kHfNames[] = {
    {"stem.0.*", "embeddings.patch_embeddings.*"},
    {"stem.1.*", "embeddings.layernorm.*"},
    {"stages.{s}.downsample.0.*", "encoder.stages.{s}.downsampling_layer.0.*"},
    {"stages.{s}.downsample.1.*", "encoder.stages.{s}.downsampling_layer.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "encoder.stages.{s}.layers.{b}.dwconv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "encoder.stages.{s}.layers.{b}.layernorm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "encoder.stages.{s}.layers.{b}.pwconv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.*", "encoder.stages.{s}.layers.{b}.grn.*", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "encoder.stages.{s}.layers.{b}.pwconv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "encoder.stages.{s}.layers.{b}.layer_scale_parameter"},
    {"head.norm.*", "layernorm.*"},
    {"head.fc.*", "classifier.*"},
};

// transformers models/dinov3_convnext/modeling_dinov3_convnext.py.
constexpr NameRow kHfDinov3Names[] = {
    {"stem.0.*", "stages.0.downsample_layers.0.*"},
    {"stem.1.*", "stages.0.downsample_layers.1.*"},
    {"stages.{s}.downsample.0.*", "stages.{s}.downsample_layers.0.*"},
    {"stages.{s}.downsample.1.*", "stages.{s}.downsample_layers.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.layers.{b}.depthwise_conv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.layers.{b}.layer_norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.layers.{b}.pointwise_conv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.layers.{b}.pointwise_conv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.layers.{b}.gamma"},
    {"head.norm.*", "layer_norm.*"},
};

// open-mmlab/mmpretrain mmpretrain/models/backbones/convnext.py.
constexpr NameRow kMmpretrainNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.*"},
    {"stages.{s}.downsample.1.*", "downsample_layers.{s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.{b}.depthwise_conv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pointwise_conv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma"},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pointwise_conv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.{b}.gamma"},
    {"head.norm.*", "norm3.*"},
    {"head.fc.*", "head.fc.*"},
};

// mlfoundations/open_clip src/open_clip/timm_model.py: timm's network without its classifier, and a projection to the
// common space, which has no bias, in its place; with timm_proj "" the projection is timm's classifier.
constexpr NameRow kOpenClipNames[] = {
    {"stem.0.*", "visual.trunk.stem.0.*"},
    {"stem.1.*", "visual.trunk.stem.1.*"},
    {"stem.2.*", "visual.trunk.stem.2.*"},
    {"stem.3.*", "visual.trunk.stem.3.*"},
    {"stages.{s}.downsample.0.*", "visual.trunk.stages.{s}.downsample.0.*"},
    {"stages.{s}.downsample.1.*", "visual.trunk.stages.{s}.downsample.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "visual.trunk.stages.{s}.blocks.{b}.conv_dw.*"},
    {"stages.{s}.blocks.{b}.norm.*", "visual.trunk.stages.{s}.blocks.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.fc1.*"},
    {"stages.{s}.blocks.{b}.mlp.grn.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.grn.*"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.fc2.*"},
    {"stages.{s}.blocks.{b}.gamma", "visual.trunk.stages.{s}.blocks.{b}.gamma"},
    {"norm_pre.*", "visual.trunk.norm_pre.*"},
    {"head.norm.*", "visual.trunk.head.norm.*"},
    {"head.fc.*", "visual.head.proj.*"},
    {"head.fc.*", "visual.trunk.head.fc.*"},
    {"head.pre_logits.fc.*", "visual.head.mlp.fc1.*"},
    {"head.fc.*", "visual.head.mlp.fc2.*"},
};

// facebookresearch/ConvNeXt-V2 models/convnextv2_sparse.py, as its utils.py makes it dense. The stem is dense anyway.
constexpr NameRow kFcmaeNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.ln.*"},
    {"stages.{s}.downsample.1.weight", "downsample_layers.{s}.1.kernel", kSparseKernel},
    {"stages.{s}.downsample.1.bias", "downsample_layers.{s}.1.bias"},
    {"stages.{s}.blocks.{b}.conv_dw.weight", "stages.{s}.{b}.dwconv.kernel", kSparseKernel},
    {"stages.{s}.blocks.{b}.conv_dw.bias", "stages.{s}.{b}.dwconv.bias"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.ln.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pwconv1.linear.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma"},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pwconv2.linear.*", kLinear},
};

struct LayoutRows {
  WeightLayout layout;
  std::string_view name;
  std::span<const NameRow> rows;
};

constexpr std::array kLayouts = {
    LayoutRows{WeightLayout::kTimm, "timm", kTimmNames},
    LayoutRows{WeightLayout::kFb, "fb", kFbNames},
    LayoutRows{WeightLayout::kFbIsotropic, "fb_isotropic", kFbIsotropicNames},
    LayoutRows{WeightLayout::kTorchvision, "torchvision", kTorchvisionNames},
    LayoutRows{WeightLayout::kHf, "hf", kHfNames},
    LayoutRows{WeightLayout::kHfDinov3, "hf_dinov3", kHfDinov3Names},
    LayoutRows{WeightLayout::kMmpretrain, "mmpretrain", kMmpretrainNames},
    LayoutRows{WeightLayout::kOpenClip, "open_clip", kOpenClipNames},
    LayoutRows{WeightLayout::kFcmae, "fcmae", kFcmaeNames},
};

static_assert([] {
  for (std::size_t i = 0; i < kLayouts.size(); ++i) {
    if (static_cast<std::size_t>(kLayouts[i].layout) != i) return false;
  }
  return true;
}());

const LayoutRows& rows_of(WeightLayout layout) { return kLayouts[static_cast<std::size_t>(layout)]; }

// What wrappers put before a name: DistributedDataParallel, torch.compile, detectors, Hugging Face's classes with a
// head, Lightning.
constexpr std::string_view kPrefixes[] = {"module.",     "_orig_mod.", "backbone.", "convnext.",
                                          "convnextv2.", "encoder.",   "model."};

// Beginnings of names, prefixes stripped, that belong to something around the network.
constexpr std::string_view kExtras[] = {
    "norms.",       // DINOv3: norms.3 is the final norm once more; EUPE
    "projectors.",  // EUPE
    "decoder",
    "mask_token",
    "proj.",
    "pred.",                 // FCMAE
    "hidden_states_norms.",  // Hugging Face's backbones
    "norm0.",
    "norm1.",
    "norm2.",  // norms of the outputs of a backbone
    "neck.",
    "rpn_head.",
    "roi_head.",
    "bbox_head.",
    "mask_head.",
    "decode_head.",
    "auxiliary_head.",
    "data_preprocessor.",  // OpenMMLab's mean and std
};

constexpr int kMaxStage = 3;
constexpr int kMaxBlock = 255;
// Wrappers of wrappers; a name that only consists of prefixes does not keep anybody busy.
constexpr int kMaxPrefixes = 8;

struct Places {
  int stage = -1;
  int block = -1;
  std::string_view parameter;
};

// A number without sign or leading zero; -1 for anything else.
int parse_index(std::string_view text) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return -1;
  int value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return -1;
    value = 10 * value + (digit - '0');
  }
  return value;
}

// Takes the text up to the next dot off the front.
std::string_view next_component(std::string_view& text) {
  const std::size_t dot = std::min(text.find('.'), text.size());
  const std::string_view component = text.substr(0, dot);
  text.remove_prefix(std::min(dot + 1, text.size()));
  return component;
}

bool fits(std::string_view pattern, std::string_view component, Places& places) {
  if (pattern == "*") {
    places.parameter = component;
    return component == "weight" || component == "bias";
  }
  if (pattern[0] != '{') return pattern == component;
  const int index = parse_index(component);
  if (index < 0) return false;
  if (pattern == "{b}") {
    places.block = index;
    return index <= kMaxBlock;
  }
  const bool odd = pattern == "{2s+1}";
  if (pattern != "{s}" && index % 2 != (odd ? 1 : 0)) return false;
  places.stage = pattern == "{s}" ? index : index / 2;
  return places.stage <= kMaxStage;
}

std::optional<Places> match(std::string_view pattern, std::string_view name) {
  if (name.ends_with('.')) return std::nullopt;
  Places places;
  while (!pattern.empty() && !name.empty()) {
    if (!fits(next_component(pattern), next_component(name), places)) return std::nullopt;
  }
  if (!pattern.empty() || !name.empty()) return std::nullopt;
  return places;
}

std::string filled(std::string_view pattern, const Places& places) {
  std::string name;
  while (!pattern.empty()) {
    const std::string_view component = next_component(pattern);
    if (!name.empty()) name += '.';
    if (component == "*") {
      name += places.parameter;
    } else if (component == "{s}") {
      name += std::to_string(places.stage);
    } else if (component == "{2s}") {
      name += std::to_string(2 * places.stage);
    } else if (component == "{2s+1}") {
      name += std::to_string(2 * places.stage + 1);
    } else if (component == "{b}") {
      name += std::to_string(places.block);
    } else {
      name += component;
    }
  }
  return name;
}

enum class Direction { kToOwn, kFromOwn };

std::optional<TensorName> translated(WeightLayout layout, std::string_view name, Direction direction) {
  for (const NameRow& row : rows_of(layout).rows) {
    const bool to_own = direction == Direction::kToOwn;
    const std::optional<Places> places = match(to_own ? row.theirs : row.own, name);
    if (!places) continue;
    TensorName result{filled(to_own ? row.own : row.theirs, *places), row.form, places->stage, places->block};
    // The isotropic networks' own names say stage 0, theirs say none.
    if (result.block >= 0 && result.stage < 0) result.stage = 0;
    // Biases and norms are vectors everywhere: only weights of linears and response norms change their shape.
    if (result.form == kLinear && places->parameter == "bias") result.form = kSame;
    return result;
  }
  return std::nullopt;
}

// Takes one prefix of a wrapper off; false when there is none.
bool strip_prefix(std::string_view& key) {
  for (const std::string_view prefix : kPrefixes) {
    if (!key.starts_with(prefix)) continue;
    key.remove_prefix(prefix.size());
    return true;
  }
  return false;
}

}  // namespace

std::string_view name_of(WeightLayout layout) { return rows_of(layout).name; }

const std::vector<WeightLayout>& weight_layouts() {
  static const std::vector<WeightLayout> all = [] {
    std::vector<WeightLayout> layouts;
    for (const LayoutRows& rows : kLayouts) layouts.push_back(rows.layout);
    return layouts;
  }();
  return all;
}

std::optional<TensorName> own_name(WeightLayout layout, std::string_view key) {
  // The name comes first: "encoder." is a prefix of FCMAE and a part of Hugging Face's names.
  for (int stripped = 0; stripped <= kMaxPrefixes; ++stripped) {
    if (std::optional<TensorName> name = translated(layout, key, Direction::kToOwn)) return name;
    if (!strip_prefix(key)) break;
  }
  return std::nullopt;
}

std::optional<TensorName> name_in(WeightLayout layout, std::string_view own) {
  return translated(layout, own, Direction::kFromOwn);
}

bool is_known_extra(WeightLayout layout, std::string_view key) {
  if (key.ends_with("num_batches_tracked")) return true;
  if (layout == WeightLayout::kOpenClip && key.find("visual.") == std::string_view::npos) return true;
  for (int stripped = 0; stripped <= kMaxPrefixes; ++stripped) {
    if (std::ranges::any_of(kExtras, [key](std::string_view extra) { return key.starts_with(extra); })) return true;
    if (!strip_prefix(key)) break;
  }
  return false;
}

}  // namespace convnext
