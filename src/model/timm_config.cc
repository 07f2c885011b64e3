#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <variant>

#include "convnext/error.h"
#include "core/decimal.h"
#include "model/card_claims.h"
#include "model/card_sources.h"
#include "model/description.h"
#include "model/layouts.h"
#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

std::string_view timm_norm(Norm norm) {
  switch (norm) {
    case Norm::kRmsNorm:
      return "rmsnorm";
    case Norm::kSimpleNorm:
      return "simplenorm";
    default:
      return "layernorm";
  }
}

// timm's arguments of a network, where it is not the one of that name. Its one eps is that of all norms but ours of the
// head, which timm cannot say.
Json model_arguments(const ConvNextConfig& network, const ConvNextConfig& registered) {
  Json arguments = Json::object();
  const auto add = [&arguments](const char* key, const auto& value, const auto& usual) {
    if (value != usual) arguments[key] = value;
  };
  add("depths", network.depths, registered.depths);
  add("dims", network.dims, registered.dims);
  add("kernel_sizes", network.kernel_sizes, registered.kernel_sizes);
  add("patch_size", network.patch_size, registered.patch_size);
  add("in_chans", network.input_channels, 3);
  add("stem_type", name_of(network.stem), name_of(registered.stem));
  add("norm_layer", timm_norm(network.norm), timm_norm(registered.norm));
  add("norm_eps", network.norm_eps, registered.norm_eps);
  add("act_layer", name_of(network.activation), name_of(registered.activation));
  add("conv_mlp", network.conv_mlp, registered.conv_mlp);
  add("use_grn", network.grn, registered.grn);
  add("head_norm_first", network.head == Head::kNormPool, registered.head == Head::kNormPool);
  if (network.layer_scale != registered.layer_scale) {
    arguments["ls_init_value"] = network.layer_scale ? Json(1e-6) : Json(nullptr);
  }
  const auto hidden = [](const ConvNextConfig& config) {
    return config.head == Head::kMlp ? Json(config.head_hidden) : Json(nullptr);
  };
  add("head_hidden_size", hidden(network), hidden(registered));
  return arguments;
}

// The same of another family, whose depths and widths are the registered ones. The size that timm builds a transformer
// for is that of the pictures: with 'fixed_input_size' it takes 'input_size'.
Json model_arguments(const NetworkConfig& network, const NetworkConfig& registered) {
  Json arguments = Json::object();
  if (input_channels(network) != 3) arguments["in_chans"] = input_channels(network);
  if (const auto* efficientnet = std::get_if<EfficientNetConfig>(&network)) {
    const double usual = std::get<EfficientNetConfig>(registered).norm_eps;
    if (efficientnet->norm_eps != usual) arguments["bn_eps"] = efficientnet->norm_eps;
  }
  if (const auto* swin = std::get_if<SwinConfig>(&network)) {
    const int window = swin->largest_window();
    if (window != std::get<SwinConfig>(registered).largest_window()) arguments["window_size"] = window;
  }
  return arguments;
}

// Names of the first layer with weights, and of those that give the logits: one, or a list.
std::string first_layer(const std::vector<TensorSpec>& specs) {
  const auto first = std::ranges::find(specs, TensorRole::kWeight, &TensorSpec::role);
  return first->name.substr(0, first->name.rfind('.'));
}

Json classifiers(const std::vector<TensorSpec>& specs) {
  Json names = Json::array();
  for (const TensorSpec& spec : specs) {
    if (spec.is_classifier && spec.role == TensorRole::kWeight)
      names.push_back(spec.name.substr(0, spec.name.rfind('.')));
  }
  return names.size() == 1 ? names.front() : names;
}

// What is the same for every family.
Json common_config(const Card& card, const std::string& name) {
  const Preprocessing& preprocessing = card.preprocessing;
  const int side = preprocessing.resolution;
  Json pretrained = {{"custom_load", false},
                     {"input_size", {input_channels(card.network), side, side}},
                     {"fixed_input_size", timm_fixes_input_size(card.network)},
                     {"interpolation", name_of(preprocessing.interpolation)},
                     {"crop_pct", preprocessing.crop_fraction},
                     {"crop_mode", name_of(preprocessing.crop_mode)},
                     {"mean", as_decimals(preprocessing.mean)},
                     {"std", as_decimals(preprocessing.std)},
                     {"num_classes", class_count(card.network)}};
  if (!card.license.empty()) pretrained["license"] = card.license;
  Json config = {{"architecture", name},
                 {"num_classes", class_count(card.network)},
                 {"num_features", embedding_channels(card.network)},
                 {"pretrained_cfg", std::move(pretrained)}};
  if (!card.labels.empty()) config["label_names"] = card.labels;
  return config;
}

std::string text_of(const Json& config) { return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string other_family_config_json(const Card& card) {
  require_expressible(card, WrittenLayout::kTimm);
  const RegistryEntry& entry = architecture(card.architecture);
  Json config = common_config(card, entry.name);
  const std::vector<TensorSpec> specs = tensor_specs(card.network);
  config["pretrained_cfg"]["first_conv"] = first_layer(specs);
  if (class_count(card.network) > 0) config["pretrained_cfg"]["classifier"] = classifiers(specs);
  const Json arguments = model_arguments(card.network, entry.network);
  if (!arguments.empty()) config["model_args"] = arguments;
  return text_of(config);
}

}  // namespace

std::string timm_config_json(const Card& card) {
  if (!std::holds_alternative<ConvNextConfig>(card.network)) return other_family_config_json(card);
  const auto& network = std::get<ConvNextConfig>(card.network);
  const RegistryEntry& entry = architecture(card.architecture);
  if (!network.stem_norm || network.stages() != 4 || entry.family == Family::kConvNextIsotropic) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("timm has no such network as this {}: its ConvNeXts have four stages and a norm in the stem",
                    card.architecture));
  }
  constexpr std::string_view kDinov3 = "dinov3_";
  std::string name = entry.name;
  if (name.starts_with(kDinov3)) name.erase(0, kDinov3.size());

  Json config = common_config(card, name);
  config["pretrained_cfg"]["first_conv"] = "stem.0";
  config["pretrained_cfg"]["classifier"] = "head.fc";
  const Json arguments = model_arguments(network, std::get<ConvNextConfig>(architecture(name).network));
  if (!arguments.empty()) config["model_args"] = arguments;
  return text_of(config);
}

}  // namespace convnext
