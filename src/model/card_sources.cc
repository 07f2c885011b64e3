#include "model/card_sources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "io/file.h"
#include "model/imagenet_labels.h"
#include "model/published.h"
#include "model/registry.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxJsonBytes = std::size_t{10} << 20;
constexpr int kMaxJsonDepth = 64;

// What one source says; nothing where it is silent.
struct Claims {
  std::string origin;  // "config.json, 'pretrained_cfg'"
  std::optional<std::string> architecture{};
  std::optional<int> resolution{};
  std::optional<std::array<float, 3>> mean{};
  std::optional<std::array<float, 3>> std{};
  std::optional<Interpolation> interpolation{};
  std::optional<double> crop_fraction{};
  std::optional<CropMode> crop_mode{};
  PixelPipeline pipeline = PixelPipeline::kTimm;  // whose program would read this source
  std::optional<std::vector<std::string>> labels{};
  std::optional<std::string> license{};
  std::optional<double> norm_eps{};
  std::optional<double> head_norm_eps{};
  std::optional<Activation> activation{};
  const PublishedWeights* published = nullptr;  // the weights that it says these are
  bool has_own_shape = false;                   // its network is the architecture with changes
  bool is_dinov3 = false;
};

// A JSON object of somebody else's file: what is not asked for is ignored, what is asked for must be of its type.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(&json), where_(std::move(where)) {
    if (!json.is_object()) throw Error(ErrorCode::kDamaged, where_ + " is not a JSON object");
  }

  bool has(const char* key) const { return find(key) != nullptr; }

  std::optional<std::string> text(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    if (!value->is_string()) refuse(key, "a text");
    return value->get<std::string>();
  }

  std::optional<bool> flag(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    if (!value->is_boolean()) refuse(key, "true or false");
    return value->get<bool>();
  }

  std::optional<double> number(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    if (!value->is_number()) refuse(key, "a number");
    return value->get<double>();
  }

  std::optional<int> integer(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    return as_integer(key, *value);
  }

  // A number alone counts as a list of one.
  std::optional<std::vector<int>> integers(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    std::vector<int> result;
    if (!value->is_array()) return std::vector<int>{as_integer(key, *value)};
    for (const Json& item : *value) result.push_back(as_integer(key, item));
    return result;
  }

  // One value for each colour; a number alone stands for all three.
  std::optional<std::array<float, 3>> colours(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    std::array<float, 3> result{};
    for (std::size_t i = 0; i < result.size(); ++i) {
      const bool is_list = value->is_array() && value->size() == result.size();
      const Json& item = is_list ? (*value)[i] : *value;
      if (!item.is_number()) refuse(key, "three numbers");
      result[i] = item.get<float>();
    }
    return result;
  }

  std::optional<std::vector<std::string>> texts(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    if (!value->is_array()) refuse(key, "a list of texts");
    std::vector<std::string> result;
    for (const Json& item : *value) {
      if (!item.is_string()) refuse(key, "a list of texts");
      result.push_back(item.get<std::string>());
    }
    return result;
  }

  std::optional<Object> object(const char* key) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    return Object(*value, where(key));
  }

  // Members of an object of texts.
  std::map<std::string, std::string> members() const {
    std::map<std::string, std::string> result;
    for (const auto& [key, value] : json_->items()) {
      if (!value.is_string()) refuse(key.c_str(), "a text");
      result.emplace(key, value.get<std::string>());
    }
    return result;
  }

  const Json* find(const char* key) const {
    const auto found = json_->find(key);
    return found == json_->end() || found->is_null() ? nullptr : &*found;
  }

  std::string where(const char* key) const { return fmt::format("{}, '{}'", where_, key); }
  [[noreturn]] void refuse(const char* key, std::string_view expected) const {
    throw Error(ErrorCode::kDamaged, fmt::format("{}: expected {}", where(key), expected));
  }

 private:
  int as_integer(const char* key, const Json& value) const {
    const bool fits =
        value.is_number_integer() && (value.is_number_unsigned() ? std::in_range<int>(value.get<std::uint64_t>())
                                                                 : std::in_range<int>(value.get<std::int64_t>()));
    if (!fits) refuse(key, "a whole number");
    return value.get<int>();
  }

  const Json* json_;
  std::string where_;
};

// Null when there is no such file.
std::optional<Json> read_json(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  const std::string text = read_text(path, kMaxJsonBytes);
  const auto check_depth = [&path](int depth, Json::parse_event_t, Json&) {
    if (depth <= kMaxJsonDepth) return true;
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' nests deeper than {} levels", path.string(), kMaxJsonDepth));
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::parse_error& error) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not JSON (byte {})", path.string(), error.byte));
  } catch (const Json::exception&) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' holds a number that is out of range", path.string()));
  }
}

// A synset id becomes the name that people know; the id stays before it where the list is not one of ImageNet's.
std::vector<std::string> readable(std::vector<std::string> labels) {
  if (const ImagenetList* list = recognized_imagenet_list(labels); list && labels == list->synsets) return list->labels;
  for (std::string& label : labels) {
    if (label.size() != 9 || label.front() != 'n') continue;
    if (const std::string_view name = imagenet_name(label); !name.empty()) label += fmt::format(" {}", name);
  }
  return labels;
}

void check_same(const Object& config, const char* key, const std::vector<int>& said, const std::vector<int>& found) {
  if (said == found) return;
  throw Error(ErrorCode::kMismatch, fmt::format("{} is {}, but the tensors say {}: the file belongs to other weights",
                                                config.where(key), fmt::join(said, ","), fmt::join(found, ",")));
}

// timm's config.json.

// Names of activations that mean one of ours, in timm and transformers.
constexpr std::array kActivations = {
    Named<Activation>{Activation::kGelu, "gelu"},
    Named<Activation>{Activation::kGeluTanh, "gelu_tanh"},
    Named<Activation>{Activation::kGeluTanh, "gelu_pytorch_tanh"},
    Named<Activation>{Activation::kGeluTanh, "gelu_new"},
    Named<Activation>{Activation::kSilu, "silu"},
    Named<Activation>{Activation::kSilu, "swish"},
};

std::optional<Activation> activation_of(const Object& object, const char* key) {
  const std::optional<std::string> name = object.text(key);
  if (!name) return std::nullopt;
  return find_value(kActivations, *name, object.where(key));
}

Interpolation timm_interpolation(const std::string& name, const std::string& where) {
  // timm picks one at random in training, and takes bicubic to evaluate.
  if (name == "random") return Interpolation::kBicubic;
  try {
    return interpolation_from_name(name);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{}: {}", where, error.what()));
  }
}

CropMode timm_crop_mode(const std::string& name, const std::string& where) {
  try {
    return crop_mode_from_name(name);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{}: {}", where, error.what()));
  }
}

// (channels, height, width), which must be a square here.
int square_side(const Object& object, const char* key, const std::vector<int>& size) {
  if (size.size() != 3 || size[1] != size[2]) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{} is {}: expected channels and two equal sides",
                                                     object.where(key), fmt::join(size, "x")));
  }
  return size[1];
}

// label_names, whose descriptions are in label_descriptions where the names are ids.
std::optional<std::vector<std::string>> timm_labels(const Object& config) {
  std::optional<std::vector<std::string>> labels = config.texts("label_names");
  if (!labels) return std::nullopt;
  const Json* described = config.find("label_descriptions");
  if (described && described->is_object() && recognized_imagenet_list(*labels) == nullptr) {
    const auto descriptions = Object(*described, config.where("label_descriptions")).members();
    for (std::string& label : *labels) {
      const auto found = descriptions.find(label);
      if (found != descriptions.end() && found->second != label) label += " " + found->second;
    }
  }
  return readable(std::move(*labels));
}

// timm writes licences in small letters.
std::string spdx_name(const std::string& license) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (const PublishedWeights& weights : published_weights()) {
    if (std::ranges::equal(weights.license, license, {}, small, small)) return weights.license;
  }
  return license;
}

Claims read_timm(const Object& config, const std::string& file, const ConvNextConfig& network) {
  Claims claims{.origin = file};
  if (const auto said = config.integers("num_classes"); said && config.has("pretrained_cfg")) {
    check_same(config, "num_classes", *said, {network.classes});
  }
  claims.architecture = config.text("architecture");
  claims.labels = timm_labels(config);
  if (const auto arguments = config.object("model_args")) {
    claims.norm_eps = arguments->number("norm_eps");
    claims.activation = activation_of(*arguments, "act_layer");
    constexpr const char* kShapes[] = {"depths",           "dims",      "kernel_sizes", "patch_size",
                                       "ls_init_value",    "stem_type", "use_grn",      "head_norm_first",
                                       "head_hidden_size", "conv_mlp",  "norm_layer"};
    claims.has_own_shape = std::ranges::any_of(kShapes, [&](const char* key) { return arguments->has(key); });
  }
  // Before 2023 all lay in one object.
  const Object pretrained = config.object("pretrained_cfg").value_or(config);
  if (config.has("pretrained_cfg")) claims.origin += ", 'pretrained_cfg'";
  if (const auto size = pretrained.integers("input_size")) {
    claims.resolution = square_side(pretrained, "input_size", *size);
  }
  claims.mean = pretrained.colours("mean");
  claims.std = pretrained.colours("std");
  if (const auto name = pretrained.text("interpolation")) {
    claims.interpolation = timm_interpolation(*name, pretrained.where("interpolation"));
  }
  claims.crop_fraction = pretrained.number("crop_pct");
  if (const auto name = pretrained.text("crop_mode")) {
    claims.crop_mode = timm_crop_mode(*name, pretrained.where("crop_mode"));
  }
  if (const auto license = pretrained.text("license")) claims.license = spdx_name(*license);
  if (claims.architecture && pretrained.has("tag")) {
    claims.published = published_named(fmt::format("{}.{}", *claims.architecture, *pretrained.text("tag")));
    // DINOv3's networks are timm's ordinary ones without a classifier.
    if (claims.published && claims.published->in_timm) claims.architecture = claims.published->architecture;
  }
  return claims;
}

// Hugging Face's config.json.

constexpr double kTransformersEps = 1e-6;       // of all norms but the last, whatever the file says
constexpr double kTransformersHeadEps = 1e-12;  // layer_norm_eps where the file is silent
constexpr std::string_view kDinov3Type = "dinov3_convnext";

// id2label: {"0": "tench", ...}. Nothing when the names are only the numbers again.
std::optional<std::vector<std::string>> transformers_labels(const Object& config, int classes) {
  const auto object = config.object("id2label");
  // A bare backbone has the two labels of the class that its file was written by.
  if (!object || classes == 0) return std::nullopt;
  const auto members = object->members();
  std::vector<std::string> labels(members.size());
  bool are_names = false;
  for (const auto& [key, label] : members) {
    std::size_t index = labels.size();
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index >= labels.size() || !labels[index].empty()) {
      throw Error(ErrorCode::kDamaged, fmt::format("{}: expected the labels of 0 to {}, each once",
                                                   config.where("id2label"), labels.size() - 1));
    }
    labels[index] = label;
    if (label != fmt::format("LABEL_{}", index)) are_names = true;
  }
  if (!are_names) return std::nullopt;
  check_label_count(labels, classes, config.where("id2label"));
  return readable(std::move(labels));
}

Claims read_transformers(const Object& config, const std::string& file, const ConvNextConfig& network) {
  Claims claims{.origin = file};
  const std::string type = config.text("model_type").value_or("");
  if (type != "convnext" && type != "convnextv2" && type != kDinov3Type) {
    throw Error(ErrorCode::kMismatch, fmt::format("{} is '{}', and the tensors beside it are a ConvNeXt's: move the "
                                                  "weights to a folder of their own, or its own config.json to them",
                                                  config.where("model_type"), type.substr(0, 40)));
  }
  if (const auto said = config.integers("hidden_sizes")) check_same(config, "hidden_sizes", *said, network.dims);
  if (const auto said = config.integers("depths")) check_same(config, "depths", *said, network.depths);
  if (const auto said = config.integers("num_stages")) check_same(config, "num_stages", *said, {network.stages()});
  if (const auto said = config.integers("patch_size")) {
    check_same(config, "patch_size", {said->empty() ? 0 : said->front()}, {network.patch_size});
  }
  if (const auto said = config.integers("num_channels")) {
    check_same(config, "num_channels", *said, {network.input_channels});
  }
  const std::optional<double> eps = config.number("layer_norm_eps");
  if (type == kDinov3Type) {
    claims.norm_eps = eps.value_or(kTransformersEps);
    claims.is_dinov3 = true;
  } else {
    claims.norm_eps = kTransformersEps;
    claims.head_norm_eps = eps.value_or(kTransformersHeadEps);
  }
  claims.activation = activation_of(config, "hidden_act").value_or(Activation::kGelu);
  claims.labels = transformers_labels(config, network.classes);
  if (const auto size = config.integers("image_size"); size && !size->empty() && size->front() == size->back()) {
    claims.resolution = size->front();
  }
  return claims;
}

// Hugging Face's preprocessor_config.json.

// The fraction of the resized side that gives exactly this side before the crop.
double crop_fraction_for(int resolution, int resized) {
  double fraction = static_cast<double>(resolution) / resized;
  while (std::floor(resolution / fraction) < resized) fraction = std::nextafter(fraction, 0.0);
  return fraction;
}

// PIL.Image.Resampling.
Interpolation pillow_filter(int number, const std::string& where) {
  switch (number) {
    case 1:
      return Interpolation::kLanczos;
    case 2:
      return Interpolation::kBilinear;
    case 3:
      return Interpolation::kBicubic;
    case 4:
      return Interpolation::kBox;
    case 5:
      return Interpolation::kHamming;
    default:
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} is {}: expected a filter of Pillow's by number, 1 to 5", where, number));
  }
}

// A size is a number, {"shortest_edge": n} or {"height": n, "width": n}.
struct ProcessorSize {
  int side = 0;
  bool is_shortest_edge = false;
};

std::optional<ProcessorSize> size_of(const Object& processor, const char* key, bool number_is_shortest_edge) {
  const Json* value = processor.find(key);
  if (!value) return std::nullopt;
  ProcessorSize result{.side = 0, .is_shortest_edge = number_is_shortest_edge};
  if (!value->is_object()) {
    result.side = *processor.integer(key);
  } else {
    const Object size(*value, processor.where(key));
    const auto height = size.integer("height"), width = size.integer("width");
    if (const auto shortest = size.integer("shortest_edge")) {
      result = {.side = *shortest, .is_shortest_edge = true};
    } else if (height && width && *height == *width) {
      result = {.side = *height, .is_shortest_edge = false};
    } else {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: expected a 'shortest_edge', or a 'height' and a 'width' that are equal",
                              processor.where(key)));
    }
  }
  constexpr int kMaxSide = 16384;
  if (result.side < 1 || result.side > kMaxSide) processor.refuse(key, fmt::format("1 to {} pixels", kMaxSide));
  return result;
}

// Values for x / 255 that do what mean and deviation do to x * factor.
void apply_scale(Claims& claims, bool scales, double factor, bool normalizes) {
  if (!normalizes) {
    claims.mean = {0.0f, 0.0f, 0.0f};
    claims.std = {1.0f, 1.0f, 1.0f};
  }
  const double scale = 255.0 * (scales ? factor : 1.0);
  if (!claims.mean || !claims.std || std::abs(scale - 1.0) < 1e-6 || !(scale > 0)) return;
  for (std::size_t i = 0; i < claims.mean->size(); ++i) {
    (*claims.mean)[i] = static_cast<float>((*claims.mean)[i] / scale);
    (*claims.std)[i] = static_cast<float>((*claims.std)[i] / scale);
  }
}

Claims read_processor(const Object& processor, const std::string& file) {
  Claims claims{.origin = file};
  const std::string type =
      processor.text("image_processor_type").value_or(processor.text("feature_extractor_type").value_or(""));
  // DINOv3's own processor resizes floats; the transform that its authors published, 8-bit tensors, is nearest.
  claims.pipeline = type.starts_with("DINOv3") ? PixelPipeline::kTorchvision : PixelPipeline::kTransformers;
  claims.mean = processor.colours("image_mean");
  claims.std = processor.colours("image_std");
  apply_scale(claims, processor.flag("do_rescale").value_or(true),
              processor.number("rescale_factor").value_or(1.0 / 255.0), processor.flag("do_normalize").value_or(true));
  if (const auto filter = processor.integer("resample")) {
    claims.interpolation = pillow_filter(*filter, processor.where("resample"));
  }
  if (!processor.flag("do_resize").value_or(true)) return claims;

  // ConvNeXt's own processor knows two ways: below 384 pixels a larger picture and a crop, from there on a squeeze.
  const bool is_convnext = type.starts_with("ConvNext");
  const auto size = size_of(processor, "size", /*number_is_shortest_edge=*/true);
  if (!size) return claims;
  constexpr int kSqueezedFrom = 384;
  if (is_convnext && size->side < kSqueezedFrom) {
    claims.resolution = size->side;
    claims.crop_fraction = processor.number("crop_pct");
    claims.crop_mode = CropMode::kCenter;
    return claims;
  }
  const auto crop = size_of(processor, "crop_size", /*number_is_shortest_edge=*/false);
  const bool crops = !is_convnext && processor.flag("do_center_crop").value_or(crop.has_value());
  if (!crops && size->is_shortest_edge && !is_convnext) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: a shortest edge without a centre crop leaves pictures of every shape, and they become "
                            "squares here",
                            processor.where("size")));
  }
  claims.resolution = crops && crop ? crop->side : size->side;
  if (*claims.resolution > size->side) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{}: a crop of {} pixels from {}", processor.where("crop_size"),
                                                     *claims.resolution, size->side));
  }
  claims.crop_fraction = crop_fraction_for(*claims.resolution, size->side);
  claims.crop_mode = size->is_shortest_edge && !is_convnext ? CropMode::kCenter : CropMode::kSquash;
  return claims;
}

// OpenCLIP's open_clip_config.json.

Claims read_open_clip(const Object& config, const std::string& file) {
  Claims claims{.origin = file};
  if (const auto model = config.object("model_cfg")) {
    if (const auto vision = model->object("vision_cfg")) {
      claims.architecture = vision->text("timm_model_name");
      if (const auto size = vision->integers("image_size"); size && !size->empty()) {
        if (size->front() != size->back()) {
          throw Error(ErrorCode::kUnsupported, vision->where("image_size") + ": expected two equal sides");
        }
        claims.resolution = size->front();
      }
    }
  }
  claims.crop_fraction = 1.0;
  claims.crop_mode = CropMode::kCenter;
  claims.interpolation = Interpolation::kBicubic;
  if (const auto preprocess = config.object("preprocess_cfg")) {
    claims.mean = preprocess->colours("mean");
    claims.std = preprocess->colours("std");
    if (const auto name = preprocess->text("interpolation")) {
      claims.interpolation = timm_interpolation(*name, preprocess->where("interpolation"));
    }
    if (const auto mode = preprocess->text("resize_mode")) {
      if (*mode != "shortest" && *mode != "squash") {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{} is '{}': expected shortest or squash", preprocess->where("resize_mode"), *mode));
      }
      claims.crop_mode = *mode == "squash" ? CropMode::kSquash : CropMode::kCenter;
    }
  }
  return claims;
}

// All the JSON files beside the weights, the most trusted first.
std::vector<Claims> read_sources(const fs::path& folder, const ConvNextConfig& network) {
  std::vector<Claims> sources;
  const auto place = [](const fs::path& path) { return fmt::format("'{}'", path.string()); };
  std::optional<Claims> transformers;
  const fs::path config_path = folder / "config.json";
  if (const auto json = read_json(config_path)) {
    const Object config(*json, place(config_path));
    if (config.has("architecture") || config.has("pretrained_cfg")) {
      sources.push_back(read_timm(config, "config.json", network));
    } else if (const auto backbone = config.object("backbone_config")) {
      transformers = read_transformers(*backbone, "config.json, 'backbone_config'", network);
    } else if (config.has("model_type")) {
      transformers = read_transformers(config, "config.json", network);
    }
  }
  const fs::path processor_path = folder / "preprocessor_config.json";
  if (const auto json = read_json(processor_path); json && sources.empty()) {
    sources.push_back(read_processor(Object(*json, place(processor_path)), "preprocessor_config.json"));
  }
  if (transformers) sources.push_back(std::move(*transformers));
  const fs::path clip_path = folder / "open_clip_config.json";
  if (const auto json = read_json(clip_path); json && sources.empty()) {
    sources.push_back(read_open_clip(Object(*json, place(clip_path)), "open_clip_config.json"));
  }
  return sources;
}

// The file's name, and those of the folders that a hub puts its file in: model.safetensors says nothing.
std::vector<std::string> telling_names(const fs::path& weights) {
  std::vector<std::string> names = {weights.filename().string()};
  constexpr std::string_view kGeneric[] = {"model", "pytorch_model", "open_clip"};
  if (std::ranges::none_of(kGeneric, [&](std::string_view generic) { return names.front().starts_with(generic); })) {
    return names;
  }
  std::error_code ignored;
  const fs::path folder = fs::absolute(weights, ignored).lexically_normal().parent_path();
  names.push_back(folder.filename().string());
  // The hub's cache: models--timm--convnext_tiny.fb_in1k/snapshots/REVISION/model.safetensors.
  const std::string repository = folder.parent_path().parent_path().filename().string();
  if (const std::size_t owner = repository.rfind("--"); owner != std::string::npos) {
    names.push_back(repository.substr(owner + 2));
  }
  return names;
}

std::vector<std::string> words(std::string_view name) {
  std::vector<std::string> result(1);
  for (const char c : name) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    if (is_letter) {
      result.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!result.back().empty()) {
      result.emplace_back();
    }
  }
  if (result.back().empty()) result.pop_back();
  return result;
}

bool is_one_of(const std::vector<std::string>& all, std::string_view word) {
  return std::ranges::find(all, word) != all.end();
}

// How much of a tag is in a file's name: words of the tag that are there, less those that are not. "22k" means in22k.
int agreement(const std::vector<std::string>& of_name, std::string_view tag) {
  int score = 0;
  for (const std::string& word : words(tag)) {
    const bool found =
        is_one_of(of_name, word) || (word.starts_with("in") && is_one_of(of_name, std::string_view(word).substr(2)));
    score += found ? 3 : -1;
  }
  return score;
}

// Which published weights of this architecture a name reminds of most, and the registered default when of none.
const PublishedWeights* most_alike(const RegistryEntry& entry, int classes, const std::vector<std::string>& of_name) {
  const PublishedWeights* best = find_published(entry.name, entry.published_weights);
  int best_score = best && best->classes == classes ? agreement(of_name, best->tag()) : -100;
  for (const PublishedWeights& weights : published_weights()) {
    if (weights.architecture != entry.name || weights.classes != classes) continue;
    if (const int score = agreement(of_name, weights.tag()); score > best_score) {
      best = &weights;
      best_score = score;
    }
  }
  return best;
}

// What tensors tell of a network, for comparing: all else is as in `like`.
ConvNextConfig as_seen(ConvNextConfig network, const ConvNextConfig& like) {
  network.classes = like.classes;
  network.input_channels = like.input_channels;
  network.norm_eps = like.norm_eps;
  network.head_norm_eps = like.head_norm_eps;
  network.activation = like.activation;
  network.conv_mlp = like.conv_mlp;
  // RMSNorm and SimpleNorm have the same tensors.
  if (network.norm != Norm::kLayerNorm && like.norm != Norm::kLayerNorm) network.norm = like.norm;
  return network;
}

bool is_same_network(const ConvNextConfig& network, const RegistryEntry& entry) {
  const auto& registered = std::get<ConvNextConfig>(entry.network);
  return as_seen(network, registered) == registered;
}

// A distance between networks that puts the kind of block first, then widths, then depths.
double distance(const ConvNextConfig& network, const ConvNextConfig& registered) {
  double sum = 0.0;
  if (network.grn != registered.grn) sum += 100.0;
  if (network.stem_norm != registered.stem_norm) sum += 100.0;
  if (network.stages() != registered.stages()) sum += 50.0 * std::abs(network.stages() - registered.stages());
  if (network.head != registered.head) sum += 10.0;
  if (network.stem != registered.stem) sum += 5.0;
  if (network.norm != registered.norm) sum += 5.0;
  const std::size_t stages = std::min(network.dims.size(), registered.dims.size());
  for (std::size_t i = 0; i < stages; ++i) {
    sum += std::abs(std::log(static_cast<double>(network.dims[i]) / registered.dims[i]));
    sum += 0.2 * std::abs(std::log(static_cast<double>(network.depths[i]) / registered.depths[i]));
  }
  return sum;
}

// DINOv3's networks are the ordinary ones without a classifier: only names can tell them apart.
bool sounds_like_dinov3(const std::vector<std::string>& of_name) {
  return is_one_of(of_name, "dinov3") || is_one_of(of_name, "eupe");
}

const RegistryEntry& nearest_entry(const ConvNextConfig& network, bool is_dinov3) {
  const RegistryEntry* best = nullptr;
  double best_distance = std::numeric_limits<double>::infinity();
  for (const RegistryEntry& entry : registry()) {
    if ((entry.family == Family::kDinov3ConvNext) != is_dinov3) continue;
    const auto& registered = std::get<ConvNextConfig>(entry.network);
    const double cost = is_same_network(network, entry) ? -1.0 : distance(network, registered);
    if (cost < best_distance) {
      best = &entry;
      best_distance = cost;
    }
  }
  return *best;
}

// The first thing in which a network is not the registered one, as "dims are 64,128,256,512, and convnext_tiny's are
// 96,192,384,768".
std::string first_difference(const ConvNextConfig& network, const RegistryEntry& entry) {
  const auto& registered = std::get<ConvNextConfig>(entry.network);
  const auto differ = [&](std::string_view what, const auto& have, const auto& want) {
    return have == want ? std::string() : fmt::format("{} {}, and {}'s are {}", what, have, entry.name, want);
  };
  const auto join = [](const std::vector<int>& values) { return fmt::format("{}", fmt::join(values, ",")); };
  const auto yes = [](bool value) { return value ? "there" : "absent"; };
  const std::string differences[] = {
      differ("dims are", join(network.dims), join(registered.dims)),
      differ("depths are", join(network.depths), join(registered.depths)),
      differ("kernels are", join(network.kernel_sizes), join(registered.kernel_sizes)),
      differ("patches are", network.patch_size, registered.patch_size),
      differ("layers of the stem are", name_of(network.stem), name_of(registered.stem)),
      differ("layers of the head are", name_of(network.head), name_of(registered.head)),
      differ("layer scales are", yes(network.layer_scale), yes(registered.layer_scale)),
      differ("response norms are", yes(network.grn), yes(registered.grn)),
  };
  const auto found = std::ranges::find_if(differences, [](const std::string& text) { return !text.empty(); });
  return found == std::end(differences) ? fmt::format("layers are others than {}'s", entry.name) : *found;
}

// Puts the card together: the first source that says something is believed.
class CardBuilder {
 public:
  CardBuilder(const fs::path& weights, const ConvNextConfig& network, std::string_view architecture)
      : weights_(weights),
        network_(network),
        named_(architecture.empty() ? nullptr : &convnext::architecture(architecture)),
        names_(telling_names(weights)),
        sources_(read_sources(weights.parent_path(), network)) {
    for (const std::string& name : names_) {
      const auto more = words(name);
      words_.insert(words_.end(), more.begin(), more.end());
      if (!published_) published_ = published_named(name);
    }
    if (published_) published_origin_ = fmt::format("published weights {}", published_->name);
  }

  FoundCard build() && {
    const RegistryEntry& entry = find_entry();
    found_.card.architecture = entry.name;
    set_network(entry);
    choose_published(entry);
    set_preprocessing();
    set_labels();
    set_facts();
    return std::move(found_);
  }

 private:
  // Throws when a source names another network than the user, or one that the tensors do not make.
  const RegistryEntry& find_entry() {
    if (named_) check_named();
    for (const Claims& source : sources_) {
      if (!source.architecture) continue;
      const RegistryEntry* said = find_architecture(*source.architecture);
      if (!said) continue;
      if (named_ && named_ != said && !is_same_network(network_, *said)) {
        throw Error(ErrorCode::kMismatch, fmt::format("'{}' is a {} by its {}, not a {}: leave --architecture out",
                                                      weights_.string(), said->name, source.origin, named_->name));
      }
      if (!source.has_own_shape && !is_same_network(network_, *said)) {
        throw Error(ErrorCode::kMismatch,
                    fmt::format("'{}' is a {} by its {}, but its {}: the file belongs to other "
                                "weights",
                                weights_.string(), said->name, source.origin, first_difference(network_, *said)));
      }
      return from(named_ ? *named_ : *said, named_ ? "--architecture" : source.origin);
    }
    if (named_) return from(*named_, "--architecture");
    if (published_) {
      const RegistryEntry& said = convnext::architecture(published_->architecture);
      if (is_same_network(network_, said)) return from(said, published_origin_);
      note(fmt::format("the name is that of {}, but its {}: these are other weights", published_->name,
                       first_difference(network_, said)));
      published_ = nullptr;
    }
    const bool is_dinov3 = sounds_like_dinov3(words_) || std::ranges::any_of(sources_, &Claims::is_dinov3);
    const RegistryEntry& nearest = nearest_entry(network_, is_dinov3);
    is_only_nearest_ = !is_same_network(network_, nearest);
    if (is_only_nearest_) {
      note(
          fmt::format("no network with a name has these tensors: it is called {}, which is the nearest", nearest.name));
    }
    return from(nearest, "the tensors' shapes");
  }

  void check_named() const {
    if (is_same_network(network_, *named_)) return;
    const RegistryEntry& nearest = nearest_entry(network_, named_->family == Family::kDinov3ConvNext);
    throw Error(
        ErrorCode::kMismatch,
        fmt::format("'{}' is no {}: its {}; the nearest is {}: try --architecture {}, or none", weights_.string(),
                    named_->name, first_difference(network_, *named_), nearest.name, nearest.name));
  }

  const RegistryEntry& from(const RegistryEntry& entry, std::string origin) {
    found_.origins["architecture"] = std::move(origin);
    return entry;
  }

  void set_network(const RegistryEntry& entry) {
    // One that is only the nearest is not this one: nothing that tensors do not tell is taken from it.
    const auto& registered = is_only_nearest_ ? network_ : std::get<ConvNextConfig>(entry.network);
    ConvNextConfig network = network_;
    if (network.norm != Norm::kLayerNorm && registered.norm != Norm::kLayerNorm) network.norm = registered.norm;
    const std::string of_entry = is_only_nearest_ ? "assumed" : fmt::format("{} as registered", entry.name);
    take("norm_eps", &Claims::norm_eps, network.norm_eps, registered.norm_eps, of_entry);
    take("activation", &Claims::activation, network.activation, registered.activation, of_entry);
    network.head_norm_eps = 0.0;
    for (const Claims& source : sources_) {
      if (!source.head_norm_eps) continue;
      if (*source.head_norm_eps != network.norm_eps) network.head_norm_eps = *source.head_norm_eps;
      found_.origins["head_norm_eps"] = source.origin;
      break;
    }
    for (const char* key : {"depths", "dims", "kernel_sizes", "classes", "input_channels"}) {
      found_.origins[key] = "the tensors' shapes";
    }
    validate(NetworkConfig(network));
    found_.card.network = network;
  }

  // Which published weights stand in for what no file says.
  void choose_published(const RegistryEntry& entry) {
    for (const Claims& source : sources_) {
      if (!source.published) continue;
      published_ = source.published;
      published_origin_ = fmt::format("published weights {}", published_->name);
      break;
    }
    if (published_ && published_->architecture == entry.name) {
      is_published_ = published_->classes == network_.classes;
      // Of a file's name that is worth a word; a config.json says the number of classes itself.
      if (!is_published_ && std::ranges::none_of(sources_, &Claims::published)) {
        note(fmt::format("the name is that of {}, which has {} classes: these, with {}, were trained further",
                         published_->name, published_->classes, network_.classes));
      }
      return;
    }
    published_ = most_alike(entry, network_.classes, words_);
    published_origin_ = published_ ? fmt::format("assumed: as of {}", published_->name) : "assumed";
  }

  void set_preprocessing() {
    const Preprocessing fallback = published_ ? published_->preprocessing : Preprocessing{};
    Preprocessing& p = found_.card.preprocessing;
    silent_.clear();
    take("resolution", &Claims::resolution, p.resolution, fallback.resolution, published_origin_);
    take("mean", &Claims::mean, p.mean, fallback.mean, published_origin_);
    take("std", &Claims::std, p.std, fallback.std, published_origin_);
    take("interpolation", &Claims::interpolation, p.interpolation, fallback.interpolation, published_origin_);
    const std::size_t before = silent_.size();
    take("crop_fraction", &Claims::crop_fraction, p.crop_fraction, fallback.crop_fraction, published_origin_);
    take("crop_mode", &Claims::crop_mode, p.crop_mode, fallback.crop_mode, published_origin_);
    p.pipeline = sources_.empty() ? fallback.pipeline : sources_.front().pipeline;
    found_.origins["pipeline"] = sources_.empty() ? published_origin_ : sources_.front().origin;
    // A fraction of one picture's size says nothing of a way that keeps all of it.
    if (silent_.size() == before + 1 && silent_.back() == "crop_fraction" && p.crop_mode == CropMode::kSquash) {
      p.crop_fraction = 1.0;
    }
    validate(p, fmt::format("the preprocessing of '{}' ({})", weights_.string(), found_.origins["resolution"]));
    if (silent_.empty() || !published_origin_.starts_with("assumed")) return;
    const std::string taken =
        published_ ? fmt::format("took that of {}", published_->name) : std::string("took the usual values");
    if (sources_.empty()) {
      note(fmt::format("nothing says how pictures were prepared: {}", taken));
    } else {
      note(fmt::format("nothing says {}: {}", fmt::join(silent_, ", "), taken));
    }
  }

  void set_labels() {
    for (const Claims& source : sources_) {
      if (!source.labels) continue;
      if (source.labels->size() != static_cast<std::size_t>(network_.classes)) {
        note(fmt::format("the {} labels of {} are not those of {} classes: passed over", source.labels->size(),
                         source.origin, network_.classes));
        continue;
      }
      found_.card.labels = *source.labels;
      found_.origins["labels"] = source.origin;
      return;
    }
    if (const ImagenetList* list = imagenet_list(network_.classes)) {
      found_.card.labels = list->labels;
      found_.origins["labels"] = fmt::format("the names of {}, for it has {} classes", list->name, network_.classes);
    }
  }

  void set_facts() {
    for (const Claims& source : sources_) {
      if (!source.license) continue;
      found_.card.license = *source.license;
      found_.origins["license"] = source.origin;
      break;
    }
    if (!published_ || !is_published_) return;
    if (!published_->license.empty()) {
      found_.card.license = published_->license;
      found_.origins["license"] = published_origin_;
    }
    Json training = {{"weights", published_->name}, {"data", training_data(*published_)}};
    const PublishedTop1& top1 = published_->top1;
    if (top1.published > 0 || top1.timm > 0) training["top1"] = top1.published > 0 ? top1.published : top1.timm;
    found_.card.training = training.dump();
    found_.origins["training"] = published_origin_;
  }

  template <typename T>
  void take(const char* key, std::optional<T> Claims::*member, T& target, const T& fallback,
            const std::string& fallback_origin) {
    for (const Claims& source : sources_) {
      if (!(source.*member)) continue;
      target = *(source.*member);
      found_.origins[key] = source.origin;
      return;
    }
    target = fallback;
    found_.origins[key] = fallback_origin;
    silent_.emplace_back(key);
  }

  void note(std::string text) { found_.notes.push_back(std::move(text)); }

  const fs::path& weights_;
  const ConvNextConfig& network_;
  const RegistryEntry* named_;
  std::vector<std::string> names_;  // of the file and its folders
  std::vector<std::string> words_;  // that they are made of
  std::vector<Claims> sources_;     // the most trusted first
  const PublishedWeights* published_ = nullptr;
  std::string published_origin_;
  bool is_only_nearest_ = false;     // no registered network is this one
  bool is_published_ = false;        // these are those weights, not others trained from them
  std::vector<std::string> silent_;  // values that no source says
  FoundCard found_;
};

}  // namespace

FoundCard find_card(const fs::path& weights, const NetworkConfig& network, std::string_view architecture) {
  return std::visit([&](const ConvNextConfig& config) { return CardBuilder(weights, config, architecture).build(); },
                    network);
}

}  // namespace convnext
