// Everything that decides what the training of a classifier does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "convnext/image.h"
#include "model/card.h"
#include "model/config.h"
#include "train/augmentation.h"
#include "train/run_settings.h"

namespace convnext {

struct TrainSettings : RunSettings {
  // Data and results
  std::filesystem::path data;      // holds train, and val or test: a folder a class in each, or shards
  std::filesystem::path held_out;  // holds val or test where `data` is not to; or is itself such a split
  double hold_out = 0.0;           // the part of train that is kept for validation where there is no val and no test

  // Network
  std::string model = "convnext_tiny";
  NetworkOverrides overrides;             // the class count comes from the data
  int width_divisor = 1;                  // of all channels of the registered network; before the overrides
  std::filesystem::path init;             // weights to begin from; empty: random ones
  int resolution = 0;                     // 0: the architecture's own, or that of `init`
  std::optional<double> crop_fraction{};  // of evaluation, and of the card; otherwise 1
  std::optional<CropMode> crop_mode{};    // the same; otherwise the architecture's own
  double layer_scale_init = 1e-6;
  double head_init_scale = 1.0;  // for a classifier of random weights
  double dropout = 0.0;          // how often the classifier misses a feature while it learns
  int freeze_stages = 0;         // the stem and this many stages are not trained; 0: all is

  // Targets and augmentation
  double label_smoothing = 0.1;
  double mixup = 0.0;   // alpha of the Beta distribution; 0: none
  double cutmix = 0.0;  // the same
  double mix_probability = 1.0;
  double mix_switch_probability = 0.5;  // that a mixed batch is one of cutmix, where both are on
  Augmentation augmentation;            // but for its crop_padding and rand_augment, which follow from:
  int crop_padding = -1;                // pixels; -1: an eighth of the resolution
  std::string auto_augment;             // RandAugment as timm writes it; empty: none

  std::optional<double> cache_gigabytes{};  // memory for decoded pictures; otherwise a quarter of the machine's
  std::filesystem::path reference_log;      // log.jsonl of another run to compare with
};

// Throws Error (kInvalidArgument) at the first value that cannot work, with its option.
void validate(const TrainSettings& settings);

// The whole augmentation of pictures of `resolution`. Throws Error (kInvalidArgument) when `auto_augment` is no policy.
Augmentation augmentation_of(const TrainSettings& settings, int resolution);

// What a run learned with, as a JSON object; the same for equal runs: no path, host, thread count or time. A run can
// only be resumed with the settings that it began with.
std::string settings_to_json(const TrainSettings& settings);

// The names used on command lines, in recipes and cards. Parsing throws Error with the known names.
std::string_view name_of(TrainCrop crop);
std::string_view name_of(ShiftPadding padding);
std::string_view name_of(FlipMode mode);
std::string_view name_of(EraseMode mode);
TrainCrop train_crop_from_name(std::string_view name);
ShiftPadding shift_padding_from_name(std::string_view name);
FlipMode flip_mode_from_name(std::string_view name);
EraseMode erase_mode_from_name(std::string_view name);
// "bilinear", "bicubic"; nothing for "random".
std::optional<Interpolation> train_interpolation_from_name(std::string_view name);

}  // namespace convnext
