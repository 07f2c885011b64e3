#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/decimal.h"
#include "model/card_sources.h"
#include "model/registry.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

Json decimals(const std::array<float, 3>& values) {
  return {as_decimal(values[0]), as_decimal(values[1]), as_decimal(values[2])};
}

constexpr double kFixedEps = 1e-6;  // of all norms but the last

std::string as_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

[[noreturn]] void refuse(const Card& card, std::string_view why) {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("transformers has no network like this {}: {}", card.architecture, why));
}

std::string_view transformers_activation(Activation activation) {
  return activation == Activation::kGeluTanh ? "gelu_pytorch_tanh" : name_of(activation);
}

// PIL.Image.Resampling.
int pillow_number(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kLanczos:
      return 1;
    case Interpolation::kBilinear:
      return 2;
    case Interpolation::kBicubic:
      return 3;
    case Interpolation::kBox:
      return 4;
    case Interpolation::kHamming:
      return 5;
  }
  return 3;
}

}  // namespace

std::string transformers_config_json(const Card& card) {
  const auto& network = std::get<ConvNextConfig>(card.network);
  const bool is_dinov3 = architecture(card.architecture).family == Family::kDinov3ConvNext && network.classes == 0;
  if (network.stem != Stem::kPatch || !network.stem_norm)
    refuse(card, "its stem is a convolution of patches and a norm");
  if (network.norm != Norm::kLayerNorm) refuse(card, "its norms are LayerNorm");
  if (network.head != Head::kPoolNorm) refuse(card, "its head is a pool, a norm and a classifier");
  if (std::ranges::any_of(network.kernel_sizes, [](int kernel) { return kernel != 7; })) {
    refuse(card, "its depthwise kernels are 7x7");
  }
  if (network.grn && network.layer_scale) refuse(card, "response norms exclude layer scales");
  if (is_dinov3 && (network.patch_size != 4 || network.grn))
    refuse(card, "DINOv3's has patches of 4 and no response norms");
  if (is_dinov3 ? network.head_eps() != network.norm_eps : network.norm_eps != kFixedEps) {
    refuse(card, fmt::format("the eps of its norms is fixed, and this is {}", network.norm_eps));
  }

  const std::string kind = is_dinov3 ? "DINOv3ConvNext" : network.grn ? "ConvNextV2" : "ConvNext";
  const std::string type = is_dinov3 ? "dinov3_convnext" : network.grn ? "convnextv2" : "convnext";
  Json config = {
      {"architectures", {kind + (network.classes > 0 ? "ForImageClassification" : "Model")}},
      {"model_type", type},
      {"num_channels", network.input_channels},
      {"hidden_sizes", network.dims},
      {"depths", network.depths},
      {"hidden_act", transformers_activation(network.activation)},
      {"layer_norm_eps", network.head_eps()},
      {"image_size", card.preprocessing.resolution},
      {"drop_path_rate", 0.0},
      {"initializer_range", 0.02},
  };
  if (!is_dinov3) {
    config["patch_size"] = network.patch_size;
    config["num_stages"] = network.stages();
  }
  if (!network.grn) config["layer_scale_init_value"] = network.layer_scale ? 1e-6 : 0.0;
  if (network.classes > 0) {
    Json id2label = Json::object();
    Json label2id = Json::object();
    for (int i = 0; i < network.classes; ++i) {
      const std::string label =
          card.labels.empty() ? fmt::format("LABEL_{}", i) : card.labels[static_cast<std::size_t>(i)];
      id2label[fmt::format("{}", i)] = label;
      label2id[label] = i;
    }
    config["id2label"] = std::move(id2label);
    config["label2id"] = std::move(label2id);
  }
  return as_text(config);
}

std::string transformers_preprocessor_json(const Card& card) {
  const Preprocessing& preprocessing = card.preprocessing;
  const int side = preprocessing.resolution;
  const int resized = static_cast<int>(std::floor(side / preprocessing.crop_fraction));
  Json json = {{"do_resize", true},
               {"do_rescale", true},
               {"do_normalize", true},
               {"rescale_factor", 1.0 / 255.0},
               {"image_mean", decimals(preprocessing.mean)},
               {"image_std", decimals(preprocessing.std)},
               {"resample", pillow_number(preprocessing.interpolation)}};
  // ConvNeXt's own processor crops below 384 pixels and squeezes from there on; Bit's does what it is told.
  constexpr int kSqueezedFrom = 384;
  if (preprocessing.crop_mode != CropMode::kCenter && preprocessing.crop_mode != CropMode::kSquash) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("transformers prepares no pictures by the crop mode {}", name_of(preprocessing.crop_mode)));
  }
  const bool squeezes = preprocessing.crop_mode == CropMode::kSquash;
  if (squeezes ? side >= kSqueezedFrom && resized == side : side < kSqueezedFrom) {
    json["image_processor_type"] = "ConvNextImageProcessor";
    json["crop_pct"] = preprocessing.crop_fraction;
    json["size"] = {{"shortest_edge", side}};
  } else {
    json["image_processor_type"] = "BitImageProcessor";
    json["do_center_crop"] = true;
    json["crop_size"] = {{"height", side}, {"width", side}};
    json["size"] = squeezes ? Json({{"height", resized}, {"width", resized}}) : Json({{"shortest_edge", resized}});
  }
  return as_text(json);
}

}  // namespace convnext
