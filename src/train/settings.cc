#include "train/settings.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/names.h"

namespace convnext {
namespace {

constexpr std::array kCrops = {Named<TrainCrop>{TrainCrop::kNone, "none"}, Named<TrainCrop>{TrainCrop::kShift, "shift"},
                               Named<TrainCrop>{TrainCrop::kRandomResized, "random_resized"}};
constexpr std::array kPaddings = {Named<ShiftPadding>{ShiftPadding::kBlack, "black"},
                                  Named<ShiftPadding>{ShiftPadding::kReflection, "reflection"}};
constexpr std::array kFlipModes = {Named<FlipMode>{FlipMode::kRandom, "random"},
                                   Named<FlipMode>{FlipMode::kAlternating, "alternating"}};
constexpr std::array kEraseModes = {Named<EraseMode>{EraseMode::kPixel, "pixel"},
                                    Named<EraseMode>{EraseMode::kRandom, "rand"},
                                    Named<EraseMode>{EraseMode::kConstant, "const"}};

constexpr auto& require = require_setting;

void validate_network(const TrainSettings& s) {
  require(s.resolution >= 0 && s.resolution <= kMaxResolution, "--resolution", fmt::format("1 to {}", kMaxResolution));
  require(!s.overrides.classes, "--classes", "left out: the folders of the data are the classes");
  require(s.width_divisor >= 1, "--width-divisor", "1 or more");
  require(!s.overrides.input_channels || *s.overrides.input_channels == 3, "--input-channels",
          "3: pictures are decoded to RGB");
  require(s.init.empty() || (s.overrides.empty() && s.width_divisor == 1), "--init",
          "given without --depths, --dims, --kernel-size, --patch-size and --width-divisor: the file says what its "
          "network is");
  require(!s.crop_fraction || (*s.crop_fraction >= 0.01 && *s.crop_fraction <= 1), "--crop-fraction", "0.01 to 1");
  require(s.layer_scale_init > 0 && s.layer_scale_init < 1e3, "--layer-scale-init", "above 0");
  require(s.head_init_scale >= 0 && s.head_init_scale < 1e3, "--head-init-scale", "0 or more");
  require(s.dropout >= 0 && s.dropout < 1, "--dropout", "0 or more, and below 1");
  require(s.freeze_stages >= 0, "--freeze-stages", "0 or more");
}

void validate_augmentation(const TrainSettings& s) {
  require(s.label_smoothing >= 0 && s.label_smoothing < 1, "--label-smoothing", "0 or more, and below 1");
  require(s.mixup >= 0 && s.mixup <= 100, "--mixup", "0 to 100");
  require(s.cutmix >= 0 && s.cutmix <= 100, "--cutmix", "0 to 100");
  require(s.mix_probability >= 0 && s.mix_probability <= 1, "--mix-probability", "0 to 1");
  require(s.mix_switch_probability >= 0 && s.mix_switch_probability <= 1, "--mix-switch-probability", "0 to 1");
  require((s.mixup == 0 && s.cutmix == 0) || s.batch_size % 2 == 0, "--batch-size",
          "even with --mixup or --cutmix: pictures are mixed in pairs");
  require(s.crop_padding >= -1 && s.crop_padding <= 4096, "--crop-padding",
          "0 to 4096, or -1 for an eighth of the side");
  validate(augmentation_of(s, s.resolution));
}

}  // namespace

std::string_view name_of(TrainCrop crop) { return find_name(kCrops, crop); }
std::string_view name_of(ShiftPadding padding) { return find_name(kPaddings, padding); }
std::string_view name_of(FlipMode mode) { return find_name(kFlipModes, mode); }
std::string_view name_of(EraseMode mode) { return find_name(kEraseModes, mode); }

TrainCrop train_crop_from_name(std::string_view name) { return find_value(kCrops, name, "--train-crop"); }
ShiftPadding shift_padding_from_name(std::string_view name) { return find_value(kPaddings, name, "--crop-fill"); }
FlipMode flip_mode_from_name(std::string_view name) { return find_value(kFlipModes, name, "--flip-mode"); }
EraseMode erase_mode_from_name(std::string_view name) { return find_value(kEraseModes, name, "--erasing-mode"); }

std::optional<Interpolation> train_interpolation_from_name(std::string_view name) {
  if (name == "random") return std::nullopt;
  return interpolation_from_name(name);
}

void validate(const TrainSettings& s) {
  require(s.hold_out >= 0 && s.hold_out < 1, "--hold-out", "0 or more, and below 1");
  validate_network(s);
  validate(static_cast<const RunSettings&>(s));
  validate_augmentation(s);
  require(!s.cache_gigabytes || (*s.cache_gigabytes >= 0 && *s.cache_gigabytes < 1e6), "--cache-gigabytes",
          "0 or more");
}

Augmentation augmentation_of(const TrainSettings& settings, int resolution) {
  Augmentation augmentation = settings.augmentation;
  augmentation.crop_padding = settings.crop_padding >= 0 ? settings.crop_padding : resolution / 8;
  augmentation.rand_augment = parse_rand_augment(settings.auto_augment);
  return augmentation;
}

std::string settings_to_json(const TrainSettings& s) {
  const Augmentation& a = s.augmentation;
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(run_settings_to_json(s));
  json["hold_out"] = s.hold_out;
  json["layer_scale_init"] = s.layer_scale_init;
  json["head_init_scale"] = s.head_init_scale;
  // Left out where it is off, so that a run from before this option can be resumed.
  if (s.dropout > 0) json["dropout"] = s.dropout;
  json["freeze_stages"] = s.freeze_stages;
  json["label_smoothing"] = s.label_smoothing;
  json["mixup"] = s.mixup;
  json["cutmix"] = s.cutmix;
  json["mix_probability"] = s.mix_probability;
  json["mix_switch_probability"] = s.mix_switch_probability;
  json["auto_augment"] = s.auto_augment;
  json["train_crop"] = name_of(a.crop);
  if (a.crop == TrainCrop::kRandomResized) {
    json["crop_scale"] = {a.resized_crop.min_area, a.resized_crop.max_area};
    json["crop_ratio"] = {a.resized_crop.min_aspect, a.resized_crop.max_aspect};
  } else if (a.crop == TrainCrop::kShift) {
    json["crop_padding"] = s.crop_padding;
    json["crop_fill"] = name_of(a.padding);
  }
  json["train_interpolation"] = a.interpolation ? name_of(*a.interpolation) : "random";
  json["flip"] = a.flip_probability;
  json["flip_mode"] = name_of(a.flip_mode);
  json["color_jitter"] = a.color_jitter;
  json["erasing"] = a.erasing.probability;
  if (a.erasing.probability > 0) json["erasing_mode"] = name_of(a.erasing.mode);
  return json.dump();
}

}  // namespace convnext
