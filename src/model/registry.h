// Every network that the program knows by name, described once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/image.h"
#include "model/config.h"

namespace convnext {

enum class Family {
  kConvNext,
  kConvNextV2,
  kConvNextIsotropic,
  kDinov3ConvNext,
  kResNet,  // ResNet and ResNeXt
  kRegNet,
  kEfficientNet,       // and EfficientNetV2
  kVisionTransformer,  // ViT and DeiT
  kSwin,
  kRoadmap,  // the steps between ResNet and ConvNeXt
};
// "convnext", "convnextv2", "convnext_isotropic", "dinov3_convnext", "resnet", "regnet", "efficientnet",
// "vision_transformer", "swin", "roadmap".
std::string_view name_of(Family family);

// The family that layouts and modules are made for: kConvNext for all that is ConvNeXt, kResNet for what is described
// as one, the steps of the roadmap included.
Family family_of(const NetworkConfig& network);

struct RegistryEntry {
  std::string name;  // timm's, or convnext_isotropic_* and dinov3_convnext_*, which timm has no architectures for
  std::vector<std::string> aliases;
  Family family;
  NetworkConfig network;          // with the 1,000 classes of ImageNet-1K, where there is a classifier
  Preprocessing preprocessing;    // of the weights that the authors published
  std::optional<double> top1;     // published ImageNet-1K accuracy of those weights at that resolution, percent
  std::string published_weights;  // which weights those are, by their tag in published.h: "fb_in1k"
};

// In the order of the families, small to large.
const std::vector<RegistryEntry>& registry();

// Null when there is none of that name or alias.
const RegistryEntry* find_architecture(std::string_view name);
// Throws Error (kNotFound) that offers the nearest names.
const RegistryEntry& architecture(std::string_view name);

}  // namespace convnext
