#include "model/detector_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "convnext/error.h"
#include "io/quoted.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/coco_labels.h"
#include "model/detector_registry.h"
#include "model/registry.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBackbone = "backbone.";

// The size of a tensor of the file along an axis; 0 when it has none.
std::int64_t size_in(const TensorFile& file, std::string_view key, std::size_t axis) {
  const auto found = file.tensors.find(key);
  return found == file.tensors.end() || found->second.shape.size() <= axis ? 0 : found->second.shape[axis];
}

std::string box_head_key(int stage, bool is_cascade, std::string_view rest) {
  return is_cascade ? fmt::format("roi_head.bbox_head.{}.{}", stage, rest) : fmt::format("roi_head.bbox_head.{}", rest);
}

// Without the norms of its outputs, but for the last stage's of a ConvNeXt, which stands for a final norm there.
TensorViews backbone_of(const TensorFile& file) {
  TensorViews views;
  for (const auto& [key, view] : file.tensors) {
    if (!key.starts_with(kBackbone)) continue;
    std::string own = key.substr(kBackbone.size());
    if (own.starts_with("norm0.") || own.starts_with("norm1.") || own.starts_with("norm2.")) continue;
    views.emplace(std::move(own), view);
  }
  return views;
}

struct Inferred {
  DetectorCard card;
  DetectorLayout layout;
};

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

Inferred infer(const TensorFile& file, std::vector<std::string>& notes) {
  const std::string source = file.path.string();
  Inferred result;
  result.layout.is_cascade = size_in(file, box_head_key(0, true, "fc_cls.weight"), 0) > 0;
  const RecognizedWeights backbone = recognize(backbone_of(file));
  result.layout.backbone = backbone.layout;
  NetworkConfig network = infer_network(backbone, source, notes);
  set_class_count(network, 0);

  DetectorCard& card = result.card;
  card.architecture = name_over(network, result.layout.is_cascade ? "cascade_mask_rcnn_" : "mask_rcnn_");
  DetectorConfig& config = card.detector;
  config = find_detector(card.architecture)->config;
  if (!have_same_tensors(network, config.backbone)) config.backbone = network;
  const auto to_int = [](std::int64_t size) { return static_cast<int>(std::clamp<std::int64_t>(size, 0, 1'000'000)); };
  const bool cascade = result.layout.is_cascade;
  config.classes = to_int(size_in(file, box_head_key(0, cascade, "fc_cls.weight"), 0)) - 1;
  config.box_hidden = to_int(size_in(file, box_head_key(0, cascade, "fc_cls.weight"), 1));
  config.pyramid_channels = to_int(size_in(file, "neck.fpn_convs.0.conv.weight", 0));
  const bool has_convolutions = file.tensors.contains(box_head_key(0, cascade, "shared_convs.0.conv.weight"));
  config.box_head = has_convolutions ? DetectorConfig::BoxHead::kConvolutions : DetectorConfig::BoxHead::kLinears;
  validate(config);
  if (static_cast<std::size_t>(config.classes) == coco_labels().size()) card.labels = coco_labels();
  return result;
}

ConstTensorView in_shape(ConstTensorView view, const Shape& shape) {
  view.shape = shape;
  view.strides = contiguous_strides(shape);
  return view;
}

// A linear of a block may be kept as a convolution; nothing else may have another shape.
bool fits(const TensorName& name, const Shape& found, const Shape& expected) {
  if (found == expected) return true;
  const auto as_matrix = [](const Shape& s) { return s.size() == 4 && s[2] == 1 && s[3] == 1 ? Shape{s[0], s[1]} : s; };
  if (name.form == TensorForm::kLinear) return as_matrix(found) == as_matrix(expected);
  return name.form == TensorForm::kChannelsLast && element_count(found) == element_count(expected);
}

WeightStore imported(const TensorFile& file, const DetectorConfig& config, const DetectorLayout& layout,
                     std::vector<std::string>& notes) {
  const std::string source = file.path.string();
  struct Found {
    std::string key;
    TensorName name;
    const ConstTensorView* view;
  };
  std::map<std::string, Found, std::less<>> by_own;
  std::size_t passed_over = 0;
  for (const auto& [key, view] : file.tensors) {
    if (is_buffer(key)) continue;
    if (const auto name = own_detector_name(layout, key)) {
      by_own.try_emplace(name->name, Found{key, *name, &view});
    } else {
      ++passed_over;
    }
  }
  WeightStore weights;
  for (const std::shared_ptr<const void>& owner : file.owners) weights.keep_alive(owner);
  const std::vector<TensorSpec> specs = tensor_specs(config);
  for (const TensorSpec& spec : specs) {
    const auto found = by_own.find(spec.name);
    if (found == by_own.end()) {
      const auto theirs = detector_name_in(layout, spec.name);
      throw Error(ErrorCode::kMismatch,
                  fmt::format("'{}': there is no tensor {}, which the detector needs with shape {}", source,
                              in_quotes(theirs ? theirs->name : spec.name), to_string(spec.shape)));
    }
    const auto& [key, name, view] = found->second;
    if (!fits(name, view->shape, spec.shape)) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}': {} is {}, expected {}", source, in_quotes(key),
                                                    to_string(view->shape), to_string(spec.shape)));
    }
    weights.add(spec.name, in_shape(*view, spec.shape), nullptr);
  }
  passed_over += by_own.size() - specs.size();
  if (passed_over > 0)
    notes.push_back(fmt::format("passed over {} tensors that are no part of the detector", passed_over));
  return weights;
}

}  // namespace

bool is_detector(const TensorFile& file) {
  const auto card = file.metadata.find(std::string(kCardKey));
  if (card != file.metadata.end()) return is_detector_card(card->second);
  return std::ranges::any_of(file.tensors, [](const auto& entry) { return entry.first.starts_with("roi_head."); });
}

DetectorCheckpoint read_detector(const fs::path& path, const TensorFileOptions& options) {
  const TensorFile file = open_tensor_file(weights_file(path), options);
  const std::string source = file.path.string();
  if (!is_detector(file)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' holds no detector: it has neither a detector's card nor mmdetection's heads "
                            "(roi_head.*)",
                            source));
  }
  DetectorCheckpoint checkpoint;
  checkpoint.path = file.path;
  checkpoint.notes = file.notes;
  if (const auto card = file.metadata.find(std::string(kCardKey)); card != file.metadata.end()) {
    checkpoint.has_card = true;
    checkpoint.card = detector_card_from_json(card->second, source);
    for (const std::shared_ptr<const void>& owner : file.owners) checkpoint.weights.keep_alive(owner);
    for (const auto& [key, view] : file.tensors) checkpoint.weights.add(key, view, nullptr);
    check_weights(checkpoint.weights, tensor_specs(checkpoint.card.detector), source);
    return checkpoint;
  }
  Inferred inferred = infer(file, checkpoint.notes);
  checkpoint.weights = imported(file, inferred.card.detector, inferred.layout, checkpoint.notes);
  checkpoint.card = std::move(inferred.card);
  return checkpoint;
}

void write_detector(const fs::path& path, const DetectorCard& card, const WeightStore& weights) {
  check_weights(weights, tensor_specs(card.detector), path.string());
  write_safetensors(path, {weights.all().begin(), weights.all().end()},
                    {{"format", "pt"}, {std::string(kCardKey), detector_card_to_json(card)}});
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

}  // namespace convnext
