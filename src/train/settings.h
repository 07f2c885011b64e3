// Everything that decides what a training run does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/card.h"
#include "model/config.h"

namespace convnext {

struct TrainSettings {
  std::filesystem::path data;    // holds train, and val or test: a folder a class in each
  std::filesystem::path output;  // the run folder
  std::string data_note;         // which data this is, for the card

  std::string model = "convnext_tiny";
  NetworkOverrides overrides;  // the class count comes from the data
  int resolution = 0;          // 0: the architecture's own

  int epochs = 300;
  int warmup_epochs = 20;
  int batch_size = 128;
  double lr = 4e-3;
  double min_lr = 1e-6;
  double weight_decay = 0.05;
  double label_smoothing = 0.1;
  double drop_path = 0.1;
  double layer_scale_init = 1e-6;
  double head_init_scale = 1.0;
  double ema_decay = 0.0;  // 0: no moving average
  bool flip = true;
  int crop_padding = -1;  // pixels; -1: an eighth of the resolution

  std::uint64_t seed = 0;
  int threads = 0;  // 0: as many as the process may use
  int workers = 1;
  bool resume = false;
};

// Throws Error (kInvalidArgument) at the first value that cannot work, with its option.
void validate(const TrainSettings& settings);

// The card of what the settings will train: network with its overrides and `labels.size()` classes, preprocessing
// without a margin around the crop.
Card card_of(const TrainSettings& settings, const std::vector<std::string>& labels);

int crop_padding_of(const TrainSettings& settings, int resolution);

// What a run learned with, as a JSON object; the same for equal runs: no path, host, thread count or time. A run can
// only be resumed with the settings that it began with.
std::string settings_to_json(const TrainSettings& settings);

}  // namespace convnext
