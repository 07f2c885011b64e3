#include "detect/detector_start.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "model/checkpoint.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"
#include "model/detector_weights.h"
#include "model/formula.h"
#include "model/tensors.h"

namespace convnext {
namespace {

// The rest of a card once detector and weights' origin are settled.
void finish_card(DetectorCard& card, const DetectionSettings& settings, const std::vector<CocoCategory>& categories) {
  card.detector = with_overrides(card.detector, settings.overrides);
  card.detector.classes = static_cast<int>(categories.size());
  card.detector.frozen_stages = settings.freeze_stages;
  validate(card.detector);
  card.labels = names_of(categories);
  card.short_side = settings.short_side;
  card.long_side = settings.long_side;
  card.precision = "fp32";
  if (!settings.license.empty()) card.license = settings.license;
  card.training.clear();
}

WeightStore random_backbone(const NetworkConfig& backbone, const DetectionSettings& settings) {
  return random_weights(backbone, settings.seed, {.weights = settings.weight_init, .layer_scale = 1.0f});
}

DetectorStart start_from_detector(const DetectionSettings& settings, const std::vector<CocoCategory>& categories) {
  const DetectorCheckpoint file = read_detector(settings.init, {.limits = settings.file_limits});
  if (!settings.model.empty() && settings.model != file.card.architecture) {
    throw Error(ErrorCode::kMismatch, fmt::format("'{}' is a {}, and --model says {}: leave it out, or give weights of "
                                                  "a backbone",
                                                  settings.init.string(), file.card.architecture, settings.model));
  }
  if (!settings.overrides.empty()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("--pyramid-channels, --box-hidden and the like cannot change "
                                                         "the detector in '{}'",
                                                         settings.init.string()));
  }
  DetectorStart start;
  start.card = file.card;
  finish_card(start.card, settings, categories);
  const bool same_classes = file.card.detector.classes == start.card.detector.classes &&
                            (file.card.labels.empty() || file.card.labels == start.card.labels);
  const WeightStore backbone = random_backbone(start.card.detector.backbone, settings);
  const WeightStore fresh = random_weights(start.card.detector, settings.seed, &backbone);
  for (const TensorSpec& spec : tensor_specs(start.card.detector)) {
    const bool is_new = spec.is_classifier && !same_classes;
    start.weights.add(spec.name, converted(is_new ? fresh : file.weights, spec.name, DType::kF32));
  }
  start.note = fmt::format("beginning from '{}' ({}); {}", settings.init.string(), start.card.architecture,
                           same_classes ? "its classes are kept"
                                        : fmt::format("what depends on the classes is new: {} in place of {}",
                                                      start.card.detector.classes, file.card.detector.classes));
  return start;
}

}  // namespace

DetectorStart start_of(const DetectionSettings& settings, const std::vector<CocoCategory>& categories) {
  if (categories.empty()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("'{}' has no categories", settings.data.string()));
  }
  if (!settings.init.empty() && holds_detector(settings.init, {.limits = settings.file_limits})) {
    return start_from_detector(settings, categories);
  }
  const DetectorEntry entry = detector_named(settings.model);
  DetectorStart start;
  start.card.architecture = entry.name;
  start.card.detector = entry.config;
  if (settings.init.empty()) {
    finish_card(start.card, settings, categories);
    const WeightStore backbone = random_backbone(start.card.detector.backbone, settings);
    start.weights = random_weights(start.card.detector, settings.seed, &backbone);
    return start;
  }
  const Checkpoint file = read_checkpoint(settings.init, {}, {.limits = settings.file_limits});
  NetworkConfig backbone = file.card.network;
  set_class_count(backbone, 0);
  if (backbone.index() != start.card.detector.backbone.index()) {
    throw Error(ErrorCode::kMismatch, fmt::format("'{}' is a {}, and '{}' has another backbone", settings.init.string(),
                                                  file.card.architecture, entry.name));
  }
  if (!have_same_tensors(backbone, start.card.detector.backbone)) start.card.detector.backbone = backbone;
  start.card.mean = file.card.preprocessing.mean;
  start.card.std = file.card.preprocessing.std;
  finish_card(start.card, settings, categories);
  start.weights = random_weights(start.card.detector, settings.seed, &file.weights);
  start.note = fmt::format("the backbone begins from '{}' ({}), all else at random", settings.init.string(),
                           file.card.architecture);
  return start;
}

}  // namespace convnext
