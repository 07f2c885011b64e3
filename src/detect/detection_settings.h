// Everything that decides what the training of a detector does.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "detect/detection_augmentation.h"
#include "model/detector.h"
#include "train/run_settings.h"

namespace convnext {

// Values in place of a registered detector's, for smaller ones.
struct DetectorOverrides {
  std::optional<int> pyramid_channels{};
  std::optional<int> box_hidden{};
  std::optional<double> anchor_scale{};
  std::optional<int> anchor_samples{};
  std::optional<int> box_samples{};
  std::optional<int> proposals{};  // of a picture that reach the heads, in training and after

  bool empty() const { return *this == DetectorOverrides(); }
  bool operator==(const DetectorOverrides&) const = default;
};

// `config` with them in place. Throws Error (kInvalidArgument) when there can be no such detector.
DetectorConfig with_overrides(DetectorConfig config, const DetectorOverrides& overrides);

// The defaults are those of mmdetection's configurations for ConvNeXt: AdamW, 36 epochs of 16 pictures a step, and a
// tenth of the learning rate after the 27th and the 33rd.
struct DetectionSettings : RunSettings {
  DetectionSettings();

  // Data
  std::filesystem::path data;               // COCO's JSON of the pictures to learn from
  std::filesystem::path pictures;           // the folder that they lie in
  std::filesystem::path held_out;           // COCO's JSON of others, to evaluate on; may be empty
  std::filesystem::path held_out_pictures;  // the folder of those; empty: `pictures`

  // Detector
  std::string model;  // a registered detector; empty: that of `init`
  DetectorOverrides overrides;
  std::filesystem::path init;  // weights of the backbone, or of a whole detector; empty: random ones
  int freeze_stages = 0;       // the stem and this many stages of the backbone are not trained; 0: all is

  // Pictures
  DetectionAugmentation augmentation;
  int short_side = 800;  // of evaluation and the card: as large as both allow
  int long_side = 1333;

  int evaluation_epochs = 1;  // between two evaluations; the last epoch has one in any case
};

// Throws Error (kInvalidArgument) at the first value that cannot work, with its option.
void validate(const DetectionSettings& settings);

// What a run learned with, as a JSON object; the same for equal runs: no path, host, thread count or time.
std::string settings_to_json(const DetectionSettings& settings);

}  // namespace convnext
