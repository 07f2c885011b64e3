// The card of a model: everything but its weights. It travels as one JSON string in the metadata of the safetensors
// file, so that a file alone is a whole model.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "convnext/image.h"
#include "model/config.h"
#include "model/detector.h"

namespace convnext {

// The metadata key. A change that older programs would misread gets a new number.
inline constexpr std::string_view kCardKey = "convnext_card_v1";

// What the whole pipeline, preprocessing included, makes of formula_picture(width, height, seed): anybody who has the
// file can find out whether their program computes the same.
struct CheckVector {
  int width = 0;
  int height = 0;
  std::uint64_t seed = 0;
  std::vector<float> logits;  // the first 64 at most; pooled features where there is no classifier
  bool operator==(const CheckVector&) const = default;
};

struct Card {
  std::string architecture;  // a registered name
  NetworkConfig network;     // the registered network with its overrides in place
  Preprocessing preprocessing;
  std::vector<std::string> labels;  // one a class, in the order of the logits; empty when not known
  std::string precision = "fp32";   // of the stored weights: fp32, fp16, bf16, int8
  std::string license;              // SPDX name, when known
  std::string training;             // JSON object as text: data, settings, results; empty when not known
  std::optional<CheckVector> check;
};

// Of a detector. The size is that of a picture for the network: as large as both sides allow, its proportions kept.
struct DetectorCard {
  std::string architecture;                          // a registered detector's name
  DetectorConfig detector;                           // the registered one with its overrides in place
  std::array<float, 3> mean = Preprocessing().mean;  // of pixels in [0, 1]; ImageNet's
  std::array<float, 3> std = Preprocessing().std;
  int short_side = 800;  // pixels at most
  int long_side = 1333;
  std::vector<std::string> labels;  // one a class; empty when not known
  std::string precision = "fp32";   // of the stored weights
  std::string license;
  std::string training;  // JSON object as text
};

// The card as JSON: of the network only what differs from the registered one is written.
std::string card_to_json(const Card& card);

// Throws Error with the place: kDamaged, kMismatch where values contradict each other, kUnsupported beyond the limits;
// `source` names the file.
Card card_from_json(std::string_view json, std::string_view source, const FileLimits& limits = {});

// The same of a detector's: of detector and backbone what differs from the registered ones.
std::string detector_card_to_json(const DetectorCard& card);
DetectorCard detector_card_from_json(std::string_view json, std::string_view source, const FileLimits& limits = {});
// Whether a card is a detector's; false for what is no card.
bool is_detector_card(std::string_view json);

// Every value by its name in a card.
std::string network_to_json(const NetworkConfig& network);

// One of those values, as JSON.
struct NetworkField {
  std::string name;
  std::string value;
};
// All of them, in the order of a card.
std::vector<NetworkField> network_fields(const NetworkConfig& network);
// The same of a detector's, but for the backbone.
std::vector<NetworkField> detector_fields(const DetectorConfig& detector);

// A value of a network, and that of another, as JSON; empty when the other has no such value, being of another family.
struct NetworkDifference {
  std::string name;
  std::string value;
  std::string other;
};
// Where the values of `network` differ from `other`'s, in the order of a card.
std::vector<NetworkDifference> network_differences(const NetworkConfig& network, const NetworkConfig& other);

std::string preprocessing_to_json(const Preprocessing& preprocessing);
// All but the backbone.
std::string detector_to_json(const DetectorConfig& detector);

// A value of those as a person reads it: "3,4,6,3", "bottleneck", "no".
std::string card_value_text(std::string_view json);

// Only Pillow's resize has kBox and kHamming.
bool has_filter(PixelPipeline pipeline, Interpolation interpolation);

// Throws Error (kDamaged), beginning with `where`, when no picture can be prepared so: a resolution of 1 to
// kMaxResolution, finite means, deviations above 0, a crop fraction of kMinCropFraction to kMaxCropFraction, a filter
// that the pipeline has.
void validate(const Preprocessing& preprocessing, const std::string& where);

// Throws Error (kMismatch), beginning with `where`, unless there are no labels, or one a class.
void check_label_count(const std::vector<std::string>& labels, int classes, const std::string& where);

}  // namespace convnext
