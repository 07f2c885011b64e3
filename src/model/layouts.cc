#include "model/layouts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>

#include "convnext/error.h"
#include "core/names.h"
#include "io/quoted.h"
#include "model/published.h"
#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {
namespace {

ConstTensorView reshaped(ConstTensorView view, Shape shape) {
  view.shape = std::move(shape);
  view.strides = contiguous_strides(view.shape);
  return view;
}

// Without the axes of size 1.
Shape squeezed(const Shape& shape) {
  Shape result;
  std::ranges::copy_if(shape, std::back_inserter(result), [](std::int64_t size) { return size != 1; });
  return result;
}

bool is_linear(std::string_view own) { return own.ends_with("mlp.fc1.weight") || own.ends_with("mlp.fc2.weight"); }

bool is_vector(std::string_view own) {
  return own.ends_with(".bias") || own.ends_with(".gamma") || own.ends_with(".mlp.grn.weight");
}

// Side of the square kernel with that many taps; 0 when there is none.
std::int64_t kernel_side(std::int64_t taps) {
  for (std::int64_t side = 1; side <= 64; ++side) {
    if (side * side == taps) return side;
  }
  return 0;
}

// The shape in our layout of what lies in a file as `found`; `found` itself when it cannot be told.
Shape own_shape(const TensorName& name, const Shape& found) {
  if (name.form == TensorForm::kSparseKernel && (found.size() == 2 || found.size() == 3)) {
    const std::int64_t side = kernel_side(found[0]);
    if (side == 0) return found;
    return found.size() == 2 ? Shape{found[1], 1, side, side} : Shape{found[2], found[1], side, side};
  }
  if (is_vector(name.name) && found.size() > 1) {
    Shape vector = squeezed(found);
    if (vector.empty()) vector = {1};
    if (vector.size() == 1) return vector;
  }
  return found;
}

// Whether a tensor of that shape can stand for one of our `expected`: linears are kept as convolutions or not.
bool shapes_agree(std::string_view own, const Shape& shape, const Shape& expected) {
  if (shape == expected) return true;
  if (!is_linear(own)) return false;
  const auto as_matrix = [](const Shape& s) { return s.size() == 4 && s[2] == 1 && s[3] == 1 ? Shape{s[0], s[1]} : s; };
  return as_matrix(shape) == as_matrix(expected);
}

// (taps, in, out) or (taps, channels), taps down the columns, as (out, in, side, side).
Tensor dense_kernel(const ConstTensorView& sparse, const Shape& expected) {
  Tensor dense = Tensor::zeros(expected, sparse.dtype);
  const auto out = static_cast<std::size_t>(expected[0]), in = static_cast<std::size_t>(expected[1]),
             side = static_cast<std::size_t>(expected[2]), size = size_of(sparse.dtype);
  std::byte* to = dense.bytes().data();
  for (std::size_t o = 0; o < out; ++o) {
    for (std::size_t i = 0; i < in; ++i) {
      for (std::size_t y = 0; y < side; ++y) {
        for (std::size_t x = 0; x < side; ++x, to += size) {
          const std::size_t tap = x * side + y;
          // Depthwise kernels have no axis of inputs; with one input the offset is the same.
          std::memcpy(to, sparse.data + ((tap * in + i) * out + o) * size, size);
        }
      }
    }
  }
  return dense;
}

// Pre-training by masked pictures trains no final norm: FCMAE's files have none, nor have SparK's, which otherwise have
// the authors' names. transformers' backbones have none of an output that was not asked for, DINOv3's none at all. One
// with a classifier had a norm before it.
bool is_encoder_without_norm(const RecognizedWeights& weights) {
  if (weights.layout == WeightLayout::kFcmae) return true;
  const bool may_be = weights.layout == WeightLayout::kFb || weights.layout == WeightLayout::kHfDinov3 ||
                      is_transformers_backbone(weights);
  return may_be &&
         std::ranges::none_of(weights.tensors, [](const auto& entry) { return entry.first.starts_with("head."); });
}

// What a file need not store, and what it then stands for.
std::optional<float> unstored_value(const RecognizedWeights& weights, std::string_view own) {
  if (weights.layout == WeightLayout::kOpenClip && own == "head.fc.bias") return 0.0f;
  if (own == "head.norm.weight" && is_encoder_without_norm(weights)) return 1.0f;
  if (own == "head.norm.bias" && is_encoder_without_norm(weights)) return 0.0f;
  return std::nullopt;
}

Tensor constant(const Shape& shape, float value) {
  Tensor tensor = Tensor::zeros(shape);
  std::ranges::fill(tensor.values<float>(), value);
  return tensor;
}

RecognizedWeights recognize_as(WeightLayout layout, const TensorViews& file, const TensorViews& scales) {
  RecognizedWeights weights;
  weights.layout = layout;
  for (const auto& [key, view] : file) {
    const auto scale = scales.find(key);
    std::optional<TensorName> name = own_name(layout, key);
    if (!name) {
      const bool no_weight = is_known_extra(layout, key) || (!is_float(view.dtype) && scale == scales.end());
      (no_weight ? weights.passed_over : weights.unexpected).emplace(key, view);
      continue;
    }
    const auto [known, is_new] = weights.tensors.try_emplace(name->name);
    if (!is_new) {
      weights.repeated.emplace(key, known->second.key);
      continue;
    }
    Shape shape = own_shape(*name, view.shape);
    known->second = {.key = key, .view = view, .shape = std::move(shape), .name = std::move(*name)};
    if (scale != scales.end()) known->second.scales = scale->second;
  }
  return weights;
}

// Scales go with the first axis, which is not the outputs' in a sparse kernel.
bool holds_floats(const RecognizedTensor& tensor) {
  return is_float(tensor.view.dtype) || (tensor.scales && tensor.name.form != TensorForm::kSparseKernel);
}

std::size_t count_known(WeightLayout layout, const TensorViews& file) {
  return static_cast<std::size_t>(
      std::ranges::count_if(file, [layout](const auto& entry) { return own_name(layout, entry.first).has_value(); }));
}

WeightLayout layout_of_convnext(WrittenLayout layout, const Card& card, const ConvNextConfig& config) {
  switch (layout) {
    case WrittenLayout::kOwn:
    case WrittenLayout::kTimm:
      return WeightLayout::kTimm;
    case WrittenLayout::kFb:
      return config.stem_norm ? WeightLayout::kFb : WeightLayout::kFbIsotropic;
    case WrittenLayout::kTorchvision:
      return WeightLayout::kTorchvision;
    case WrittenLayout::kHf:
      break;
  }
  return is_dinov3(card) ? WeightLayout::kHfDinov3 : WeightLayout::kHf;
}

// Of another family: the one of that name, or timm's, which are our own.
WeightLayout layout_of(WrittenLayout layout, const Card& card) {
  if (const auto* config = std::get_if<ConvNextConfig>(&card.network)) return layout_of_convnext(layout, card, *config);
  const bool is_torchvision = layout == WrittenLayout::kTorchvision;
  std::optional<WeightLayout> own;
  for (const WeightLayout candidate : weight_layouts()) {
    if (family_of(candidate) != family_of(card.network)) continue;
    if (!own) own = candidate;
    if (is_torchvision && name_of(candidate) == "torchvision") return candidate;
  }
  return own.value();
}

// The registered network with what timm's config.json can change of it, for pictures of that resolution.
NetworkConfig as_timm_builds(const NetworkConfig& registered, const NetworkConfig& wanted, int resolution) {
  NetworkConfig network = fitted(registered, wanted);
  if (auto* efficientnet = std::get_if<EfficientNetConfig>(&network)) {
    efficientnet->norm_eps = std::get<EfficientNetConfig>(wanted).norm_eps;
  }
  if (auto* swin = std::get_if<SwinConfig>(&network)) {
    swin->windows.assign(swin->windows.size(), swin->largest_window());
    set_input_size(*swin, resolution);
    swin->pads_windows = std::get<SwinConfig>(wanted).pads_windows;
  }
  return network;
}

// Only a registered network of a library's own is one that the library builds by its name.
void require_expressible_other_family(const Card& card, WrittenLayout layout) {
  const auto refuse = [&card, layout](const std::string& what) {
    throw Error(ErrorCode::kUnsupported, fmt::format("the layout '{}' cannot say this {}: {}; --layout own holds every "
                                                     "network",
                                                     name_of(layout), card.architecture, what));
  };
  if (layout == WrittenLayout::kOwn) return;
  const RegistryEntry& entry = architecture(card.architecture);
  const Family family = family_of(card.network);
  if (layout == WrittenLayout::kFb || layout == WrittenLayout::kHf) {
    refuse(fmt::format("it is written for ConvNeXt, and this is a {}", name_of(family)));
  }
  const bool is_timm = layout == WrittenLayout::kTimm;
  const NetworkConfig theirs = is_timm ? as_timm_builds(entry.network, card.network, card.preprocessing.resolution)
                                       : fitted(entry.network, card.network);
  if (entry.family == Family::kRoadmap || theirs != card.network) {
    refuse("its libraries have no such network");
  }
  const PublishedWeights* published = find_published(entry.name, entry.published_weights);
  if (is_timm && published && !published->in_timm) refuse("timm has no network of that name");
  if (layout != WrittenLayout::kTorchvision) return;
  const auto* vit = std::get_if<VisionTransformerConfig>(&card.network);
  // EfficientNet's tables go by what the blocks of a stage are; Swin's library wants its index tables in the file.
  if (family == Family::kEfficientNet || family == Family::kSwin || (vit && vit->distilled)) {
    refuse("torchvision's names for it are only read");
  }
}

Shape shape_in(TensorForm form, const Shape& own) {
  const std::int64_t first = own.empty() ? 1 : own[0];
  switch (form) {
    case TensorForm::kLinear:
      return {own[0], own[1]};
    case TensorForm::kChannelMap:
      return {first, 1, 1};
    case TensorForm::kChannelsLast:
      return {1, 1, 1, first};
    case TensorForm::kSame:
    case TensorForm::kSparseKernel:
      return own;
  }
  return own;
}

constexpr std::array kWrittenLayouts = {
    Named<WrittenLayout>{WrittenLayout::kOwn, "own"}, Named<WrittenLayout>{WrittenLayout::kTimm, "timm"},
    Named<WrittenLayout>{WrittenLayout::kFb, "fb"},   Named<WrittenLayout>{WrittenLayout::kTorchvision, "torchvision"},
    Named<WrittenLayout>{WrittenLayout::kHf, "hf"},
};

}  // namespace

bool is_transformers_backbone(const RecognizedWeights& weights) {
  if (weights.layout != WeightLayout::kHf || !weights.tensors.contains("stages.3.blocks.0.conv_dw.weight"))
    return false;
  const auto is_output_norm = [](std::string_view key) { return key.find("hidden_states_norms.") != key.npos; };
  return std::ranges::any_of(weights.passed_over, is_output_norm, [](const auto& entry) { return entry.first; }) ||
         std::ranges::any_of(weights.tensors, is_output_norm, [](const auto& entry) { return entry.second.key; });
}

bool RecognizedWeights::has_blocks() const {
  return std::ranges::any_of(tensors, [](const auto& entry) { return entry.second.name.block >= 0; });
}

RecognizedWeights recognize(const TensorViews& file, const TensorViews& scales) {
  WeightLayout best = WeightLayout::kTimm;
  std::size_t most = 0;
  for (const WeightLayout layout : weight_layouts()) {
    const std::size_t known = count_known(layout, file);
    if (known <= most) continue;
    most = known;
    best = layout;
  }
  return recognize_as(best, file, scales);
}

std::string Misfit::message() const {
  switch (kind) {
    case Kind::kMissing:
      return fmt::format("there is no tensor {}, which the network needs with shape {}", in_quotes(key),
                         to_string(expected));
    case Kind::kShape:
      return fmt::format("{} is {}, expected {}", in_quotes(key), to_string(found), to_string(expected));
    case Kind::kType:
      return fmt::format("{} {} holds integers, and weights are floats", in_quotes(key), to_string(found));
    case Kind::kUnexpected:
      return fmt::format("{} {} is no part of the network", in_quotes(key), to_string(found));
    case Kind::kRepeated:
      return fmt::format("{} {} means '{}', which the file holds already", in_quotes(key), to_string(found), own);
  }
  return {};
}

std::vector<Misfit> find_strangers(const RecognizedWeights& weights, const std::set<std::string_view>& wanted) {
  std::vector<Misfit> misfits;
  for (const auto& [own, tensor] : weights.tensors) {
    if (!wanted.contains(own)) misfits.push_back({Misfit::Kind::kUnexpected, tensor.key, own, {}, tensor.view.shape});
  }
  for (const auto& [key, view] : weights.unexpected) {
    misfits.push_back({Misfit::Kind::kUnexpected, key, {}, {}, view.shape});
  }
  for (const auto& [key, first] : weights.repeated) {
    misfits.push_back({Misfit::Kind::kRepeated, key, first, {}, {}});
  }
  return misfits;
}

std::vector<Misfit> find_misfits(const RecognizedWeights& weights, const NetworkConfig& network) {
  std::vector<Misfit> misfits;
  std::set<std::string_view> wanted;
  const std::vector<TensorSpec> specs = tensor_specs(network);
  for (const TensorSpec& spec : specs) {
    wanted.insert(spec.name);
    const auto found = weights.tensors.find(spec.name);
    if (found == weights.tensors.end()) {
      if (unstored_value(weights, spec.name)) continue;
      const std::optional<TensorName> theirs = name_in(weights.layout, spec.name);
      misfits.push_back({Misfit::Kind::kMissing, theirs ? theirs->name : spec.name, spec.name, spec.shape, {}});
      continue;
    }
    const RecognizedTensor& tensor = found->second;
    if (!shapes_agree(spec.name, tensor.shape, spec.shape)) {
      misfits.push_back({Misfit::Kind::kShape, tensor.key, spec.name, spec.shape, tensor.view.shape});
    } else if (!holds_floats(tensor)) {
      misfits.push_back({Misfit::Kind::kType, tensor.key, spec.name, spec.shape, tensor.view.shape});
    }
  }
  std::ranges::move(find_strangers(weights, wanted), std::back_inserter(misfits));
  return misfits;
}

std::optional<std::string> note_on_passed_over(const RecognizedWeights& weights) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> shown;
  std::size_t count = 0;
  for (const auto& [key, view] : weights.passed_over) {
    if (is_buffer(key)) continue;
    if (++count <= kShown) shown.push_back(in_quotes(key));
  }
  if (count == 0) return std::nullopt;
  return fmt::format("passed over {} that {} no part of the network: {}{}",
                     count == 1 ? "a tensor" : fmt::format("{} tensors", count), count == 1 ? "is" : "are",
                     fmt::join(shown, ", "), count > kShown ? ", ..." : "");
}

std::vector<std::string> notes_on(const RecognizedWeights& weights) {
  std::vector<std::string> notes;
  if (std::optional<std::string> note = note_on_passed_over(weights)) notes.push_back(std::move(*note));
  const bool has_output_norms =
      is_transformers_backbone(weights) ||
      std::ranges::any_of(weights.passed_over, [](const auto& entry) { return entry.first.ends_with("norm0.weight"); });
  if (has_output_norms && weights.tensors.contains("head.norm.weight")) {
    notes.push_back("the backbone of a detector or segmenter: its norm of the last stage's output is the final norm");
  }
  if (is_encoder_without_norm(weights)) {
    const bool is_backbone = weights.layout == WeightLayout::kHf || weights.layout == WeightLayout::kHfDinov3;
    notes.push_back(fmt::format("a {} has no final norm: it starts as the identity (weight 1, bias 0)",
                                is_backbone ? "backbone without a norm of its last output" : "pre-trained encoder"));
  }
  return notes;
}

WeightStore import_weights(const RecognizedWeights& weights, const NetworkConfig& network,
                           const std::vector<std::shared_ptr<const void>>& owners) {
  WeightStore store;
  for (const std::shared_ptr<const void>& owner : owners) store.keep_alive(owner);
  for (const TensorSpec& spec : tensor_specs(network)) {
    const auto found = weights.tensors.find(spec.name);
    if (found == weights.tensors.end()) {
      store.add(spec.name, constant(spec.shape, unstored_value(weights, spec.name).value_or(0.0f)));
    } else if (found->second.name.form == TensorForm::kSparseKernel && found->second.view.shape != spec.shape) {
      store.add(spec.name, dense_kernel(found->second.view, spec.shape));
    } else if (found->second.scales) {
      store.add(spec.name, reshaped(found->second.view, spec.shape), *found->second.scales, nullptr);
    } else {
      store.add(spec.name, reshaped(found->second.view, spec.shape), nullptr);
    }
  }
  return store;
}

std::string_view name_of(WrittenLayout layout) { return find_name(kWrittenLayouts, layout); }

WrittenLayout written_layout_from_name(std::string_view name) {
  return find_value(kWrittenLayouts, name, "layout of weights");
}

bool is_dinov3(const Card& card) {
  const RegistryEntry* entry = find_architecture(card.architecture);
  return entry && entry->family == Family::kDinov3ConvNext && class_count(card.network) == 0;
}

// A network that the library would build, but that computes something else there, counts; one whose shapes it would
// refuse does not, for whoever loads it finds out, unless its config.json could not even be written.
void require_expressible(const Card& card, WrittenLayout layout) {
  if (!std::holds_alternative<ConvNextConfig>(card.network)) return require_expressible_other_family(card, layout);
  const auto& config = std::get<ConvNextConfig>(card.network);
  const bool hf = layout == WrittenLayout::kHf, fb = layout == WrittenLayout::kFb,
             torchvision = layout == WrittenLayout::kTorchvision, timm = layout == WrittenLayout::kTimm,
             hf_dinov3 = hf && is_dinov3(card);
  const auto refuse_if = [&card, layout, hf](bool violated, const std::string& what) {
    if (!violated) return;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the layout '{}'{} cannot say this {}: it has {}; --layout own holds every network",
                            name_of(layout), hf ? " of transformers" : "", card.architecture, what));
  };
  refuse_if((timm || torchvision || hf) && !config.stem_norm, "a stem without norm (an isotropic network)");
  if (layout == WrittenLayout::kOwn) return;
  refuse_if(timm && config.head_eps() != config.norm_eps,
            fmt::format("eps {} in its head and {} elsewhere", config.head_eps(), config.norm_eps));
  // timm then reduces the map once more before the first stage.
  refuse_if(timm && config.stem == Stem::kPatch && config.patch_size == 2, "patches of 2x2");
  if (timm) return;
  refuse_if(config.stem != Stem::kPatch, fmt::format("the stem '{}'", name_of(config.stem)));
  refuse_if(config.norm != Norm::kLayerNorm, fmt::format("the norm '{}', not LayerNorm", name_of(config.norm)));
  refuse_if(config.head != Head::kPoolNorm, fmt::format("the head '{}'", name_of(config.head)));
  refuse_if(hf && std::ranges::any_of(config.kernel_sizes, [](int kernel) { return kernel != 7; }),
            fmt::format("kernels of {} a side, not all 7x7", fmt::join(config.kernel_sizes, ",")));
  refuse_if(torchvision && config.grn, "global response normalisation (ConvNeXt V2)");
  refuse_if(config.grn && config.layer_scale, "layer scale beside global response normalisation");
  refuse_if(hf_dinov3 && config.grn, "global response normalisation, and DINOv3's have none");
  refuse_if(hf_dinov3 && config.patch_size != 4, fmt::format("patches of {}, and DINOv3's are 4", config.patch_size));
  refuse_if(torchvision && !config.layer_scale, "no layer scale");
  refuse_if(torchvision && config.classes == 0, "no classifier");
  refuse_if(hf_dinov3 && config.head_eps() != config.norm_eps,
            fmt::format("eps {} in its head and {} elsewhere", config.head_eps(), config.norm_eps));
  refuse_if(!hf_dinov3 && config.norm_eps != kFixedNormEps,
            fmt::format("norms with eps {}, not {}", config.norm_eps, kFixedNormEps));
  refuse_if((fb || torchvision) && config.head_eps() != kFixedNormEps,
            fmt::format("a final norm with eps {}, not {}", config.head_eps(), kFixedNormEps));
  refuse_if((fb || torchvision) && config.activation != Activation::kGelu,
            fmt::format("the activation '{}'", name_of(config.activation)));
  // The authors' isotropic class has one stage; their other class a norm in the stem.
  refuse_if(fb && !config.stem_norm && config.stages() > 1, "several stages and no norm in the stem");
}

TensorViews export_weights(const WeightStore& weights, const Card& card, WrittenLayout layout) {
  require_expressible(card, layout);
  const WeightLayout names = layout_of(layout, card);
  const auto* convnext = std::get_if<ConvNextConfig>(&card.network);
  // Hugging Face's classes with a classifier hold the rest under the family's name.
  const std::string prefix = !convnext || names != WeightLayout::kHf || convnext->classes == 0 ? ""
                             : convnext->grn                                                   ? "convnextv2."
                                                                                               : "convnext.";
  TensorViews tensors;
  for (const auto& [own, view] : weights.all()) {
    const std::optional<TensorName> theirs = name_in(names, own);
    if (!theirs) {
      throw Error(ErrorCode::kUnsupported, fmt::format("the layout '{}' has no name for '{}'", name_of(layout), own));
    }
    if (weights.scales(own)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("the layout '{}' has no 8-bit integers, which '{}' is", name_of(layout), own));
    }
    const bool is_classifier = theirs->name.starts_with("classifier.");
    tensors.emplace(is_classifier ? theirs->name : prefix + theirs->name,
                    reshaped(view, shape_in(theirs->form, view.shape)));
  }
  return tensors;
}

}  // namespace convnext
