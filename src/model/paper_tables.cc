#include "model/paper_tables.h"

#include <algorithm>
#include <array>

namespace convnext {
namespace {

constexpr Pretraining k1k = Pretraining::kNone;
constexpr Pretraining k22k = Pretraining::kImageNet22k;

constexpr std::string_view kSwinT = "swin_tiny_patch4_window7_224";
constexpr std::string_view kSwinS = "swin_small_patch4_window7_224";
constexpr std::string_view kSwinB = "swin_base_patch4_window7_224";
constexpr std::string_view kSwinB384 = "swin_base_patch4_window12_384";
constexpr std::string_view kSwinL = "swin_large_patch4_window7_224";
constexpr std::string_view kSwinL384 = "swin_large_patch4_window12_384";
constexpr std::string_view kDeitS = "deit_small_patch16_224";
constexpr std::string_view kDeitB = "deit_base_patch16_224";
constexpr std::string_view kVitL = "vit_large_patch16_224";

// Two figures for the same network differ in the paper itself: ConvNeXt-B at 384 costs 45.0 and 45.1, Swin-B 47.1 and
// 47.0. They are left as they are.
constexpr std::array kTable1 = {
    PaperFigures{"RegNetY-16G", "regnety_160", 224, k1k, 84, 16.0, 82.9, 334.7},
    PaperFigures{"EffNet-B7", "tf_efficientnet_b7", 600, k1k, 66, 37.0, 84.3, 55.1},
    PaperFigures{"EffNetV2-L", "tf_efficientnetv2_l", 480, k1k, 120, 53.0, 85.7, 83.7},
    PaperFigures{"DeiT-S", kDeitS, 224, k1k, 22, 4.6, 79.8, 978.5},
    PaperFigures{"DeiT-B", kDeitB, 224, k1k, 87, 17.6, 81.8, 302.1},
    PaperFigures{"Swin-T", kSwinT, 224, k1k, 28, 4.5, 81.3, 757.9, 1325.6},
    PaperFigures{"ConvNeXt-T", "convnext_tiny", 224, k1k, 29, 4.5, 82.1, 774.7, 1943.5},
    PaperFigures{"Swin-S", kSwinS, 224, k1k, 50, 8.7, 83.0, 436.7, 857.3},
    PaperFigures{"ConvNeXt-S", "convnext_small", 224, k1k, 50, 8.7, 83.1, 447.1, 1275.3},
    PaperFigures{"Swin-B", kSwinB, 224, k1k, 88, 15.4, 83.5, 286.6, 662.8},
    PaperFigures{"ConvNeXt-B", "convnext_base", 224, k1k, 89, 15.4, 83.8, 292.1, 969.0},
    PaperFigures{"Swin-B", kSwinB384, 384, k1k, 88, 47.1, 84.5, 85.1, 242.5},
    PaperFigures{"ConvNeXt-B", "convnext_base", 384, k1k, 89, 45.0, 85.1, 95.7, 336.6},
    PaperFigures{"ConvNeXt-L", "convnext_large", 224, k1k, 198, 34.4, 84.3, 146.8},
    PaperFigures{"ConvNeXt-L", "convnext_large", 384, k1k, 198, 101.0, 85.5, 50.4},
    PaperFigures{"R-101x3", "", 384, k22k, 388, 204.6, 84.4},
    PaperFigures{"R-152x4", "", 480, k22k, 937, 840.5, 85.4},
    PaperFigures{"EffNetV2-L", "tf_efficientnetv2_l", 480, k22k, 120, 53.0, 86.8, 83.7},
    PaperFigures{"EffNetV2-XL", "tf_efficientnetv2_xl", 480, k22k, 208, 94.0, 87.3, 56.5},
    PaperFigures{"ViT-B/16", "vit_base_patch16_384", 384, k22k, 87, 55.5, 85.4, 93.1},
    PaperFigures{"ViT-L/16", "vit_large_patch16_384", 384, k22k, 305, 191.1, 86.8, 28.5},
    PaperFigures{"ConvNeXt-T", "convnext_tiny", 224, k22k, 29, 4.5, 82.9, 774.7},
    PaperFigures{"ConvNeXt-T", "convnext_tiny", 384, k22k, 29, 13.1, 84.1, 282.8},
    PaperFigures{"ConvNeXt-S", "convnext_small", 224, k22k, 50, 8.7, 84.6, 447.1},
    PaperFigures{"ConvNeXt-S", "convnext_small", 384, k22k, 50, 25.5, 85.8, 163.5},
    PaperFigures{"Swin-B", kSwinB, 224, k22k, 88, 15.4, 85.2, 286.6, 662.8},
    PaperFigures{"ConvNeXt-B", "convnext_base", 224, k22k, 89, 15.4, 85.8, 292.1, 969.0},
    PaperFigures{"Swin-B", kSwinB384, 384, k22k, 88, 47.0, 86.4, 85.1, 242.5},
    PaperFigures{"ConvNeXt-B", "convnext_base", 384, k22k, 89, 45.1, 86.8, 95.7, 336.6},
    PaperFigures{"Swin-L", kSwinL, 224, k22k, 197, 34.5, 86.3, 145.0, 435.9},
    PaperFigures{"ConvNeXt-L", "convnext_large", 224, k22k, 198, 34.4, 86.6, 146.8, 611.5},
    PaperFigures{"Swin-L", kSwinL384, 384, k22k, 197, 103.9, 87.3, 46.0, 157.9},
    PaperFigures{"ConvNeXt-L", "convnext_large", 384, k22k, 198, 101.0, 87.5, 50.4, 211.4},
    PaperFigures{"ConvNeXt-XL", "convnext_xlarge", 224, k22k, 350, 60.9, 87.0, 89.3, 424.4},
    PaperFigures{"ConvNeXt-XL", "convnext_xlarge", 384, k22k, 350, 179.0, 87.8, 30.2, 147.4},
};

// ViT-S and ViT-B are DeiT's, ViT-L is the supervised one of MAE's authors.
constexpr std::array kTable2 = {
    PaperFigures{"ViT-S", kDeitS, 224, k1k, 22, 4.6, 79.8, 978.5, 0, 4.9},
    PaperFigures{"ConvNeXt-S (iso.)", "convnext_isotropic_small", 224, k1k, 22, 4.3, 79.7, 1038.7, 0, 4.2},
    PaperFigures{"ViT-B", kDeitB, 224, k1k, 87, 17.6, 81.8, 302.1, 0, 9.1},
    PaperFigures{"ConvNeXt-B (iso.)", "convnext_isotropic_base", 224, k1k, 87, 16.9, 82.0, 320.1, 0, 7.7},
    PaperFigures{"ViT-L", kVitL, 224, k1k, 304, 61.6, 82.6, 93.1, 0, 22.5},
    PaperFigures{"ConvNeXt-L (iso.)", "convnext_isotropic_large", 224, k1k, 306, 59.7, 82.6, 94.4, 0, 20.4},
};

struct Rival {
  std::string_view architecture;
  int resolution;
  std::string_view rival;
};

constexpr std::array kRivals = {
    Rival{"convnext_tiny", 224, kSwinT},
    Rival{"convnext_small", 224, kSwinS},
    Rival{"convnext_base", 224, kSwinB},
    Rival{"convnext_base", 384, kSwinB384},
    Rival{"convnext_large", 224, kSwinL},
    Rival{"convnext_large", 384, kSwinL384},
    Rival{"convnext_isotropic_small", 224, kDeitS},
    Rival{"convnext_isotropic_base", 224, kDeitB},
    Rival{"convnext_isotropic_large", 224, kVitL},
};

}  // namespace

std::span<const PaperFigures> paper_table_1() { return kTable1; }

std::span<const PaperFigures> paper_table_2() { return kTable2; }

const PaperFigures* paper_figures(std::string_view architecture, int resolution, Pretraining pretraining) {
  if (architecture.empty()) return nullptr;
  for (const std::span<const PaperFigures> table : {paper_table_1(), paper_table_2()}) {
    const auto row = std::ranges::find_if(table, [&](const PaperFigures& figures) {
      return figures.architecture == architecture && figures.resolution == resolution &&
             figures.pretraining == pretraining;
    });
    if (row != table.end()) return &*row;
  }
  return nullptr;
}

PaperSpeed paper_speed(std::string_view architecture, int resolution) {
  PaperSpeed speed;
  if (architecture.empty()) return speed;
  for (const std::span<const PaperFigures> table : {paper_table_1(), paper_table_2()}) {
    for (const PaperFigures& figures : table) {
      if (figures.architecture != architecture || figures.resolution != resolution) continue;
      if (speed.v100 == 0) speed.v100 = figures.v100;
      if (speed.a100 == 0) speed.a100 = figures.a100;
      if (speed.training_memory == 0) speed.training_memory = figures.training_memory;
    }
  }
  return speed;
}

std::string_view rival_of(std::string_view architecture, int resolution) {
  const auto row = std::ranges::find_if(kRivals, [&](const Rival& known) {
    return known.architecture == architecture && known.resolution == resolution;
  });
  return row == kRivals.end() ? std::string_view() : row->rival;
}

}  // namespace convnext
