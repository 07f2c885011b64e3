// Everything that decides what a training run does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "convnext/image.h"
#include "model/card.h"
#include "model/config.h"
#include "model/formula.h"
#include "train/augmentation.h"
#include "train/layer_decay.h"

namespace convnext {

enum class OptimizerKind { kAdamW, kSgd };
enum class ScheduleKind { kCosine, kStep };
enum class TrainPrecision { kFp32, kBf16 };

struct TrainSettings {
  // Data and results
  std::filesystem::path data;      // holds train, and val or test: a folder a class in each, or shards
  std::filesystem::path held_out;  // holds val or test where `data` is not to; or is itself such a split
  std::filesystem::path output;    // the run folder
  std::string data_note;           // which data this is, for the card
  std::string license;             // of the model, for the card
  double hold_out = 0.0;           // the part of train that is kept for validation where there is no val and no test

  // Network
  std::string model = "convnext_tiny";
  NetworkOverrides overrides;             // the class count comes from the data
  int width_divisor = 1;                  // of all channels of the registered network; before the overrides
  std::filesystem::path init;             // weights to begin from; empty: random ones
  int resolution = 0;                     // 0: the architecture's own, or that of `init`
  std::optional<double> crop_fraction{};  // of evaluation, and of the card; otherwise 1
  std::optional<CropMode> crop_mode{};    // the same; otherwise the architecture's own
  double drop_path = 0.1;
  WeightInit weight_init = WeightInit::kPublished;  // of random weights, as is
  double layer_scale_init = 1e-6;
  double head_init_scale = 1.0;  // for a classifier of random weights
  int freeze_stages = 0;         // the stem and this many stages are not trained; 0: all is

  // Schedule
  int epochs = 300;
  int warmup_epochs = 20;
  int batch_size = 128;
  int accumulate = 1;  // batches a step
  ScheduleKind schedule = ScheduleKind::kCosine;
  int step_epochs = 30;      // of kStep: the learning rate falls after each so many epochs
  double step_factor = 0.1;  // to this part of what it was
  double lr = 4e-3;
  double warmup_lr = 0.0;
  double min_lr = 1e-6;

  // Optimiser
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0.9;
  double weight_decay = 0.05;
  std::optional<double> weight_decay_end{};  // otherwise the same to the end
  bool decay_everything = false;             // biases, norms and layer scale too
  double layer_decay = 1.0;
  LayerGrouping layer_decay_grouping = LayerGrouping::kGrouped;
  double clip_norm = 0.0;   // 0: gradients are not clipped
  double ema_decay = 0.0;   // 0: no moving average
  bool ema_warmup = false;  // smaller decays at first
  TrainPrecision precision = TrainPrecision::kFp32;

  // Targets and augmentation
  double label_smoothing = 0.1;
  double mixup = 0.0;   // alpha of the Beta distribution; 0: none
  double cutmix = 0.0;  // the same
  double mix_probability = 1.0;
  double mix_switch_probability = 0.5;  // that a mixed batch is one of cutmix, where both are on
  Augmentation augmentation;            // but for its crop_padding and rand_augment, which follow from:
  int crop_padding = -1;                // pixels; -1: an eighth of the resolution
  std::string auto_augment;             // RandAugment as timm writes it; empty: none

  // The machine, and what does not change the result
  std::uint64_t seed = 0;
  std::string device = "cpu";
  int threads = 0;  // 0: as many as the process may use
  int workers = 1;
  std::optional<double> cache_gigabytes{};  // memory for decoded pictures; otherwise a quarter of the machine's
  double checkpoint_minutes = 10.0;  // at most between two checkpoints; the end of an epoch makes one in any case
  int keep_checkpoints = 2;
  std::filesystem::path reference_log;  // log.jsonl of another run to compare with
  bool resume = false;
  std::filesystem::path resume_from;  // a checkpoint; empty: the newest whole one of the run folder

  int effective_batch() const { return batch_size * accumulate; }
};

// Throws Error (kInvalidArgument) at the first value that cannot work, with its option.
void validate(const TrainSettings& settings);

// The whole augmentation of pictures of `resolution`. Throws Error (kInvalidArgument) when `auto_augment` is no policy.
Augmentation augmentation_of(const TrainSettings& settings, int resolution);

// What a run learned with, as a JSON object; the same for equal runs: no path, host, thread count or time. A run can
// only be resumed with the settings that it began with.
std::string settings_to_json(const TrainSettings& settings);

// The names used on command lines, in recipes and cards. Parsing throws Error with the known names.
std::string_view name_of(WeightInit init);
std::string_view name_of(OptimizerKind kind);
std::string_view name_of(ScheduleKind kind);
std::string_view name_of(TrainPrecision precision);
std::string_view name_of(TrainCrop crop);
std::string_view name_of(ShiftPadding padding);
std::string_view name_of(FlipMode mode);
std::string_view name_of(EraseMode mode);
WeightInit weight_init_from_name(std::string_view name);
OptimizerKind optimizer_from_name(std::string_view name);
ScheduleKind schedule_from_name(std::string_view name);
TrainPrecision train_precision_from_name(std::string_view name);
TrainCrop train_crop_from_name(std::string_view name);
ShiftPadding shift_padding_from_name(std::string_view name);
FlipMode flip_mode_from_name(std::string_view name);
EraseMode erase_mode_from_name(std::string_view name);
// "bilinear", "bicubic"; nothing for "random".
std::optional<Interpolation> train_interpolation_from_name(std::string_view name);

}  // namespace convnext
