// What a network is, before it has weights: plain values from which the engine, the libtorch module, the count of
// operations and the list of tensors are all made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/efficientnet.h"
#include "model/regnet.h"
#include "model/resnet.h"
#include "model/swin.h"
#include "model/vision_transformer.h"

namespace convnext {

// The layers before the first stage. All but kPatch are timm's and reduce by 4 whatever the patch size.
enum class Stem {
  kPatch,          // conv of kernel and stride patch_size -> norm
  kOverlap,        // conv 3x3 stride 2 -> conv 3x3 stride 2 -> norm
  kOverlapTiered,  // the same with half the width between the two
  kOverlapAct,     // the same as kOverlap with the activation between the two
};

// Normalisation over the channels of a pixel.
enum class Norm {
  kLayerNorm,   // (x - mean) / sqrt(var + eps) * weight + bias, var over C
  kRmsNorm,     // x / sqrt(mean(x^2) + eps) * weight
  kSimpleNorm,  // x / sqrt(var + eps) * weight, var over C - 1 (unbiased), the mean is not subtracted
};

enum class Activation {
  kGelu,      // x / 2 * (1 + erf(x / sqrt(2)))
  kGeluTanh,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  kSilu,      // x / (1 + exp(-x))
};

// The layers after the last stage.
enum class Head {
  kPoolNorm,  // average pool -> norm -> classifier: the paper's
  kNormPool,  // norm on the map -> average pool -> classifier: timm's head_norm_first
  kMlp,       // average pool -> norm -> linear to head_hidden -> GELU -> classifier: timm's large_mlp
};

// Every ConvNeXt: V1, V2 (global response normalisation), isotropic (one stage, no norm in the stem), DINOv3
// (no classifier), and anything between them.
struct ConvNextConfig {
  std::vector<int> depths = {3, 3, 9, 3};        // blocks a stage
  std::vector<int> dims = {96, 192, 384, 768};   // channels a stage
  std::vector<int> kernel_sizes = {7, 7, 7, 7};  // side of the depthwise kernel a stage; odd
  int patch_size = 4;                            // kernel and stride of a kPatch stem
  int input_channels = 3;
  int classes = 1000;  // 0: no classifier, the pooled features are the output
  Stem stem = Stem::kPatch;
  bool stem_norm = true;  // false in the isotropic networks
  Norm norm = Norm::kLayerNorm;
  double norm_eps = 1e-6;
  // Of the norm in the head, where it has an eps of its own; 0: norm_eps. Hugging Face's ConvNeXt takes it from its
  // config.json (1e-12 there) and fixes all others: for the small features of a fresh network that moves logits by
  // 4e-5.
  double head_norm_eps = 0.0;
  Activation activation = Activation::kGelu;
  bool conv_mlp = false;    // linears of a block stored as 1x1 convolutions: (out, in, 1, 1)
  bool layer_scale = true;  // gamma after the second linear
  bool grn = false;         // global response normalisation before the second linear (V2)
  Head head = Head::kPoolNorm;
  int head_hidden = 0;  // width of a kMlp head

  double head_eps() const { return head_norm_eps > 0 ? head_norm_eps : norm_eps; }
  int stages() const { return static_cast<int>(depths.size()); }

  // Every field by the name it has in a card.
  template <typename Config, typename Visit>
  static void visit_fields(Config& config, const Visit& visit) {
    visit("depths", config.depths);
    visit("dims", config.dims);
    visit("kernel_sizes", config.kernel_sizes);
    visit("patch_size", config.patch_size);
    visit("input_channels", config.input_channels);
    visit("classes", config.classes);
    visit("stem", config.stem);
    visit("stem_norm", config.stem_norm);
    visit("norm", config.norm);
    visit("norm_eps", config.norm_eps);
    visit("head_norm_eps", config.head_norm_eps);
    visit("activation", config.activation);
    visit("conv_mlp", config.conv_mlp);
    visit("layer_scale", config.layer_scale);
    visit("grn", config.grn);
    visit("head", config.head);
    visit("head_hidden", config.head_hidden);
  }
  bool operator==(const ConvNextConfig&) const = default;
};

// ConvNeXt, and the families that the paper compares it with. Each has the fields classes and input_channels.
using NetworkConfig =
    std::variant<ConvNextConfig, ResNetConfig, RegNetConfig, EfficientNetConfig, VisionTransformerConfig, SwinConfig>;

// Width between the two convolutions of an overlapping stem.
int stem_width(const ConvNextConfig& config);

// Throws Error (kInvalidArgument) with the field, its value and the range, when no such network can exist: up to 4
// stages of equal-length lists, depths up to 256, dims up to 16384, odd kernels up to 31, patch up to 64, classes up to
// 1,000,000, input channels up to 64.
void validate(const ConvNextConfig& config);
void validate(const NetworkConfig& config);

int class_count(const NetworkConfig& config);
int input_channels(const NetworkConfig& config);
void set_class_count(NetworkConfig& config, int classes);

// Values given on a command line, in a recipe or in a card that replace those of a registered network.
struct NetworkOverrides {
  std::optional<std::vector<int>> depths{};
  std::optional<std::vector<int>> dims{};
  std::optional<std::vector<int>> kernel_sizes{};  // one value stands for all stages
  std::optional<int> patch_size{};
  std::optional<int> classes{};
  std::optional<int> input_channels{};
  bool empty() const { return !depths && !dims && !kernel_sizes && !patch_size && !classes && !input_channels; }
};

// Puts the overrides in place. Throws Error (kInvalidArgument) for one that does not go with the rest.
void apply(const NetworkOverrides& overrides, ConvNextConfig& config);

// `config` with the overrides in place, validated.
NetworkConfig with_overrides(NetworkConfig config, const NetworkOverrides& overrides);

// The names used in cards: "overlap_tiered", "layer_norm", "gelu_tanh", "pool_norm", ...
std::string_view name_of(Stem stem);
std::string_view name_of(Norm norm);
std::string_view name_of(Activation activation);
std::string_view name_of(Head head);

}  // namespace convnext
