#include "model/detector_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "convnext/error.h"
#include "io/quoted.h"
#include "model/registry.h"

namespace convnext {
namespace {

constexpr std::string_view kMaskRcnn = "mask_rcnn_", kCascade = "cascade_mask_rcnn_";
// What a Swin's name ends with for the input that classifiers are trained on, which says nothing of a detector's.
constexpr std::string_view kSwinInput = "_patch4_window7_224";

std::string short_name(std::string_view backbone) {
  if (backbone.ends_with(kSwinInput)) backbone.remove_suffix(kSwinInput.size());
  return std::string(backbone);
}

const RegistryEntry* find_backbone(std::string_view name) {
  if (const RegistryEntry* entry = find_architecture(name)) return entry;
  return find_architecture(std::string(name) + std::string(kSwinInput));
}

DetectorEntry over(std::string_view prefix, const RegistryEntry& backbone) {
  return {.name = std::string(prefix) + short_name(backbone.name),
          .backbone = backbone.name,
          .config = prefix == kCascade ? cascade_mask_rcnn(backbone.network) : mask_rcnn(backbone.network),
          .box_ap = {},
          .mask_ap = {}};
}

// Over any registered network.
std::optional<DetectorEntry> named(std::string_view name) {
  for (const std::string_view prefix : {kCascade, kMaskRcnn}) {
    if (!name.starts_with(prefix)) continue;
    const RegistryEntry* backbone = find_backbone(name.substr(prefix.size()));
    if (backbone) return over(prefix, *backbone);
  }
  return std::nullopt;
}

std::vector<DetectorEntry> make_detectors() {
  std::vector<DetectorEntry> all;
  const auto add = [&all](std::string_view prefix, std::string_view backbone, double box_ap, double mask_ap) {
    DetectorEntry& entry = all.emplace_back(over(prefix, *find_backbone(backbone)));
    validate(entry.config);
    if (box_ap == 0) return;
    entry.box_ap = box_ap;
    entry.mask_ap = mask_ap;
  };
  add(kMaskRcnn, "resnet50", 0, 0);
  add(kMaskRcnn, "swin_tiny", 46.0, 41.6);
  add(kMaskRcnn, "convnext_tiny", 46.2, 41.7);
  add(kCascade, "resnet50", 46.3, 40.1);
  add(kCascade, "resnext101_32x4d", 48.1, 41.6);
  add(kCascade, "resnext101_64x4d", 48.3, 41.7);
  add(kCascade, "swin_tiny", 50.4, 43.7);
  add(kCascade, "convnext_tiny", 50.4, 43.7);
  add(kCascade, "convnext_small", 51.9, 45.0);
  add(kCascade, "convnext_base", 52.7, 45.6);
  add(kCascade, "convnext_large", 54.8, 47.6);
  add(kCascade, "convnext_xlarge", 55.2, 47.7);
  return all;
}

}  // namespace

const std::vector<DetectorEntry>& detectors() {
  static const std::vector<DetectorEntry> entries = make_detectors();
  return entries;
}

std::optional<DetectorEntry> find_detector(std::string_view name) {
  std::optional<DetectorEntry> entry = named(name);
  if (!entry) return std::nullopt;
  const auto published =
      std::ranges::find_if(detectors(), [&entry](const DetectorEntry& known) { return known.name == entry->name; });
  if (published != detectors().end()) return *published;
  try {
    validate(entry->config);
  } catch (const Error&) {
    return std::nullopt;  // a network that is no backbone
  }
  return entry;
}

DetectorEntry detector_named(std::string_view name) {
  if (std::optional<DetectorEntry> entry = find_detector(name)) return std::move(*entry);
  const std::optional<DetectorEntry> none = named(name);
  if (!none) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("there is no detector {}: give mask_rcnn_ or cascade_mask_rcnn_ before the name of a "
                            "network, as mask_rcnn_convnext_tiny (convnext list)",
                            in_quotes(name)));
  }
  try {
    validate(none->config);
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("there is no detector {}: {} is no backbone of one; {}",
                                                         in_quotes(name), none->backbone, error.what()));
  }
  return std::move(*none);
}

bool is_detector_name(std::string_view name) { return named(name).has_value(); }

}  // namespace convnext
