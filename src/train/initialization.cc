#include "train/initialization.h"

#include <fmt/format.h>

#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/registry.h"
#include "model/roadmap.h"
#include "model/tensors.h"

namespace convnext {
namespace {

constexpr std::string_view kDefaultModel = "convnext_tiny";

void set_labels(Card& card, const std::vector<std::string>& labels) {
  set_class_count(card.network, static_cast<int>(labels.size()));
  validate(card.network);
  card.labels = labels;
}

void set_preprocessing(Card& card, const TrainSettings& settings) {
  if (settings.resolution > 0) card.preprocessing.resolution = settings.resolution;
  card.preprocessing.crop_fraction = settings.crop_fraction.value_or(1.0);
  if (settings.crop_mode) card.preprocessing.crop_mode = *settings.crop_mode;
}

// The card of a run that begins from `file`: its network and its colours, our classes.
Card card_of_file(const Checkpoint& file, const TrainSettings& settings, const std::vector<std::string>& labels) {
  Card card;
  card.architecture = file.card.architecture;
  card.network = file.card.network;
  card.preprocessing = file.card.preprocessing;
  card.license = settings.license.empty() ? file.card.license : settings.license;
  set_labels(card, labels);
  set_preprocessing(card, settings);
  return card;
}

}  // namespace

Card card_of(const TrainSettings& settings, const std::vector<std::string>& labels) {
  const RegistryEntry& entry = architecture(settings.model.empty() ? kDefaultModel : settings.model);
  Card card;
  card.architecture = entry.name;
  const NetworkConfig network =
      settings.width_divisor == 1 ? entry.network : with_width_divisor(entry.network, settings.width_divisor);
  card.network = with_overrides(network, settings.overrides);
  card.preprocessing = entry.preprocessing;
  card.license = settings.license;
  set_labels(card, labels);
  set_preprocessing(card, settings);
  // Positions are learned for the pictures that there will be, whatever size the name says.
  if (auto* vit = std::get_if<VisionTransformerConfig>(&card.network)) {
    set_input_size(*vit, card.preprocessing.resolution, card.preprocessing.resolution);
  }
  return card;
}

TrainStart start_of(const TrainSettings& settings, const std::vector<std::string>& labels) {
  const Initialisation initialisation{.weights = settings.weight_init,
                                      .layer_scale = static_cast<float>(settings.layer_scale_init),
                                      .head_scale = static_cast<float>(settings.head_init_scale)};
  TrainStart start;
  if (settings.init.empty()) {
    start.card = card_of(settings, labels);
    start.weights = random_weights(start.card.network, settings.seed, initialisation);
    return start;
  }

  const Checkpoint file = read_checkpoint(settings.init, settings.model, {.limits = settings.file_limits});
  start.card = card_of_file(file, settings, labels);
  const int classes = class_count(file.card.network);
  const bool same_classes =
      classes == static_cast<int>(labels.size()) && (file.card.labels.empty() || file.card.labels == labels);
  const WeightStore fresh = random_weights(start.card.network, settings.seed, initialisation);
  for (const TensorSpec& spec : tensor_specs(start.card.network)) {
    const bool is_new = spec.is_classifier && !same_classes;
    start.weights.add(spec.name, converted(is_new ? fresh : file.weights, spec.name, DType::kF32));
  }
  start.note =
      fmt::format("beginning from '{}' ({}); its classifier is {}", file.path.string(), start.card.architecture,
                  same_classes ? "kept"
                               : fmt::format("new: {} classes in place of {}", labels.size(),
                                             classes == 0 ? "none" : std::to_string(classes)));
  return start;
}

}  // namespace convnext
