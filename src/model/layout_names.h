// What the tensors of a network are called by whoever publishes weights: the one table of names, read in both
// directions. src/model/layout_names.cc holds it; another family of networks adds its rows there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/tensor.h"
#include "model/registry.h"

namespace convnext {

// Of one family each, ConvNeXt's first.
enum class WeightLayout {
  kTimm,         // timm; also our own
  kFb,           // the authors' V1 and V2, DINOv3, and the backbones of their detectors and segmenters
  kFbIsotropic,  // the authors' isotropic networks
  kTorchvision,
  kHf,          // Hugging Face's ConvNext and ConvNextV2
  kHfDinov3,    // Hugging Face's DINOv3ConvNext
  kMmpretrain,  // OpenMMLab's mmpretrain
  kOpenClip,    // the picture tower of OpenCLIP: timm's names under visual.trunk
  kFcmae,       // ConvNeXt V2's pre-training with sparse convolutions
  kResNet,      // timm and torchvision; also our own
  kRegNet,      // timm; also our own, like those of the families below
  kRegNetTorchvision,
  kEfficientNet,
  kEfficientNetV2Torchvision,
  kEfficientNetTorchvision,
  kVisionTransformer,  // and the authors' of DeiT
  kVisionTransformerTorchvision,
  kSwin,
  kSwinMicrosoft,  // the authors'
  kSwinTorchvision,
};
// Whose it is: "timm", "fb", "fb_isotropic", "torchvision", "hf", "hf_dinov3", "mmpretrain", "open_clip", "fcmae",
// "microsoft".
std::string_view name_of(WeightLayout layout);
// kConvNext for all that is ConvNeXt, kResNet also for the steps of the roadmap.
Family family_of(WeightLayout layout);
// All of them, in the order in which they are tried.
const std::vector<WeightLayout>& weight_layouts();

// How a tensor lies in a layout, where that is not how it lies in ours. The order of the elements is the same but for
// kSparseKernel.
enum class TensorForm {
  kSame,
  kLinear,        // (out, in), whether ours is (out, in) or (out, in, 1, 1)
  kChannelMap,    // (channels, 1, 1)
  kChannelsLast,  // (1, 1, 1, channels)
  // (taps, in, out), or (taps, channels) of a depthwise convolution; taps run down the columns of the kernel.
  kSparseKernel,
};

struct TensorName {
  std::string name;
  TensorForm form = TensorForm::kSame;
  int stage = -1;  // where it has one
  int block = -1;
};

// What we call the tensor that a file in that layout calls `key`; nothing when it is no name of the layout. Prefixes
// that wrappers add ("module.", "backbone.", "_orig_mod.", "convnext.") are not part of a name.
std::optional<TensorName> own_name(WeightLayout layout, std::string_view key);

// What the layout calls the tensor that we call `own`, without prefix; nothing when the layout has no such tensor.
std::optional<TensorName> name_in(WeightLayout layout, std::string_view own);

// Whether it is what PyTorch's modules keep beside their weights, and every file of theirs has: counters of batch norm,
// the indices of relative positions, masks of attention.
bool is_buffer(std::string_view key);

// Whether a tensor that no layout has a name for is known to be no part of the network: buffers, heads of detectors,
// decoders and projections of pre-training, norms of features, the text tower of a CLIP.
bool is_known_extra(WeightLayout layout, std::string_view key);

}  // namespace convnext
