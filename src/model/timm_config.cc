#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/decimal.h"
#include "model/card_sources.h"
#include "model/registry.h"

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

}  // namespace

std::string timm_config_json(const Card& card) {
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

  const Preprocessing& preprocessing = card.preprocessing;
  const int side = preprocessing.resolution;
  Json pretrained = {{"custom_load", false},
                     {"input_size", {network.input_channels, side, side}},
                     {"fixed_input_size", false},
                     {"interpolation", name_of(preprocessing.interpolation)},
                     {"crop_pct", preprocessing.crop_fraction},
                     {"crop_mode", name_of(preprocessing.crop_mode)},
                     {"mean", as_decimals(preprocessing.mean)},
                     {"std", as_decimals(preprocessing.std)},
                     {"num_classes", network.classes},
                     {"first_conv", "stem.0"},
                     {"classifier", "head.fc"}};
  if (!card.license.empty()) pretrained["license"] = card.license;
  Json config = {{"architecture", name},
                 {"num_classes", network.classes},
                 {"num_features", network.head == Head::kMlp ? network.head_hidden : network.dims.back()},
                 {"pretrained_cfg", std::move(pretrained)}};
  const Json arguments = model_arguments(network, std::get<ConvNextConfig>(architecture(name).network));
  if (!arguments.empty()) config["model_args"] = arguments;
  if (!card.labels.empty()) config["label_names"] = card.labels;
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace convnext
