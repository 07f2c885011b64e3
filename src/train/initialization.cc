#include "train/initialization.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

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
  // Pictures are kept in 8 bits, and trained on as the network will see them.
  if (card.preprocessing.pipeline == PixelPipeline::kDinov3) card.preprocessing.pipeline = PixelPipeline::kTorchvision;
}

// Positions are learned for the pictures that there will be, whatever size the name says.
void set_input_size(Card& card) {
  const int side = card.preprocessing.resolution;
  if (auto* vit = std::get_if<VisionTransformerConfig>(&card.network)) set_input_size(*vit, side, side);
  if (auto* swin = std::get_if<SwinConfig>(&card.network)) set_input_size(*swin, side);
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
  // A ViT resizes the positions that it has.
  if (auto* swin = std::get_if<SwinConfig>(&card.network)) set_input_size(*swin, card.preprocessing.resolution);
  return card;
}

// A tensor of a file that a run begins from, as the run's network has it: a Swin's tables of relative positions are for
// windows that may be smaller now, and of these they hold the offsets in their middle.
Tensor as_in(const TensorSpec& spec, const WeightStore& weights) {
  const Shape& shape = weights.at(spec.name).shape;
  if (shape == spec.shape) return converted(weights, spec.name, DType::kF32);
  const auto side_of = [](const Shape& table) { return std::lround(std::sqrt(static_cast<double>(table[0]))); };
  const std::int64_t from = side_of(shape), to = side_of(spec.shape), margin = (from - to) / 2, heads = shape[1];
  const std::vector<float> values = weights.floats(spec.name);
  Tensor middle = Tensor::zeros(spec.shape);
  for (std::int64_t row = 0; row < to; ++row) {
    const float* first = values.data() + ((row + margin) * from + margin) * heads;
    std::copy_n(first, to * heads, middle.values<float>().data() + row * to * heads);
  }
  return middle;
}

// What a run says of windows that do not divide their maps; empty where all do.
std::string padding_note(const Card& card) {
  const auto* swin = std::get_if<SwinConfig>(&card.network);
  if (swin == nullptr || !swin->pads_windows) return {};
  return fmt::format("windows of {} do not divide the maps of {} pixels, which are padded, as timm pads them",
                     fmt::join(swin->windows, ","), card.preprocessing.resolution);
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
  set_input_size(card);
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
    start.note = padding_note(start.card);
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
    start.weights.add(spec.name, as_in(spec, is_new ? fresh : file.weights));
  }
  start.note =
      fmt::format("beginning from '{}' ({}); its classifier is {}", file.path.string(), start.card.architecture,
                  same_classes ? "kept"
                               : fmt::format("new: {} classes in place of {}", labels.size(),
                                             classes == 0 ? "none" : std::to_string(classes)));
  if (const std::string padding = padding_note(start.card); !padding.empty()) start.note += "; " + padding;
  return start;
}

}  // namespace convnext
