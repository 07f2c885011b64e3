#include "model/detector_layouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "convnext/error.h"
#include "model/detector_registry.h"
#include "model/registry.h"

namespace convnext {
namespace {

constexpr std::string_view kBackbone = "backbone.";
constexpr std::string_view kMmdetHeads = "roi_head.";
constexpr std::string_view kOwnHeads = "box_heads.";
constexpr std::string_view kMmdetParts[] = {kBackbone, "neck.", "rpn_head.", kMmdetHeads};
// Of the backbone as a classifier, by our names.
constexpr std::string_view kClassifier[] = {"backbone.head.", "backbone.norm.", "backbone.fc."};

bool starts_with_any(std::string_view text, std::span<const std::string_view> beginnings) {
  return std::ranges::any_of(beginnings, [text](std::string_view beginning) { return text.starts_with(beginning); });
}

bool has_key(const TensorViews& file, std::string_view beginning) {
  return std::ranges::any_of(
      file, [beginning](const auto& entry) { return entry.first.starts_with(beginning) && !is_buffer(entry.first); });
}

// The backbone as a file of its own, without the norms of its outputs, but for the last stage's of a ConvNeXt, which
// stands for a final norm there.
TensorViews backbone_of(const TensorViews& file) {
  constexpr std::string_view kOwnLastNorm = "output_norms.3.";
  constexpr std::string_view kOutputNorms[] = {"norm0.", "norm1.", "norm2."};
  TensorViews views;
  for (const auto& [key, view] : file) {
    const std::string_view name = key;
    if (name.starts_with(kOwnLastNorm)) {
      views.emplace(fmt::format("head.norm.{}", name.substr(kOwnLastNorm.size())), view);
    } else if (name.starts_with(kBackbone) && !starts_with_any(name.substr(kBackbone.size()), kOutputNorms)) {
      views.emplace(name.substr(kBackbone.size()), view);
    }
  }
  return views;
}

// What we call the tensor; nothing for a key that is no name there.
std::optional<TensorName> own_name_of(const RecognizedDetector& weights, const std::string& key) {
  if (weights.naming == DetectorNaming::kMmdet) return own_detector_name({weights.layout, weights.is_cascade}, key);
  // The names of a cascade are those of one stage, too.
  std::optional<TensorName> name = detector_name_in({weights.layout, /*is_cascade=*/true}, key);
  if (name) {
    name->name = key;
    name->form = TensorForm::kSame;
  }
  return name;
}

bool is_no_part(const RecognizedDetector& weights, const std::string& key, const ConstTensorView& view) {
  if (is_buffer(key) || !is_float(view.dtype)) return true;
  if (weights.naming == DetectorNaming::kOwn) return false;
  if (!starts_with_any(key, kMmdetParts)) return true;
  return key.starts_with(kBackbone) && is_known_extra(weights.layout, std::string_view(key).substr(kBackbone.size()));
}

// The size along an axis of a tensor by our name; 0 when it has none.
int size_of(const RecognizedDetector& weights, std::string_view own, std::size_t axis) {
  constexpr std::int64_t kLargest = 1'000'000;
  const auto found = weights.tensors.find(own);
  if (found == weights.tensors.end() || found->second.view.shape.size() <= axis) return 0;
  return static_cast<int>(std::clamp<std::int64_t>(found->second.view.shape[axis], 0, kLargest));
}

// The registered name whose backbone has these tensors; else the first over a network of the same family.
std::string name_over(const NetworkConfig& backbone, std::string_view prefix) {
  const RegistryEntry* nearest = nullptr;
  for (const RegistryEntry& entry : registry()) {
    if (entry.network.index() != backbone.index() || entry.family == Family::kRoadmap) continue;
    if (!find_detector(std::string(prefix) + entry.name)) continue;
    NetworkConfig headless = entry.network;
    set_class_count(headless, 0);
    if (have_same_tensors(headless, backbone)) return find_detector(std::string(prefix) + entry.name)->name;
    if (!nearest) nearest = &entry;
  }
  if (!nearest) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a {} is no backbone of a detector here: ConvNeXt, ResNet and Swin are",
                            name_of(family_of(backbone))));
  }
  return find_detector(std::string(prefix) + nearest->name)->name;
}

ConstTensorView in_shape(ConstTensorView view, const Shape& shape) {
  view.shape = shape;
  view.strides = contiguous_strides(shape);
  return view;
}

// A linear of a block may be kept as a convolution; nothing else may have another shape.
bool fits(const RecognizedTensor& tensor, const Shape& expected) {
  const Shape& found = tensor.view.shape;
  if (found == expected) return true;
  const auto as_matrix = [](const Shape& s) { return s.size() == 4 && s[2] == 1 && s[3] == 1 ? Shape{s[0], s[1]} : s; };
  if (tensor.name.form == TensorForm::kLinear) return as_matrix(found) == as_matrix(expected);
  return tensor.name.form == TensorForm::kChannelsLast && element_count(found) == element_count(expected);
}

// Whose names of the backbone a layout has beside mmdetection's heads.
WeightLayout backbone_layout(WrittenDetectorLayout layout, const NetworkConfig& backbone) {
  const Family family = family_of(backbone);
  const bool is_mmdet = layout == WrittenDetectorLayout::kMmdet;
  if (family == Family::kResNet && is_mmdet) return WeightLayout::kResNet;
  if (family == Family::kSwin && !is_mmdet) return WeightLayout::kSwinMicrosoft;
  if (family == Family::kConvNext) return is_mmdet ? WeightLayout::kMmpretrain : WeightLayout::kFb;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("the layout {} has no names for a detector over a {} here: {} has", name_of(layout),
                          name_of(family), is_mmdet ? "fb, its authors'," : "mmdet"));
}

constexpr std::array kWrittenDetectorLayouts = {WrittenDetectorLayout::kOwn, WrittenDetectorLayout::kMmdet,
                                                WrittenDetectorLayout::kFb};

}  // namespace

std::string_view name_of(DetectorNaming naming) { return naming == DetectorNaming::kOwn ? "own" : "mmdet"; }

bool has_detector_heads(const TensorViews& file) { return has_key(file, kMmdetHeads) || has_key(file, kOwnHeads); }

RecognizedDetector recognize_detector(const TensorViews& file) {
  RecognizedDetector weights;
  const bool is_mmdet = has_key(file, kMmdetHeads);
  weights.naming = is_mmdet ? DetectorNaming::kMmdet : DetectorNaming::kOwn;
  weights.is_cascade = has_key(file, is_mmdet ? "roi_head.bbox_head.0." : "box_heads.1.");
  weights.backbone = recognize(backbone_of(file));
  weights.layout = weights.backbone.layout;
  for (const auto& [key, view] : file) {
    std::optional<TensorName> name = own_name_of(weights, key);
    if (name ? starts_with_any(name->name, kClassifier) : is_no_part(weights, key, view)) {
      weights.passed_over.emplace(key, view);
    } else if (!name) {
      weights.unexpected.emplace(key, view);
    } else if (const auto known = weights.tensors.find(name->name); known != weights.tensors.end()) {
      weights.repeated.emplace(key, known->second.key);
    } else {
      std::string own = name->name;
      weights.tensors.emplace(
          std::move(own), RecognizedTensor{.key = key, .view = view, .shape = view.shape, .name = std::move(*name)});
    }
  }
  return weights;
}

InferredDetector infer_detector(const RecognizedDetector& weights, std::string_view source,
                                std::vector<std::string>& notes) {
  NetworkConfig backbone = infer_network(weights.backbone, source, notes);
  set_class_count(backbone, 0);
  InferredDetector result;
  result.architecture = name_over(backbone, weights.is_cascade ? "cascade_mask_rcnn_" : "mask_rcnn_");
  DetectorConfig& config = result.config;
  config = find_detector(result.architecture)->config;
  if (!have_same_tensors(backbone, config.backbone)) config.backbone = backbone;
  config.classes = size_of(weights, "box_heads.0.scores.weight", 0) - 1;
  config.box_hidden = size_of(weights, "box_heads.0.scores.weight", 1);
  config.pyramid_channels = size_of(weights, "pyramid.output.0.weight", 0);
  config.box_head = weights.tensors.contains("box_heads.0.convolutions.0.weight")
                        ? DetectorConfig::BoxHead::kConvolutions
                        : DetectorConfig::BoxHead::kLinears;
  validate(config);
  return result;
}

std::vector<Misfit> find_misfits(const RecognizedDetector& weights, const DetectorConfig& config) {
  std::vector<Misfit> misfits;
  std::set<std::string_view> wanted;
  const std::vector<TensorSpec> specs = tensor_specs(config);
  const DetectorLayout theirs{weights.layout, weights.is_cascade};
  for (const TensorSpec& spec : specs) {
    wanted.insert(spec.name);
    const auto found = weights.tensors.find(spec.name);
    if (found == weights.tensors.end()) {
      const bool is_mmdet = weights.naming == DetectorNaming::kMmdet;
      const std::optional<TensorName> name = is_mmdet ? detector_name_in(theirs, spec.name) : std::nullopt;
      misfits.push_back({Misfit::Kind::kMissing, name ? name->name : spec.name, spec.name, spec.shape, {}});
      continue;
    }
    const RecognizedTensor& tensor = found->second;
    if (!fits(tensor, spec.shape)) {
      misfits.push_back({Misfit::Kind::kShape, tensor.key, spec.name, spec.shape, tensor.view.shape});
    } else if (!is_float(tensor.view.dtype)) {
      misfits.push_back({Misfit::Kind::kType, tensor.key, spec.name, spec.shape, tensor.view.shape});
    }
  }
  std::ranges::move(find_strangers(weights, wanted), std::back_inserter(misfits));
  return misfits;
}

WeightStore import_weights(const RecognizedDetector& weights, const DetectorConfig& config,
                           const std::vector<std::shared_ptr<const void>>& owners) {
  WeightStore store;
  for (const std::shared_ptr<const void>& owner : owners) store.keep_alive(owner);
  for (const TensorSpec& spec : tensor_specs(config)) {
    store.add(spec.name, in_shape(weights.tensors.at(spec.name).view, spec.shape), nullptr);
  }
  return store;
}

TensorViews export_detector(const WeightStore& weights, const DetectorLayout& layout) {
  TensorViews views;
  for (const auto& [own, view] : weights.all()) {
    const auto theirs = detector_name_in(layout, own);
    if (!theirs) {
      throw Error(ErrorCode::kUnsupported, fmt::format("mmdetection has no name for '{}'", own));
    }
    const bool is_matrix = theirs->form == TensorForm::kLinear && view.shape.size() == 4;
    Shape shape = is_matrix ? Shape{view.shape[0], view.shape[1]} : view.shape;
    if (theirs->form == TensorForm::kChannelsLast) shape = {1, 1, 1, view.shape[0]};
    views.emplace(theirs->name, in_shape(view, shape));
  }
  return views;
}

std::string_view name_of(WrittenDetectorLayout layout) {
  switch (layout) {
    case WrittenDetectorLayout::kOwn:
      return "own";
    case WrittenDetectorLayout::kMmdet:
      return "mmdet";
    case WrittenDetectorLayout::kFb:
      return "fb";
  }
  return "";
}

WrittenDetectorLayout written_detector_layout_from_name(std::string_view name) {
  for (const WrittenDetectorLayout layout : kWrittenDetectorLayouts) {
    if (name_of(layout) == name) return layout;
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is no layout of detectors: own, mmdet and fb are", name.substr(0, 80)));
}

TensorViews export_weights(const WeightStore& weights, const DetectorConfig& config, WrittenDetectorLayout layout) {
  if (layout == WrittenDetectorLayout::kOwn) return {weights.all().begin(), weights.all().end()};
  return export_detector(weights, {backbone_layout(layout, config.backbone), config.stages() > 1});
}

}  // namespace convnext
