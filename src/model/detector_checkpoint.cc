#include "model/detector_checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "convnext/error.h"
#include "io/pytorch.h"
#include "io/quoted.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/coco_labels.h"
#include "model/detector_registry.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTensors = "the tensors";

// What tensors tell of a detector, and of its backbone whatever they do not.
constexpr std::string_view kToldByTensors[] = {"output_norms", "pyramid_channels", "classes", "box_head", "box_hidden"};
constexpr std::string_view kNotToldByTensors[] = {"norm_eps", "head_norm_eps", "activation", "pads_windows"};
// What makes no difference once a detector is trained.
constexpr std::string_view kOfTraining[] = {
    "frozen_stages",    "anchor_positive",       "anchor_negative", "anchors_inside", "anchor_samples",
    "anchor_smooth_l1", "level_proposals_train", "proposals_train", "box_loss",       "box_samples",
    "low_quality",      "stage_overlaps",        "stage_weights"};

template <std::size_t kCount>
bool is_one_of(const std::string_view (&names)[kCount], std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

// For the values of a card that was put together.
std::map<std::string, std::string> origins_of(const DetectorCard& card) {
  const std::string registered = fmt::format("the registered {}", card.architecture);
  std::map<std::string, std::string> origins = {{"architecture", std::string(kTensors)},
                                                {"precision", std::string(kTensors)},
                                                {"mean", "ImageNet, as of all registered detectors"},
                                                {"std", "ImageNet, as of all registered detectors"},
                                                {"short_side", "mmdetection's settings"},
                                                {"long_side", "mmdetection's settings"}};
  for (const NetworkField& field : detector_fields(card.detector)) {
    origins[field.name] = is_one_of(kToldByTensors, field.name) ? kTensors : registered;
  }
  const bool is_registered = card.detector.backbone == find_detector(card.architecture).value().config.backbone;
  for (const NetworkField& field : network_fields(card.detector.backbone)) {
    std::string& origin = origins["backbone." + field.name];
    origin =
        is_one_of(kNotToldByTensors, field.name) ? (is_registered ? registered : "networks of its kind") : kTensors;
  }
  return origins;
}

// Labels of a card that is put together: what the checkpoint calls its classes. Where it says nothing, 80 are COCO's.
void take_labels(const NamedClasses& named, DetectorCheckpointCard& result) {
  DetectorCard& card = result.card;
  const auto classes = static_cast<std::size_t>(card.detector.classes);
  constexpr std::string_view kAdvice = "they go by their numbers ('convnext convert --labels FILE' names them)";
  if (named.key.empty()) {
    if (classes != coco_labels().size()) return;
    card.labels = coco_labels();
    result.origins["labels"] = "COCO's, by their number";
  } else if (named.names.empty()) {
    result.notes.push_back(
        fmt::format("what the checkpoint has as {} is no list of names: the {} classes have none, "
                    "and {}",
                    named.key, classes, kAdvice));
  } else if (named.names.size() != classes) {
    result.notes.push_back(
        fmt::format("the checkpoint's {} names {} classes ({}), and its heads have {}: the names "
                    "are left out, and {}",
                    named.key, named.names.size(), examples_of(named.names, 3), classes, kAdvice));
  } else {
    card.labels = named.names;
    result.origins["labels"] = fmt::format("the checkpoint's {}", named.key);
  }
}

// Throws Error (kUnsupported) when the detector needs a tensor whose type is not read.
void require_read_types(const TensorFile& file, const RecognizedDetector& weights) {
  for (const auto& [key, what] : file.unread) {
    const DetectorLayout layout{weights.layout, weights.is_cascade};
    const bool is_needed = weights.naming == DetectorNaming::kOwn ? detector_name_in(layout, key).has_value()
                                                                  : own_detector_name(layout, key).has_value();
    if (!is_needed) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}': tensor {} is {}, which is not read here; store it as F16, BF16 or F32",
                            file.path.string(), in_quotes(key), what));
  }
}

// What a detector would lose if it were read as `back`: of what it computes, not of how it was trained.
std::vector<std::string> lost_of_detector(const DetectorConfig& detector, const DetectorConfig& back) {
  std::vector<std::string> lost = lost_of(detector.backbone, back.backbone);
  const std::vector<NetworkField> read = detector_fields(back);
  for (std::size_t i = 0; const NetworkField& field : detector_fields(detector)) {
    const std::string& would_be = read[i++].value;
    if (is_one_of(kOfTraining, field.name) || field.value == would_be) continue;
    lost.push_back(fmt::format("{} {} (it would be read as {})", field.name, field.value, would_be));
  }
  return lost;
}

void require_whole_without_card(const fs::path& path, const DetectorConfig& detector, const TensorViews& views) {
  std::vector<std::string> ignored;
  const InferredDetector back = infer_detector(recognize_detector(views), path.string(), ignored);
  const std::vector<std::string> lost = lost_of_detector(detector, back.config);
  if (lost.empty()) return;
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("'{}' would be another detector: a PyTorch file holds no card, and its tensors do not tell {}; "
                  "write safetensors",
                  path.string(), fmt::join(lost, ", ")));
}

}  // namespace

bool is_detector(const TensorFile& file) {
  const auto card = file.metadata.find(std::string(kCardKey));
  if (card != file.metadata.end()) return is_detector_card(card->second);
  return has_detector_heads(file.tensors);
}

bool holds_detector(const fs::path& path, const TensorFileOptions& options) {
  try {
    return is_detector(open_tensor_file(weights_file(path), options));
  } catch (const Error&) {
    return false;
  }
}

DetectorCheckpointCard card_of(const TensorFile& file, const RecognizedDetector& weights, const FileLimits& limits) {
  const std::string source = file.path.string();
  if (!is_detector(file)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' holds no detector: it has neither a detector's card nor mmdetection's heads "
                            "(roi_head.*)",
                            source));
  }
  require_read_types(file, weights);
  DetectorCheckpointCard result;
  if (std::optional<std::string> note = note_on_passed_over(weights)) result.notes.push_back(std::move(*note));
  if (const auto card = file.metadata.find(std::string(kCardKey)); card != file.metadata.end()) {
    result.has_card = true;
    result.card = detector_card_from_json(card->second, source, limits);
    return result;
  }
  InferredDetector inferred = infer_detector(weights, source, result.notes);
  DetectorCard& card = result.card;
  card.architecture = std::move(inferred.architecture);
  card.detector = std::move(inferred.config);
  card.precision = precision_name(weights.tensors.begin()->second.view.dtype);
  result.origins = origins_of(card);
  take_labels(file.classes, result);
  return result;
}

DetectorCheckpoint read_detector(const fs::path& path, const TensorFileOptions& options) {
  const TensorFile file = open_tensor_file(weights_file(path), options);
  const RecognizedDetector weights = recognize_detector(file.tensors);
  DetectorCheckpoint checkpoint{card_of(file, weights, options.limits), {}, file.path, weights.naming};
  const std::vector<Misfit> misfits = find_misfits(weights, checkpoint.card.detector);
  if (!misfits.empty()) {
    const std::string more =
        misfits.size() == 1
            ? ""
            : fmt::format(", and {} more do not fit ('convnext inspect' lists them)", misfits.size() - 1);
    throw Error(ErrorCode::kMismatch, fmt::format("'{}': {}{}", file.path.string(), misfits.front().message(), more));
  }
  checkpoint.weights = import_weights(weights, checkpoint.card.detector, file.owners);
  checkpoint.notes.insert(checkpoint.notes.begin(), file.notes.begin(), file.notes.end());
  return checkpoint;
}

void write_detector(const fs::path& path, const DetectorCard& card, const WeightStore& weights,
                    WrittenDetectorLayout layout) {
  check_weights(weights, tensor_specs(card.detector), path.string());
  const TensorViews views = export_weights(weights, card.detector, layout);
  if (is_pytorch_output(path)) {
    require_whole_without_card(path, card.detector, views);
    write_pytorch(path, std::vector<std::pair<std::string, ConstTensorView>>(views.begin(), views.end()));
    return;
  }
  write_safetensors(safetensors_output(path), {views.begin(), views.end()},
                    {{"format", "pt"}, {std::string(kCardKey), detector_card_to_json(card)}});
}

}  // namespace convnext
