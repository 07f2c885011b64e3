#include "train/settings.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/names.h"

namespace convnext {
namespace {

constexpr std::array kWeightInits = {Named<WeightInit>{WeightInit::kPublished, "published"},
                                     Named<WeightInit>{WeightInit::kFanIn, "fan_in"}};
constexpr std::array kOptimizers = {Named<OptimizerKind>{OptimizerKind::kAdamW, "adamw"},
                                    Named<OptimizerKind>{OptimizerKind::kSgd, "sgd"}};
constexpr std::array kSchedules = {Named<ScheduleKind>{ScheduleKind::kCosine, "cosine"},
                                   Named<ScheduleKind>{ScheduleKind::kStep, "step"}};
constexpr std::array kCrops = {Named<TrainCrop>{TrainCrop::kNone, "none"}, Named<TrainCrop>{TrainCrop::kShift, "shift"},
                               Named<TrainCrop>{TrainCrop::kRandomResized, "random_resized"}};
constexpr std::array kPaddings = {Named<ShiftPadding>{ShiftPadding::kBlack, "black"},
                                  Named<ShiftPadding>{ShiftPadding::kReflection, "reflection"}};
constexpr std::array kFlipModes = {Named<FlipMode>{FlipMode::kRandom, "random"},
                                   Named<FlipMode>{FlipMode::kAlternating, "alternating"}};
constexpr std::array kEraseModes = {Named<EraseMode>{EraseMode::kPixel, "pixel"},
                                    Named<EraseMode>{EraseMode::kRandom, "rand"},
                                    Named<EraseMode>{EraseMode::kConstant, "const"}};
constexpr std::array kPrecisions = {Named<TrainPrecision>{TrainPrecision::kFp32, "fp32"},
                                    Named<TrainPrecision>{TrainPrecision::kBf16, "bf16"}};

void require(bool holds, std::string_view option, std::string_view expected) {
  if (!holds) throw Error(ErrorCode::kInvalidArgument, fmt::format("{} must be {}", option, expected));
}

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
  require(s.drop_path >= 0 && s.drop_path < 1, "--drop-path", "0 or more, and below 1");
  require(s.layer_scale_init > 0 && s.layer_scale_init < 1e3, "--layer-scale-init", "above 0");
  require(s.head_init_scale >= 0 && s.head_init_scale < 1e3, "--head-init-scale", "0 or more");
  require(s.freeze_stages >= 0, "--freeze-stages", "0 or more");
}

void validate_schedule(const TrainSettings& s) {
  require(s.epochs >= 1 && s.epochs <= 100'000, "--epochs", "1 to 100000");
  require(s.warmup_epochs >= 0 && s.warmup_epochs <= s.epochs, "--warmup-epochs", "0 to the number of epochs");
  require(s.batch_size >= 1 && s.batch_size <= 65'536, "--batch-size", "1 to 65536");
  require(s.accumulate >= 1 && s.accumulate <= 65'536, "--accumulate", "1 to 65536");
  require(s.lr > 0 && s.lr < 1e3, "--lr", "above 0");
  require(s.step_epochs >= 1, "--step-epochs", "1 or more");
  require(s.step_factor > 0 && s.step_factor <= 1, "--step-factor", "above 0, and at most 1");
  require(s.warmup_lr >= 0 && s.warmup_lr <= s.lr, "--warmup-lr", "0 to --lr");
  require(s.min_lr >= 0 && s.min_lr <= s.lr, "--min-lr", "0 to --lr");
}

void validate_optimizer(const TrainSettings& s) {
  require(s.beta1 >= 0 && s.beta1 < 1, "--beta1", "0 or more, and below 1");
  require(s.beta2 >= 0 && s.beta2 < 1, "--beta2", "0 or more, and below 1");
  require(s.epsilon > 0 && s.epsilon < 1, "--epsilon", "above 0, and below 1");
  require(s.momentum >= 0 && s.momentum < 1, "--momentum", "0 or more, and below 1");
  require(s.weight_decay >= 0 && s.weight_decay < 1e3, "--weight-decay", "0 or more");
  require(!s.weight_decay_end || (*s.weight_decay_end >= 0 && *s.weight_decay_end < 1e3), "--weight-decay-end",
          "0 or more");
  require(s.layer_decay > 0 && s.layer_decay <= 1, "--layer-decay", "above 0, and at most 1");
  require(s.clip_norm >= 0 && std::isfinite(s.clip_norm), "--clip-norm", "above 0, or 0 for no clipping");
  require(s.ema_decay >= 0 && s.ema_decay < 1, "--ema-decay", "0 or more, and below 1");
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

std::string_view name_of(WeightInit init) { return find_name(kWeightInits, init); }
std::string_view name_of(OptimizerKind kind) { return find_name(kOptimizers, kind); }
std::string_view name_of(ScheduleKind kind) { return find_name(kSchedules, kind); }
std::string_view name_of(TrainPrecision precision) { return find_name(kPrecisions, precision); }

std::string_view name_of(TrainCrop crop) { return find_name(kCrops, crop); }
std::string_view name_of(ShiftPadding padding) { return find_name(kPaddings, padding); }
std::string_view name_of(FlipMode mode) { return find_name(kFlipModes, mode); }
std::string_view name_of(EraseMode mode) { return find_name(kEraseModes, mode); }

WeightInit weight_init_from_name(std::string_view name) { return find_value(kWeightInits, name, "--weight-init"); }
OptimizerKind optimizer_from_name(std::string_view name) { return find_value(kOptimizers, name, "--optimizer"); }
ScheduleKind schedule_from_name(std::string_view name) { return find_value(kSchedules, name, "--schedule"); }
TrainPrecision train_precision_from_name(std::string_view name) { return find_value(kPrecisions, name, "--precision"); }

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
  validate_schedule(s);
  validate_optimizer(s);
  validate_augmentation(s);
  require(s.threads >= 0 && s.threads <= 4096, "--threads", "0 to 4096");
  require(s.workers >= 1 && s.workers <= 256, "--workers", "1 to 256");
  require(!s.cache_gigabytes || (*s.cache_gigabytes >= 0 && *s.cache_gigabytes < 1e6), "--cache-gigabytes",
          "0 or more");
  require(s.checkpoint_minutes >= 0 && std::isfinite(s.checkpoint_minutes), "--checkpoint-minutes", "0 or more");
  require(s.keep_checkpoints >= 1 && s.keep_checkpoints <= 10'000, "--keep-checkpoints", "1 to 10000");
}

Augmentation augmentation_of(const TrainSettings& settings, int resolution) {
  Augmentation augmentation = settings.augmentation;
  augmentation.crop_padding = settings.crop_padding >= 0 ? settings.crop_padding : resolution / 8;
  augmentation.rand_augment = parse_rand_augment(settings.auto_augment);
  return augmentation;
}

std::string settings_to_json(const TrainSettings& s) {
  const Augmentation& a = s.augmentation;
  nlohmann::ordered_json json = {{"data", s.data_note},
                                 {"hold_out", s.hold_out},
                                 {"epochs", s.epochs},
                                 {"warmup_epochs", s.warmup_epochs},
                                 {"batch_size", s.batch_size},
                                 {"accumulate", s.accumulate},
                                 {"schedule", name_of(s.schedule)},
                                 {"lr", s.lr},
                                 {"warmup_lr", s.warmup_lr}};
  if (s.schedule == ScheduleKind::kCosine) {
    json["min_lr"] = s.min_lr;
  } else {
    json["step_epochs"] = s.step_epochs;
    json["step_factor"] = s.step_factor;
  }
  json["optimizer"] = name_of(s.optimizer);
  if (s.optimizer == OptimizerKind::kAdamW) {
    json["beta1"] = s.beta1;
    json["beta2"] = s.beta2;
    json["epsilon"] = s.epsilon;
  } else {
    json["momentum"] = s.momentum;
  }
  json["weight_decay"] = s.weight_decay;
  json["weight_decay_end"] = s.weight_decay_end.value_or(s.weight_decay);
  json["decay_everything"] = s.decay_everything;
  json["layer_decay"] = s.layer_decay;
  if (s.layer_decay < 1) json["layer_decay_grouping"] = name_of(s.layer_decay_grouping);
  json["clip_norm"] = s.clip_norm;
  json["ema_decay"] = s.ema_decay;
  if (s.ema_decay > 0) json["ema_warmup"] = s.ema_warmup;
  json["precision"] = name_of(s.precision);
  json["drop_path"] = s.drop_path;
  json["weight_init"] = name_of(s.weight_init);
  json["layer_scale_init"] = s.layer_scale_init;
  json["head_init_scale"] = s.head_init_scale;
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
  json["seed"] = s.seed;
  return json.dump();
}

}  // namespace convnext
