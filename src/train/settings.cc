#include "train/settings.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "model/registry.h"

namespace convnext {
namespace {

void require(bool holds, std::string_view option, std::string_view expected) {
  if (!holds) throw Error(ErrorCode::kInvalidArgument, fmt::format("{} must be {}", option, expected));
}

}  // namespace

void validate(const TrainSettings& s) {
  require(!s.output.empty(), "--output", "given: the folder of the run");
  require(s.epochs >= 1 && s.epochs <= 100'000, "--epochs", "1 to 100000");
  require(s.warmup_epochs >= 0 && s.warmup_epochs <= s.epochs, "--warmup-epochs", "0 to the number of epochs");
  require(s.batch_size >= 1 && s.batch_size <= 65'536, "--batch-size", "1 to 65536");
  require(s.resolution >= 0 && s.resolution <= 4096, "--resolution", "1 to 4096");
  require(s.lr > 0 && s.lr < 1e3, "--lr", "above 0");
  require(s.min_lr >= 0 && s.min_lr <= s.lr, "--min-lr", "0 to --lr");
  require(s.weight_decay >= 0 && s.weight_decay < 1e3, "--weight-decay", "0 or more");
  require(s.label_smoothing >= 0 && s.label_smoothing < 1, "--label-smoothing", "0 or more, and below 1");
  require(s.drop_path >= 0 && s.drop_path < 1, "--drop-path", "0 or more, and below 1");
  require(s.layer_scale_init > 0 && s.layer_scale_init < 1e3, "--layer-scale-init", "above 0");
  require(s.head_init_scale >= 0 && s.head_init_scale < 1e3, "--head-init-scale", "0 or more");
  require(s.ema_decay >= 0 && s.ema_decay < 1, "--ema-decay", "0 or more, and below 1");
  require(s.crop_padding >= -1 && s.crop_padding <= 4096, "--crop-padding",
          "0 to 4096, or -1 for an eighth of the side");
  require(s.threads >= 0 && s.threads <= 4096, "--threads", "0 to 4096");
  require(s.workers >= 1 && s.workers <= 256, "--workers", "1 to 256");
  require(!s.overrides.classes, "--classes", "left out: the folders of the data are the classes");
  require(!s.overrides.input_channels || *s.overrides.input_channels == 3, "--input-channels",
          "3: pictures are decoded to RGB");
}

Card card_of(const TrainSettings& settings, const std::vector<std::string>& labels) {
  const RegistryEntry& entry = architecture(settings.model);
  Card card;
  card.architecture = entry.name;
  card.network = with_overrides(entry.network, settings.overrides);
  set_class_count(card.network, static_cast<int>(labels.size()));
  validate(card.network);
  card.preprocessing = entry.preprocessing;
  if (settings.resolution > 0) card.preprocessing.resolution = settings.resolution;
  card.preprocessing.crop_fraction = 1.0;
  card.labels = labels;
  return card;
}

int crop_padding_of(const TrainSettings& settings, int resolution) {
  return settings.crop_padding >= 0 ? settings.crop_padding : resolution / 8;
}

std::string settings_to_json(const TrainSettings& s) {
  nlohmann::ordered_json json = {{"data", s.data_note},
                                 {"epochs", s.epochs},
                                 {"warmup_epochs", s.warmup_epochs},
                                 {"batch_size", s.batch_size},
                                 {"optimizer", "adamw"},
                                 {"lr", s.lr},
                                 {"min_lr", s.min_lr},
                                 {"weight_decay", s.weight_decay},
                                 {"label_smoothing", s.label_smoothing},
                                 {"drop_path", s.drop_path},
                                 {"layer_scale_init", s.layer_scale_init},
                                 {"head_init_scale", s.head_init_scale},
                                 {"ema_decay", s.ema_decay},
                                 {"flip", s.flip},
                                 {"crop_padding", s.crop_padding},
                                 {"seed", s.seed}};
  return json.dump();
}

}  // namespace convnext
