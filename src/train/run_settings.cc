#include "train/run_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/names.h"
#include "train/schedule.h"

namespace convnext {
namespace {

constexpr std::array kOptimizers = {Named<OptimizerKind>{OptimizerKind::kAdamW, "adamw"},
                                    Named<OptimizerKind>{OptimizerKind::kSgd, "sgd"}};
constexpr std::array kSchedules = {Named<ScheduleKind>{ScheduleKind::kCosine, "cosine"},
                                   Named<ScheduleKind>{ScheduleKind::kStep, "step"}};
constexpr std::array kPrecisions = {Named<TrainPrecision>{TrainPrecision::kFp32, "fp32"},
                                    Named<TrainPrecision>{TrainPrecision::kBf16, "bf16"}};
constexpr std::array kWeightInits = {Named<WeightInit>{WeightInit::kPublished, "published"},
                                     Named<WeightInit>{WeightInit::kFanIn, "fan_in"}};

constexpr auto& require = require_setting;

void validate_schedule(const RunSettings& s) {
  require(s.epochs >= 1 && s.epochs <= 100'000, "--epochs", "1 to 100000");
  require(s.warmup_epochs >= 0 && s.warmup_epochs <= s.epochs, "--warmup-epochs", "0 to the number of epochs");
  require(s.warmup_steps >= 0, "--warmup-steps", "0 or more");
  require(s.batch_size >= 1 && s.batch_size <= 65'536, "--batch-size", "1 to 65536");
  require(s.accumulate >= 1 && s.accumulate <= 65'536, "--accumulate", "1 to 65536");
  require(s.lr > 0 && s.lr < 1e3, "--lr", "above 0");
  require(s.step_epochs >= 1, "--step-epochs", "1 or more");
  require(std::ranges::is_sorted(s.milestones) && (s.milestones.empty() || s.milestones.front() >= 1), "--milestones",
          "epochs in ascending order, from 1 on");
  require(s.step_factor > 0 && s.step_factor <= 1, "--step-factor", "above 0, and at most 1");
  require(s.warmup_lr >= 0 && s.warmup_lr <= s.lr, "--warmup-lr", "0 to --lr");
  require(s.min_lr >= 0 && s.min_lr <= s.lr, "--min-lr", "0 to --lr");
}

void validate_optimizer(const RunSettings& s) {
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
  require(s.drop_path >= 0 && s.drop_path < 1, "--drop-path", "0 or more, and below 1");
}

}  // namespace

std::string_view name_of(OptimizerKind kind) { return find_name(kOptimizers, kind); }
std::string_view name_of(ScheduleKind kind) { return find_name(kSchedules, kind); }
std::string_view name_of(TrainPrecision precision) { return find_name(kPrecisions, precision); }
std::string_view name_of(WeightInit init) { return find_name(kWeightInits, init); }

OptimizerKind optimizer_from_name(std::string_view name) { return find_value(kOptimizers, name, "--optimizer"); }
ScheduleKind schedule_from_name(std::string_view name) { return find_value(kSchedules, name, "--schedule"); }
TrainPrecision train_precision_from_name(std::string_view name) { return find_value(kPrecisions, name, "--precision"); }
WeightInit weight_init_from_name(std::string_view name) { return find_value(kWeightInits, name, "--weight-init"); }

void require_setting(bool holds, std::string_view option, std::string_view expected) {
  if (!holds) throw Error(ErrorCode::kInvalidArgument, fmt::format("{} must be {}", option, expected));
}

void validate(const RunSettings& s) {
  validate_schedule(s);
  validate_optimizer(s);
  require(s.threads >= 0 && s.threads <= 4096, "--threads", "0 to 4096");
  require(s.workers >= 1 && s.workers <= 256, "--workers", "1 to 256");
  require(s.checkpoint_minutes >= 0 && std::isfinite(s.checkpoint_minutes), "--checkpoint-minutes", "0 or more");
  require(s.keep_checkpoints >= 1 && s.keep_checkpoints <= 10'000, "--keep-checkpoints", "1 to 10000");
}

std::string run_settings_to_json(const RunSettings& s) {
  nlohmann::ordered_json json = {{"data", s.data_note}, {"epochs", s.epochs}};
  if (s.warmup_steps > 0) {
    json["warmup_steps"] = s.warmup_steps;
  } else {
    json["warmup_epochs"] = s.warmup_epochs;
  }
  json["batch_size"] = s.batch_size;
  json["accumulate"] = s.accumulate;
  json["schedule"] = name_of(s.schedule);
  json["lr"] = s.lr;
  json["warmup_lr"] = s.warmup_lr;
  if (s.schedule == ScheduleKind::kCosine) {
    json["min_lr"] = s.min_lr;
  } else {
    if (s.milestones.empty()) {
      json["step_epochs"] = s.step_epochs;
    } else {
      json["milestones"] = s.milestones;
    }
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
  json["seed"] = s.seed;
  return json.dump();
}

std::vector<double> learning_rates(const RunSettings& s, std::int64_t steps_an_epoch) {
  const std::int64_t steps = steps_an_epoch * s.epochs;
  const Warmup warmup{.steps = s.warmup_steps > 0 ? s.warmup_steps : steps_an_epoch * s.warmup_epochs,
                      .start = s.warmup_lr};
  if (s.schedule == ScheduleKind::kCosine) return cosine_schedule(s.lr, s.min_lr, steps, warmup);
  if (s.milestones.empty()) return step_schedule(s.lr, s.step_factor, steps_an_epoch * s.step_epochs, steps, warmup);
  std::vector<std::int64_t> falls;
  for (const int epoch : s.milestones) falls.push_back(steps_an_epoch * epoch);
  return milestone_schedule(s.lr, s.step_factor, falls, steps, warmup);
}

std::vector<double> weight_decays(const RunSettings& s, std::int64_t steps_an_epoch) {
  return cosine_schedule(s.weight_decay, s.weight_decay_end.value_or(s.weight_decay), steps_an_epoch * s.epochs);
}

}  // namespace convnext
