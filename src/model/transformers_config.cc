#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/decimal.h"
#include "model/card_sources.h"
#include "model/layouts.h"
#include "model/transformers_processor.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

std::string as_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string_view transformers_activation(Activation activation) {
  return activation == Activation::kGeluTanh ? "gelu_pytorch_tanh" : name_of(activation);
}

int pillow_number(Interpolation interpolation) {
  return std::ranges::find(kPillowFilters, interpolation, &PillowFilter::interpolation)->number;
}

}  // namespace

std::string transformers_config_json(const Card& card) {
  require_expressible(card, WrittenLayout::kHf);
  const auto& network = std::get<ConvNextConfig>(card.network);
  const bool dinov3 = is_dinov3(card);

  const std::string kind = dinov3 ? "DINOv3ConvNext" : network.grn ? "ConvNextV2" : "ConvNext";
  const std::string type = dinov3 ? "dinov3_convnext" : network.grn ? "convnextv2" : "convnext";
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
  if (!dinov3) {
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
  if (!has_filter(PixelPipeline::kTransformers, preprocessing.interpolation)) {
    throw Error(ErrorCode::kUnsupported, fmt::format("transformers resizes pictures by bilinear, bicubic and lanczos, "
                                                     "and not by {}",
                                                     name_of(preprocessing.interpolation)));
  }
  const int side = preprocessing.resolution;
  const int resized = static_cast<int>(std::floor(side / preprocessing.crop_fraction));
  Json json = {{"do_resize", true},
               {"do_rescale", true},
               {"do_normalize", true},
               {"rescale_factor", 1.0 / 255.0},
               {"image_mean", as_decimals(preprocessing.mean)},
               {"image_std", as_decimals(preprocessing.std)},
               {"resample", pillow_number(preprocessing.interpolation)}};
  // ConvNeXt's own processor does one or the other by the side; Bit's does what it is told.
  if (preprocessing.crop_mode != CropMode::kCenter && preprocessing.crop_mode != CropMode::kSquash) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("transformers prepares no pictures by the crop mode {}", name_of(preprocessing.crop_mode)));
  }
  const bool squeezes = preprocessing.crop_mode == CropMode::kSquash;
  const Json whole = squeezes ? Json({{"height", resized}, {"width", resized}}) : Json({{"shortest_edge", resized}});
  if (preprocessing.pipeline == PixelPipeline::kDinov3) {
    json["image_processor_type"] = "DINOv3ViTImageProcessor";
    json["size"] = whole;
    if (!squeezes || resized != side) {
      json["do_center_crop"] = true;
      json["crop_size"] = {{"height", side}, {"width", side}};
    }
  } else if (squeezes ? side >= kSqueezedFrom && resized == side : side < kSqueezedFrom) {
    json["image_processor_type"] = "ConvNextImageProcessor";
    json["crop_pct"] = preprocessing.crop_fraction;
    json["size"] = {{"shortest_edge", side}};
  } else {
    json["image_processor_type"] = "BitImageProcessor";
    json["do_center_crop"] = true;
    json["crop_size"] = {{"height", side}, {"width", side}};
    json["size"] = whole;
  }
  return as_text(json);
}

}  // namespace convnext
