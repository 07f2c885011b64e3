#include "detect/detection_settings.h"

#include <nlohmann/json.hpp>

#include "convnext/error.h"

namespace convnext {
namespace {

// Every override by its name, with the fields of a detector that it stands for.
template <typename Visit>
void visit_overrides(const DetectorOverrides& overrides, const Visit& visit) {
  visit("pyramid_channels", overrides.pyramid_channels, &DetectorConfig::pyramid_channels);
  visit("box_hidden", overrides.box_hidden, &DetectorConfig::box_hidden);
  visit("anchor_scale", overrides.anchor_scale, &DetectorConfig::anchor_scale);
  visit("anchor_samples", overrides.anchor_samples, &DetectorConfig::anchor_samples);
  visit("box_samples", overrides.box_samples, &DetectorConfig::box_samples);
  visit("proposals", overrides.proposals, &DetectorConfig::proposals, &DetectorConfig::proposals_train,
        &DetectorConfig::level_proposals, &DetectorConfig::level_proposals_train);
}

}  // namespace

DetectorConfig with_overrides(DetectorConfig config, const DetectorOverrides& overrides) {
  visit_overrides(overrides, [&config](const char*, const auto& value, auto... fields) {
    if (value) ((config.*fields = *value), ...);
  });
  validate(config);
  return config;
}

DetectionSettings::DetectionSettings() {
  epochs = 36;
  warmup_epochs = 0;
  batch_size = 2;
  accumulate = 8;
  schedule = ScheduleKind::kStep;
  milestones = {27, 33};
  lr = 1e-4;
  drop_path = 0.0;
}

void validate(const DetectionSettings& s) {
  validate(static_cast<const RunSettings&>(s));
  validate(s.augmentation);
  constexpr int kMostPixels = 65'535;
  require_setting(s.short_side >= 1 && s.short_side <= kMostPixels, "--short-side", "1 to 65535");
  require_setting(s.long_side >= s.short_side && s.long_side <= kMostPixels, "--long-side",
                  "--short-side or more, and at most 65535");
  require_setting(s.freeze_stages >= 0 && s.freeze_stages <= 4, "--freeze-stages", "0 to 4");
  require_setting(s.evaluation_epochs >= 1, "--evaluation-epochs", "1 or more");
}

std::string settings_to_json(const DetectionSettings& s) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(run_settings_to_json(s));
  visit_overrides(s.overrides, [&json](const char* name, const auto& value, auto...) {
    if (value) json[name] = *value;
  });
  json["freeze_stages"] = s.freeze_stages;
  const DetectionAugmentation& a = s.augmentation;
  json["flip"] = a.flip_probability;
  json["short_sides"] = a.short_sides;
  json["long_side"] = a.long_side;
  json["crop_probability"] = a.crop_probability;
  if (a.crop_probability > 0) {
    json["crop_short_sides"] = a.crop_short_sides;
    json["crop_sizes"] = {a.least_crop, a.largest_crop};
  }
  return json.dump();
}

}  // namespace convnext
