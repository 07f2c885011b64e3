#include "model/card.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "io/json_text.h"
#include "model/detector_registry.h"
#include "model/registry.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
concept KindList = requires {
  typename T::value_type;
}
&&std::is_enum_v<typename T::value_type>;

template <typename T>
Json to_json_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::string(name_of(value));
  } else if constexpr (KindList<T>) {
    Json names = Json::array();
    for (const auto kind : value) names.push_back(to_json_value(kind));
    return names;
  } else {
    return value;
  }
}

// The kinds that a name in a card can stand for.
template <typename T>
struct Kinds;
template <>
struct Kinds<Stem> {
  static constexpr std::array all = {Stem::kPatch, Stem::kOverlap, Stem::kOverlapTiered, Stem::kOverlapAct};
};
template <>
struct Kinds<Norm> {
  static constexpr std::array all = {Norm::kLayerNorm, Norm::kRmsNorm, Norm::kSimpleNorm};
};
template <>
struct Kinds<Activation> {
  static constexpr std::array all = {Activation::kGelu, Activation::kGeluTanh, Activation::kSilu};
};
template <>
struct Kinds<Head> {
  static constexpr std::array all = {Head::kPoolNorm, Head::kNormPool, Head::kMlp};
};
template <>
struct Kinds<ResNetConfig::Stem> {
  static constexpr std::array all = {ResNetConfig::Stem::kConvolution, ResNetConfig::Stem::kPatch};
};
template <>
struct Kinds<ResNetConfig::Block> {
  static constexpr std::array all = {ResNetConfig::Block::kBottleneck, ResNetConfig::Block::kInverted,
                                     ResNetConfig::Block::kDepthwiseFirst};
};
template <>
struct Kinds<ResNetConfig::Activation> {
  static constexpr std::array all = {ResNetConfig::Activation::kRelu, ResNetConfig::Activation::kGelu};
};
template <>
struct Kinds<ResNetConfig::Norm> {
  static constexpr std::array all = {ResNetConfig::Norm::kBatchNorm, ResNetConfig::Norm::kLayerNorm};
};
template <>
struct Kinds<EfficientNetBlock> {
  static constexpr std::array all = {EfficientNetBlock::kConvolution, EfficientNetBlock::kFusedInverted,
                                     EfficientNetBlock::kDepthwiseSeparable, EfficientNetBlock::kInverted};
};

template <>
struct Kinds<DetectorConfig::BoxHead> {
  static constexpr std::array all = {DetectorConfig::BoxHead::kLinears, DetectorConfig::BoxHead::kConvolutions};
};
template <>
struct Kinds<DetectorConfig::BoxLoss> {
  static constexpr std::array all = {DetectorConfig::BoxLoss::kDeltas, DetectorConfig::BoxLoss::kGiou};
};

// Reads members of one object and refuses what it does not know, so that a misspelt key is never silently ignored.
class Reader {
 public:
  Reader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw Error(ErrorCode::kDamaged, where_ + " is not a JSON object");
  }

  template <typename T>
  void optional(const char* key, T& value) {
    known_.push_back(key);
    const auto found = object_.find(key);
    if (found == object_.end()) return;
    read(key, *found, value);
  }

  template <typename T>
  void required(const char* key, T& value) {
    if (!object_.contains(key)) throw Error(ErrorCode::kDamaged, fmt::format("{} has no '{}'", where_, key));
    optional(key, value);
  }

  const Json* member(const char* key) {
    known_.push_back(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  std::string where(const char* key) const { return fmt::format("{}, '{}'", where_, key); }

  void refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      if (std::ranges::find(known_, key) == known_.end()) {
        throw Error(ErrorCode::kDamaged,
                    fmt::format("{} has a member '{}' that this version does not know", where_, key));
      }
    }
  }

 private:
  template <typename T>
  void read(const char* key, const Json& json, T& value) const {
    if constexpr (std::is_enum_v<T>) {
      const std::string name = json.is_string() ? json.get<std::string>() : json.dump();
      for (const T candidate : Kinds<T>::all) {
        if (name_of(candidate) == name) {
          value = candidate;
          return;
        }
      }
      throw Error(ErrorCode::kUnsupported, fmt::format("{}: there is no such value as {}", where(key), name));
    } else if constexpr (KindList<T>) {
      if (!json.is_array()) throw_kind(key);
      value.clear();
      for (const Json& item : json) read(key, item, value.emplace_back());
    } else {
      check_kind(key, json, value);
      try {
        value = json.get<T>();
      } catch (const Json::exception&) {
        throw_kind(key);
      }
    }
  }

  // nlohmann converts silently between numbers and booleans; a card must say what it means.
  template <typename T>
  void check_kind(const char* key, const Json& json, const T&) const {
    bool fits = true;
    if constexpr (std::is_same_v<T, bool>) {
      fits = json.is_boolean();
    } else if constexpr (std::is_integral_v<T>) {
      fits = json.is_number_integer() && in_range<T>(json);
    } else if constexpr (std::is_floating_point_v<T>) {
      fits = json.is_number();
    } else if constexpr (std::is_same_v<T, std::vector<int>>) {
      fits = json.is_array() && std::ranges::all_of(json, [](const Json& item) {
               return item.is_number_integer() && in_range<int>(item);
             });
    } else if constexpr (std::is_same_v<T, std::vector<double>>) {
      fits = json.is_array() && std::ranges::all_of(json, [](const Json& item) { return item.is_number(); });
    }
    if (!fits) throw_kind(key);
  }

  template <typename T>
  static bool in_range(const Json& json) {
    if (json.is_number_unsigned()) return std::in_range<T>(json.get<std::uint64_t>());
    return std::in_range<T>(json.get<std::int64_t>());
  }

  [[noreturn]] void throw_kind(const char* key) const {
    throw Error(ErrorCode::kDamaged, fmt::format("{} has the wrong type or is out of range", where(key)));
  }

  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

template <typename Config>
Json fields_to_json(const Config& config) {
  Json json = Json::object();
  Config::visit_fields(config, [&json](const char* key, const auto& value) { json[key] = to_json_value(value); });
  return json;
}

Json to_json(const NetworkConfig& network) {
  return std::visit([](const auto& config) { return fields_to_json(config); }, network);
}

Json difference(Json json, const Json& base) {
  for (const auto& [key, value] : base.items()) {
    if (json.contains(key) && json[key] == value) json.erase(key);
  }
  return json;
}

// What differs from `base`.
Json to_json(const NetworkConfig& network, const NetworkConfig& base) {
  return difference(to_json(network), to_json(base));
}

template <typename Config>
void read_fields(const Json& json, const std::string& where, Config& config) {
  Reader fields(json, where);
  Config::visit_fields(config, [&fields](const char* key, auto& value) { fields.optional(key, value); });
  fields.refuse_unknown();
}

Json to_json(const Preprocessing& preprocessing) {
  return {{"resolution", preprocessing.resolution},
          {"mean", preprocessing.mean},
          {"std", preprocessing.std},
          {"interpolation", name_of(preprocessing.interpolation)},
          {"crop_fraction", preprocessing.crop_fraction},
          {"crop_mode", name_of(preprocessing.crop_mode)},
          {"pipeline", name_of(preprocessing.pipeline)}};
}

Preprocessing preprocessing_from_json(const Json& json, const std::string& where) {
  Preprocessing preprocessing;
  std::string interpolation(name_of(preprocessing.interpolation));
  std::string crop_mode(name_of(preprocessing.crop_mode));
  std::string pipeline(name_of(preprocessing.pipeline));
  Reader reader(json, where);
  reader.required("resolution", preprocessing.resolution);
  reader.required("mean", preprocessing.mean);
  reader.required("std", preprocessing.std);
  reader.required("interpolation", interpolation);
  reader.required("crop_fraction", preprocessing.crop_fraction);
  reader.required("crop_mode", crop_mode);
  reader.optional("pipeline", pipeline);
  reader.refuse_unknown();
  preprocessing.interpolation = interpolation_from_name(interpolation);
  preprocessing.crop_mode = crop_mode_from_name(crop_mode);
  preprocessing.pipeline = pixel_pipeline_from_name(pipeline);
  validate(preprocessing, where);
  return preprocessing;
}

CheckVector check_from_json(const Json& json, const std::string& where) {
  CheckVector check;
  Reader reader(json, where);
  reader.required("width", check.width);
  reader.required("height", check.height);
  reader.required("seed", check.seed);
  reader.required("logits", check.logits);
  reader.refuse_unknown();
  if (check.width < 1 || check.width > kMaxResolution || check.height < 1 || check.height > kMaxResolution ||
      check.logits.empty()) {
    throw Error(ErrorCode::kDamaged,
                fmt::format("{}: expected a picture of 1 to {} pixels a side, and logits", where, kMaxResolution));
  }
  return check;
}

Json parse(std::string_view text, std::string_view source) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error(ErrorCode::kDamaged, fmt::format("the card of '{}' is not JSON (byte {})", source, error.byte));
  } catch (const Json::exception&) {
    throw Error(ErrorCode::kDamaged, fmt::format("the card of '{}' holds a number that is out of range", source));
  }
}

Json parse_card(std::string_view text, std::string_view source, const FileLimits& limits) {
  check_json(text, fmt::format("the card of '{}'", source), limits);
  return parse(text, source);
}

DetectorEntry registered_detector(std::string_view name, const std::string& where) {
  std::optional<DetectorEntry> entry = find_detector(name);
  if (!entry) {
    throw Error(ErrorCode::kDamaged, fmt::format("{}: no detector is called '{}'", where, name.substr(0, 80)));
  }
  return std::move(*entry);
}

std::vector<NetworkField> fields_of(const Json& json) {
  std::vector<NetworkField> fields;
  for (const auto& [key, value] : json.items()) fields.push_back({key, value.dump()});
  return fields;
}

}  // namespace

bool has_filter(PixelPipeline pipeline, Interpolation interpolation) {
  if (pipeline == PixelPipeline::kDinov3) return interpolation == Interpolation::kBilinear;
  return pipeline == PixelPipeline::kTimm ||
         (interpolation != Interpolation::kBox && interpolation != Interpolation::kHamming);
}

void validate(const Preprocessing& preprocessing, const std::string& where) {
  const bool deviations = std::ranges::all_of(preprocessing.std, [](float value) { return value > 0 && value < 1e6f; });
  const bool means = std::ranges::all_of(preprocessing.mean, [](float value) { return std::abs(value) < 1e6f; });
  if (preprocessing.resolution < 1 || preprocessing.resolution > kMaxResolution || !deviations || !means ||
      !(preprocessing.crop_fraction >= kMinCropFraction && preprocessing.crop_fraction <= kMaxCropFraction)) {
    throw Error(ErrorCode::kDamaged,
                fmt::format("{}: expected a resolution of 1 to {}, finite means, deviations above 0 and a crop "
                            "fraction of {} to {}",
                            where, kMaxResolution, kMinCropFraction, kMaxCropFraction));
  }
  if (!has_filter(preprocessing.pipeline, preprocessing.interpolation)) {
    throw Error(
        ErrorCode::kDamaged,
        fmt::format("{}: the pipeline {} has {}, and not {}", where, name_of(preprocessing.pipeline),
                    preprocessing.pipeline == PixelPipeline::kDinov3 ? "bilinear" : "bilinear, bicubic and lanczos",
                    name_of(preprocessing.interpolation)));
  }
}

void check_label_count(const std::vector<std::string>& labels, int classes, const std::string& where) {
  if (labels.empty() || labels.size() == static_cast<std::size_t>(classes)) return;
  throw Error(ErrorCode::kMismatch, fmt::format("{} has {} labels for {} classes", where, labels.size(), classes));
}

std::string card_to_json(const Card& card) {
  Json json;
  json["architecture"] = card.architecture;
  json["network"] = to_json(card.network, architecture(card.architecture).network);
  json["preprocessing"] = to_json(card.preprocessing);
  // Programs from before there were others refuse a card that names it.
  if (card.preprocessing.pipeline == PixelPipeline::kTimm) json["preprocessing"].erase("pipeline");
  json["labels"] = card.labels;
  json["precision"] = card.precision;
  json["license"] = card.license;
  if (!card.training.empty()) json["training"] = parse(card.training, "training");
  if (card.check) {
    json["check"] = {{"width", card.check->width},
                     {"height", card.check->height},
                     {"seed", card.check->seed},
                     {"logits", card.check->logits}};
  }
  // Labels may come from anywhere: bytes that are not UTF-8 are replaced rather than refused.
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string network_to_json(const NetworkConfig& network) { return to_json(network).dump(); }

std::vector<NetworkField> network_fields(const NetworkConfig& network) { return fields_of(to_json(network)); }

std::vector<NetworkField> detector_fields(const DetectorConfig& detector) {
  return fields_of(fields_to_json(detector));
}

std::vector<NetworkDifference> network_differences(const NetworkConfig& network, const NetworkConfig& other) {
  std::vector<NetworkDifference> differences;
  const Json json = to_json(network);
  const Json of_other = to_json(other);
  for (const auto& [key, value] : json.items()) {
    const auto found = of_other.find(key);
    if (found == of_other.end()) {
      differences.push_back({key, value.dump(), {}});
    } else if (*found != value) {
      differences.push_back({key, value.dump(), found->dump()});
    }
  }
  return differences;
}

std::string detector_to_json(const DetectorConfig& detector) { return fields_to_json(detector).dump(); }

std::string card_value_text(std::string_view json) {
  const Json value = Json::parse(json);
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return value.get<std::string>();
  std::string text = value.dump();
  std::erase_if(text, [](char c) { return c == '[' || c == ']' || c == '"'; });
  return text;
}

std::string preprocessing_to_json(const Preprocessing& preprocessing) { return to_json(preprocessing).dump(); }

Card card_from_json(std::string_view text, std::string_view source, const FileLimits& limits) {
  const Json json = parse_card(text, source, limits);
  const std::string where = fmt::format("the card of '{}'", source);
  Card card;
  Reader reader(json, where);
  reader.required("architecture", card.architecture);
  if (find_detector(card.architecture)) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("'{}' is a detector ({}), and a classifier is wanted here: 'convnext detect' finds objects with it",
                    source, card.architecture));
  }
  const RegistryEntry& entry = architecture(card.architecture);
  card.network = entry.network;
  card.preprocessing = entry.preprocessing;
  if (const Json* network = reader.member("network")) {
    std::visit([&](auto& config) { read_fields(*network, reader.where("network"), config); }, card.network);
    validate(card.network);
  }
  if (const Json* preprocessing = reader.member("preprocessing")) {
    card.preprocessing = preprocessing_from_json(*preprocessing, reader.where("preprocessing"));
  }
  reader.optional("labels", card.labels);
  reader.optional("precision", card.precision);
  reader.optional("license", card.license);
  if (const Json* training = reader.member("training")) card.training = training->dump();
  if (const Json* check = reader.member("check")) card.check = check_from_json(*check, reader.where("check"));
  reader.refuse_unknown();

  check_label_count(card.labels, class_count(card.network), where);
  return card;
}

std::string detector_card_to_json(const DetectorCard& card) {
  const DetectorConfig registered = registered_detector(card.architecture, "the card").config;
  Json json;
  json["architecture"] = card.architecture;
  json["detector"] = difference(fields_to_json(card.detector), fields_to_json(registered));
  json["backbone"] = to_json(card.detector.backbone, registered.backbone);
  json["mean"] = card.mean;
  json["std"] = card.std;
  json["short_side"] = card.short_side;
  json["long_side"] = card.long_side;
  json["labels"] = card.labels;
  json["precision"] = card.precision;
  json["license"] = card.license;
  if (!card.training.empty()) json["training"] = parse(card.training, "training");
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

DetectorCard detector_card_from_json(std::string_view text, std::string_view source, const FileLimits& limits) {
  const Json json = parse_card(text, source, limits);
  const std::string where = fmt::format("the card of '{}'", source);
  DetectorCard card;
  Reader reader(json, where);
  reader.required("architecture", card.architecture);
  card.detector = registered_detector(card.architecture, where).config;
  if (const Json* detector = reader.member("detector")) {
    read_fields(*detector, reader.where("detector"), card.detector);
  }
  if (const Json* backbone = reader.member("backbone")) {
    std::visit([&](auto& config) { read_fields(*backbone, reader.where("backbone"), config); }, card.detector.backbone);
  }
  validate(card.detector);
  reader.required("mean", card.mean);
  reader.required("std", card.std);
  reader.required("short_side", card.short_side);
  reader.required("long_side", card.long_side);
  reader.optional("labels", card.labels);
  reader.optional("precision", card.precision);
  reader.optional("license", card.license);
  if (const Json* training = reader.member("training")) card.training = training->dump();
  reader.refuse_unknown();
  Preprocessing pixels;
  pixels.mean = card.mean;
  pixels.std = card.std;
  pixels.resolution = card.long_side;
  validate(pixels, where);
  if (card.short_side < 1 || card.short_side > card.long_side) {
    throw Error(ErrorCode::kDamaged, fmt::format("{}: short_side is {}, expected 1 to long_side, {}", where,
                                                 card.short_side, card.long_side));
  }
  check_label_count(card.labels, card.detector.classes, where);
  return card;
}

bool is_detector_card(std::string_view text) {
  // Nothing else is kept: what the rest may be is for whoever reads the card.
  const auto is_name = [](int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::key) return depth == 1 && parsed == "architecture";
    return depth == 0 || event == Json::parse_event_t::value;
  };
  const Json json = Json::parse(text, is_name, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("architecture") || !json["architecture"].is_string()) return false;
  return find_detector(json["architecture"].get<std::string>()).has_value();
}

}  // namespace convnext
