// What the paper says of the networks that it compares, as printed: Liu et al., "A ConvNet for the 2020s", 2022,
// Table 1 (accuracy, cost, V100), Table 2 (isotropic networks) and Table 12 (A100).
#pragma once

#include <span>
#include <string_view>

namespace convnext {

enum class Pretraining {
  kNone,         // trained on ImageNet-1K alone
  kImageNet22k,  // then fine-tuned on ImageNet-1K
};

// A row. Zeros stand where nothing is printed.
struct PaperFigures {
  std::string_view name;          // as printed: "Swin-T"
  std::string_view architecture;  // timm's name; empty where there is no network of ours
  int resolution = 224;
  Pretraining pretraining = Pretraining::kNone;
  double params = 0.0;           // millions
  double gmac = 0.0;             // 1e9 multiply-accumulates, attention's included: the paper's FLOPs
  double top1 = 0.0;             // on ImageNet-1K, percent
  double v100 = 0.0;             // pictures a second: float32, batches by Swin's script
  double a100 = 0.0;             // pictures a second: PyTorch 1.10, TF32, channels_last; Table 12
  double training_memory = 0.0;  // GB on each GPU with 32 pictures; Table 2
};

// Table 1, top to bottom, with Table 12 as its last column: the networks trained on ImageNet-1K alone, then those
// trained on ImageNet-22K first.
std::span<const PaperFigures> paper_table_1();
// Table 2: ViT and isotropic ConvNeXt, small to large.
std::span<const PaperFigures> paper_table_2();

// The row of a network at a resolution, of Table 1 or else of Table 2; null when there is none.
const PaperFigures* paper_figures(std::string_view architecture, int resolution, Pretraining pretraining);

// How fast it runs and what training takes, which is the same whatever it was trained on: v100, a100 and
// training_memory of all rows of a network at a resolution, each from the first row that prints it. Zeros where none
// does.
struct PaperSpeed {
  double v100 = 0.0;
  double a100 = 0.0;
  double training_memory = 0.0;
};
PaperSpeed paper_speed(std::string_view architecture, int resolution);

// What is printed beside a ConvNeXt for comparison: the Swin of its size at its resolution, the ViT of its size for an
// isotropic one. Empty for every other network.
std::string_view rival_of(std::string_view architecture, int resolution);

}  // namespace convnext
