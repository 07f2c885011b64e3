#include "model/card_claims.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "convnext/error.h"
#include "core/names.h"
#include "io/json_text.h"
#include "io/quoted.h"
#include "model/card.h"
#include "model/imagenet_labels.h"
#include "model/layouts.h"
#include "model/registry.h"
#include "model/transformers_processor.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

// A JSON object of somebody else's file: what is not asked for is ignored, what is asked for must be of its type.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(&json), where_(std::move(where)) {
    if (!json.is_object()) throw Error(ErrorCode::kDamaged, where_ + " is not a JSON object");
  }

  bool has(const char* key) const { return find(key) != nullptr; }
  // Of what has a value.
  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const auto& [key, value] : json_->items()) {
      if (!value.is_null()) all.push_back(key);
    }
    return all;
  }
  // Also where the value is null.
  bool mentions(const char* key) const { return json_->contains(key); }

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
      // Of a list of one too, which timm writes for networks of one channel.
      const bool is_list = value->is_array() && (value->size() == result.size() || value->size() == 1);
      const Json& item = is_list ? (*value)[value->size() == 1 ? 0 : i] : *value;
      if (!item.is_number()) refuse(key, "three numbers");
      result[i] = item.get<float>();
      if (!std::isfinite(result[i])) refuse(key, "three numbers that a float can hold");
    }
    return result;
  }

  // The same for what is divided by.
  std::optional<std::array<float, 3>> deviations(const char* key) const {
    const auto result = colours(key);
    if (result && std::ranges::any_of(*result, [](float value) { return !(value > 0.0f); })) {
      refuse(key, "three numbers above 0");
    }
    return result;
  }

  // Of a side that a crop keeps.
  std::optional<double> crop_fraction(const char* key) const {
    const std::optional<double> value = number(key);
    if (value && !(*value >= kMinCropFraction && *value <= kMaxCropFraction)) {
      refuse(key, fmt::format("a fraction of {} to {}", kMinCropFraction, kMaxCropFraction));
    }
    return value;
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
std::optional<Json> read_json(const fs::path& path, const FileLimits& limits) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    return Json::parse(read_json_text(path, limits));
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

// What `parse` makes of a name in a file of somebody else's.
template <typename Value>
Value value_of(Value (*parse)(std::string_view), const std::string& name, const std::string& where) try {
  return parse(name);
} catch (const Error& error) {
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: {}", where, error.what()));
}

Interpolation timm_interpolation(const std::string& name, const std::string& where) {
  // timm picks one at random in training, and takes bicubic to evaluate.
  return name == "random" ? Interpolation::kBicubic : value_of(interpolation_from_name, name, where);
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
std::optional<std::vector<std::string>> timm_labels(const Object& config, int classes) {
  std::optional<std::vector<std::string>> labels = config.texts("label_names");
  // What was trained further without a classifier may still name the classes that it had.
  if (!labels || classes == 0) return std::nullopt;
  check_label_count(*labels, classes, config.where("label_names"));
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

void check_classes(const Object& object, int classes) {
  if (const auto said = object.integers("num_classes")) check_same(object, "num_classes", *said, {classes});
}

// timm's arguments of a network. Throws Error (kMismatch) where the tensors say otherwise. `expected` is the registered
// network, and gets what the arguments change of it.
void read_arguments(const Object& arguments, const ConvNextConfig& network, ConvNextConfig& expected) {
  const auto check_stages = [&](const char* key, const std::vector<int>& found, std::vector<int>& target) {
    if (const auto said = arguments.integers(key)) check_same(arguments, key, *said, target = found);
  };
  check_stages("depths", network.depths, expected.depths);
  check_stages("dims", network.dims, expected.dims);
  if (auto said = arguments.integers("kernel_sizes")) {
    if (!arguments.find("kernel_sizes")->is_array()) said->assign(network.kernel_sizes.size(), said->front());
    check_same(arguments, "kernel_sizes", *said, expected.kernel_sizes = network.kernel_sizes);
  }
  if (const auto said = arguments.integers("patch_size")) {
    // The other stems reduce by 4 whatever it says.
    if (network.stem == Stem::kPatch) check_same(arguments, "patch_size", *said, {network.patch_size});
    expected.patch_size = network.patch_size;
  }
  if (const auto said = arguments.flag("use_grn")) expected.grn = *said;
  if (arguments.mentions("ls_init_value")) expected.layer_scale = arguments.has("ls_init_value");
  if (arguments.mentions("stem_type")) expected.stem = network.stem;
  if (arguments.mentions("norm_layer")) expected.norm = network.norm;
  if (arguments.mentions("head_norm_first") || arguments.mentions("head_hidden_size")) {
    expected.head = network.head;
    expected.head_hidden = network.head_hidden;
  }
}

// Throws Error (kUnsupported) for another way to one vector of a picture than the family's.
void check_pool(const Object& object, const NetworkConfig& network) {
  const std::string usual = std::holds_alternative<VisionTransformerConfig>(network) ? "token" : "avg";
  const std::string said = object.text("global_pool").value_or(usual);
  // Without classes timm may leave the map as it is; here its pooled features are the output.
  if (said == usual || (said.empty() && class_count(network) == 0)) return;
  throw Error(ErrorCode::kUnsupported, fmt::format("{} is {}, and a {} pools by '{}' here", object.where("global_pool"),
                                                   in_quotes(said), name_of(family_of(network)), usual));
}

// Throws Error (kUnsupported) for an argument by which timm would build another network than the registered one, or
// none: only its EfficientNets take the eps of their norms, and only transformers a size. Throws Error (kMismatch) for
// other windows than those of the tensors; `side`: of the pictures that the network is built for, where it is known.
void refuse_other_arguments(const Object& arguments, const NetworkConfig& network, std::optional<int> side) {
  const auto* swin = std::get_if<SwinConfig>(&network);
  const auto is_known = [&](std::string_view key) {
    if (key == "num_classes" || key == "in_chans" || key == "global_pool") return true;
    if (std::holds_alternative<ConvNextConfig>(network)) {
      // Read by read_arguments(), or seen by the tensors. Strides other than 32 in all are dilated convolutions.
      constexpr std::string_view kRead[] = {
          "depths",        "dims",      "kernel_sizes",    "patch_size",       "use_grn",
          "ls_init_value", "stem_type", "act_layer",       "norm_layer",       "norm_eps",
          "conv_mlp",      "conv_bias", "head_norm_first", "head_hidden_size", "head_init_scale"};
      if (key == "output_stride") return arguments.integers("output_stride") == std::vector{32};
      if (std::ranges::find(kRead, key) != std::end(kRead)) return true;
    }
    if (key == "bn_eps") return std::holds_alternative<EfficientNetConfig>(network);
    if (key == "img_size") return timm_fixes_input_size(network);
    if (key == "window_size") return swin != nullptr;
    return key.find("drop") != key.npos && key.ends_with("_rate");  // of training
  };
  for (const std::string& key : arguments.keys()) {
    if (is_known(key)) continue;
    throw Error(ErrorCode::kUnsupported, fmt::format("{} changes the network, and that is not read for a {}",
                                                     arguments.where(key.c_str()), name_of(family_of(network))));
  }
  if (const auto said = arguments.integers("window_size"); said && swin) {
    SwinConfig built = *swin;
    const bool is_one = !said->empty() && std::ranges::count(*said, said->front()) == std::ssize(*said);
    built.windows = is_one ? std::vector<int>(swin->windows.size(), said->front()) : *said;
    if (side) set_input_size(built, *side);
    check_same(arguments, "window_size", built.windows, swin->windows);
  }
}

// The side of the only pictures that timm's network takes, of a transformer; nothing where the files do not say it.
std::optional<int> timm_fixed_side(const std::optional<Object>& arguments, const Object& pretrained) {
  const auto said = arguments ? arguments->integers("img_size") : std::nullopt;
  if (said && (said->empty() || said->front() != said->back())) {
    throw Error(ErrorCode::kUnsupported, arguments->where("img_size") + ": expected two equal sides");
  }
  if (said) return said->front();
  const auto size = pretrained.integers("input_size");
  if (!size || !pretrained.flag("fixed_input_size").value_or(false)) return std::nullopt;
  return square_side(pretrained, "input_size", *size);
}

CardClaims read_timm(const Object& config, const std::string& file, const NetworkConfig& network) {
  CardClaims claims{.origin = file, .pipeline = PixelPipeline::kTimm};
  claims.architecture = config.text("architecture");
  // Before 2023 the name of an architecture could be that of its weights.
  if (claims.architecture && !find_architecture(*claims.architecture)) {
    claims.published = published_named(*claims.architecture);
    if (claims.published) claims.architecture = claims.published->architecture;
  }
  const int classes = class_count(network);
  claims.labels = timm_labels(config, classes);
  const RegistryEntry* entry = claims.architecture ? find_architecture(*claims.architecture) : nullptr;
  const auto* convnext = std::get_if<ConvNextConfig>(&network);
  const auto* registered = entry ? std::get_if<ConvNextConfig>(&entry->network) : nullptr;
  ConvNextConfig expected = registered ? *registered : ConvNextConfig{};
  // Before 2023 all lay in one object.
  const Object pretrained = config.object("pretrained_cfg").value_or(config);
  const auto arguments = config.object("model_args");
  const auto fixed_side = timm_fixes_input_size(network) ? timm_fixed_side(arguments, pretrained) : std::nullopt;
  if (arguments) {
    check_classes(*arguments, classes);
    check_pool(*arguments, network);
    if (const auto said = arguments->integers("in_chans")) {
      check_same(*arguments, "in_chans", *said, {input_channels(network)});
    }
    refuse_other_arguments(*arguments, network, fixed_side);
    claims.norm_eps = arguments->number(convnext ? "norm_eps" : "bn_eps");
    if (convnext) {
      claims.activation = activation_of(*arguments, "act_layer");
      read_arguments(*arguments, *convnext, expected);
      claims.describes_tensors = arguments->has("depths") && arguments->has("dims");
    }
  }
  if (convnext && registered) claims.network = expected;
  // timm takes the outer one before that of 'pretrained_cfg'.
  check_classes(config.has("num_classes") ? config : pretrained, classes);
  check_pool(pretrained, network);
  if (config.has("pretrained_cfg")) claims.origin += ", 'pretrained_cfg'";
  if (const auto size = pretrained.integers("input_size")) {
    claims.resolution = square_side(pretrained, "input_size", *size);
  }
  if (fixed_side) {
    claims.resolution = fixed_side;
    if (const auto* swin = std::get_if<SwinConfig>(&network)) {
      claims.pads_windows = !windows_divide(*swin, *fixed_side, *fixed_side);
    }
  }
  claims.mean = pretrained.colours("mean");
  claims.std = pretrained.deviations("std");
  if (const auto name = pretrained.text("interpolation")) {
    claims.interpolation = timm_interpolation(*name, pretrained.where("interpolation"));
  }
  claims.crop_fraction = pretrained.crop_fraction("crop_pct");
  if (const auto name = pretrained.text("crop_mode")) {
    claims.crop_mode = value_of(crop_mode_from_name, *name, pretrained.where("crop_mode"));
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

constexpr double kTransformersHeadEps = 1e-12;  // layer_norm_eps where the file is silent
constexpr std::string_view kDinov3Type = "dinov3_convnext";

// id2label: {"0": "tench", ...}. Nothing when the names are only the numbers again.
std::optional<std::vector<std::string>> transformers_labels(const Object& config, int classes) {
  const auto object = config.object("id2label");
  // A bare backbone has the two labels of the class that its file was written by.
  if (!object || classes == 0) return std::nullopt;
  const auto members = object->members();
  std::vector<std::string> labels(members.size());
  check_label_count(labels, classes, config.where("id2label"));
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
  return readable(std::move(labels));
}

// Of a network whose tensors are not named as transformers names them: what it says of the classes.
CardClaims read_transformers_labels(const Object& config, const std::string& file, const NetworkConfig& network) {
  const std::string type = config.text("model_type").value_or("");
  if (type == "convnext" || type == "convnextv2" || type == kDinov3Type) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("{} is {}, and the tensors beside it are of a {}: move the weights to "
                            "a folder of their own, or their own config.json to them",
                            config.where("model_type"), in_quotes(type), name_of(family_of(network))));
  }
  return {.origin = file, .labels = transformers_labels(config, class_count(network))};
}

CardClaims read_transformers(const Object& config, const std::string& file, const NetworkConfig& any) {
  if (!std::holds_alternative<ConvNextConfig>(any)) return read_transformers_labels(config, file, any);
  const auto& network = std::get<ConvNextConfig>(any);
  CardClaims claims{.origin = file};
  const std::string type = config.text("model_type").value_or("");
  if (type != "convnext" && type != "convnextv2" && type != kDinov3Type) {
    throw Error(ErrorCode::kMismatch, fmt::format("{} is {}, and the tensors beside it are a ConvNeXt's: move the "
                                                  "weights to a folder of their own, or its own config.json to them",
                                                  config.where("model_type"), in_quotes(type)));
  }
  if ((type == "convnextv2") != network.grn) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("{} is '{}', but response norms are {} in the tensors: the file belongs to other weights",
                            config.where("model_type"), type, network.grn ? "there" : "absent"));
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
    claims.norm_eps = eps.value_or(kFixedNormEps);
    claims.is_dinov3 = true;
  } else {
    claims.norm_eps = kFixedNormEps;
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

Interpolation pillow_filter(int number, const std::string& where) {
  const auto* const found = std::ranges::find(kPillowFilters, number, &PillowFilter::number);
  if (found != std::end(kPillowFilters)) return found->interpolation;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{} is {}: expected a filter of Pillow's by number, 1 to 5", where, number));
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
  if (result.side < 1 || result.side > kMaxResolution) {
    processor.refuse(key, fmt::format("1 to {} pixels", kMaxResolution));
  }
  return result;
}

// The float whose product with 255 is `value`; the nearest where there is none.
float over_255(float value) {
  const float nearest = value / 255.0f;
  for (const float candidate : {nearest, std::nextafter(nearest, 0.0f), std::nextafter(nearest, 2.0f * nearest)}) {
    if (candidate * 255.0f == value) return candidate;
  }
  return nearest;
}

// Mean and deviation of x / 255 that do what the processor does to its x * factor: it takes (x - mean / factor) /
// (deviation / factor) in floats, and so does the pipeline with 255 in place of 1 / factor.
void read_normalization(const Object& processor, CardClaims& claims) {
  const bool scales = processor.flag("do_rescale").value_or(true);
  const double factor = processor.number("rescale_factor").value_or(1.0 / 255.0);
  const auto of_factor = static_cast<float>(1.0 / factor);
  if (!(of_factor > 0.0f) || !std::isfinite(of_factor)) processor.refuse("rescale_factor", "a number above 0");
  claims.mean = processor.colours("image_mean");
  claims.std = processor.deviations("image_std");
  if (!processor.flag("do_normalize").value_or(true)) {
    claims.mean = {0.0f, 0.0f, 0.0f};
    claims.std = {1.0f, 1.0f, 1.0f};
  }
  const float multiplier = scales ? of_factor : 1.0f;
  if (!claims.mean || !claims.std || multiplier == 255.0f) return;
  for (float& value : *claims.mean) value = over_255(value * multiplier);
  for (float& value : *claims.std) value = over_255(value * multiplier);
}

// By 1 / 255.
bool scales_as_usual(const Object& processor) {
  return processor.flag("do_rescale").value_or(true) &&
         processor.number("rescale_factor").value_or(1.0 / 255.0) == 1.0 / 255.0;
}

// Without means the processor multiplies by the factor, as torchvision does, where with them it divides.
void read_mere_scaling(const Object& processor, CardClaims& claims) {
  if (processor.flag("do_normalize").value_or(true) || !processor.flag("do_rescale").value_or(true)) return;
  if (claims.pipeline == PixelPipeline::kDinov3) return;  // it multiplies anyhow
  const bool crops = claims.crop_mode != CropMode::kSquash || claims.crop_fraction != 1.0;
  if (scales_as_usual(processor) && !crops) {
    claims.pipeline = PixelPipeline::kTorchvision;  // whose crop alone is another
  } else if (claims.pipeline == PixelPipeline::kTransformers) {
    claims.note = fmt::format(
        "{} is false: the processor multiplies by its factor, and here it is divided, which "
        "differs in the last bit of some values",
        processor.where("do_normalize"));
  }
}

// Its resize is of floats. Where that has another filter or another scale than the usual one, the transform that the
// authors published is nearest.
void set_pipeline_of_dinov3(const Object& processor, CardClaims& claims) {
  if (scales_as_usual(processor) &&
      claims.interpolation.value_or(Interpolation::kBilinear) == Interpolation::kBilinear) {
    claims.pipeline = PixelPipeline::kDinov3;
    claims.interpolation = Interpolation::kBilinear;
    return;
  }
  claims.pipeline = PixelPipeline::kTorchvision;
  claims.note = fmt::format(
      "{}: DINOv3's processor resizes floats, which is exact here for bilinear and a factor of 1 / 255; 8-bit tensors "
      "are resized instead, as by its authors' transform",
      processor.where("image_processor_type"));
}

CardClaims read_processor(const Object& processor, const std::string& file) {
  CardClaims claims{.origin = file};
  const std::string type =
      processor.text("image_processor_type").value_or(processor.text("feature_extractor_type").value_or(""));
  claims.pipeline = PixelPipeline::kTransformers;
  read_normalization(processor, claims);
  if (const auto filter = processor.integer("resample")) {
    claims.interpolation = pillow_filter(*filter, processor.where("resample"));
  }
  if (type.starts_with("DINOv3")) set_pipeline_of_dinov3(processor, claims);
  if (!processor.flag("do_resize").value_or(true)) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{} is false: pictures stay as large as they are, and they become squares of one size here; "
                    "say true and a 'size', or move the file away",
                    processor.where("do_resize")));
  }

  const bool is_convnext = type.starts_with("ConvNext");
  const auto size = size_of(processor, "size", /*number_is_shortest_edge=*/true);
  if (!size) return claims;
  if (is_convnext && size->side < kSqueezedFrom) {
    claims.resolution = size->side;
    claims.crop_fraction = processor.crop_fraction("crop_pct");
    claims.crop_mode = CropMode::kCenter;
    read_mere_scaling(processor, claims);
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
  read_mere_scaling(processor, claims);
  return claims;
}

// OpenCLIP's open_clip_config.json.

CardClaims read_open_clip(const Object& config, const std::string& file) {
  CardClaims claims{.origin = file, .pipeline = PixelPipeline::kTimm};
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
    claims.std = preprocess->deviations("std");
    if (const auto name = preprocess->text("interpolation")) {
      claims.interpolation = timm_interpolation(*name, preprocess->where("interpolation"));
    }
    if (const auto mode = preprocess->text("resize_mode")) {
      if (*mode != "shortest" && *mode != "squash") {
        throw Error(ErrorCode::kUnsupported, fmt::format("{} is {}: expected shortest or squash",
                                                         preprocess->where("resize_mode"), in_quotes(*mode)));
      }
      claims.crop_mode = *mode == "squash" ? CropMode::kSquash : CropMode::kCenter;
    }
  }
  return claims;
}

}  // namespace

bool timm_fixes_input_size(const NetworkConfig& network) {
  return std::holds_alternative<VisionTransformerConfig>(network) || std::holds_alternative<SwinConfig>(network);
}

std::vector<CardClaims> read_claims(const fs::path& folder, const NetworkConfig& network, const FileLimits& limits) {
  std::vector<CardClaims> sources;
  const auto place = [](const fs::path& path) { return fmt::format("'{}'", path.string()); };
  std::optional<CardClaims> transformers;
  const fs::path config_path = folder / "config.json";
  if (const auto json = read_json(config_path, limits)) {
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
  if (const auto json = read_json(processor_path, limits); json && sources.empty()) {
    sources.push_back(read_processor(Object(*json, place(processor_path)), "preprocessor_config.json"));
  }
  if (transformers) sources.push_back(std::move(*transformers));
  const fs::path clip_path = folder / "open_clip_config.json";
  if (const auto json = read_json(clip_path, limits); json && sources.empty()) {
    sources.push_back(read_open_clip(Object(*json, place(clip_path)), "open_clip_config.json"));
  }
  return sources;
}

}  // namespace convnext
