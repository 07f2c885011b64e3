#include "model/layout_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

#include "model/name_rows.h"

namespace convnext {
namespace {

using enum TensorForm;

// Of two rows that fit, the first one counts, so that the stem can share a pattern with the downsampling layers.
constexpr NameRow kTimmNames[] = {
    {"stem.0.*"},
    {"stem.1.*"},  // what it is depends on the stem: a norm or a convolution
    {"stem.2.*"},
    {"stem.3.*"},
    {"stages.{s}.downsample.0.*"},
    {"stages.{s}.downsample.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*"},
    {"stages.{s}.blocks.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*"},
    {"stages.{s}.blocks.{b}.mlp.grn.*"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*"},
    {"stages.{s}.blocks.{b}.gamma"},
    {"norm_pre.*"},
    {"head.norm.*"},
    {"head.pre_logits.fc.*"},
    {"head.fc.*"},
};

// facebookresearch/ConvNeXt models/convnext.py, ConvNeXt-V2 models/convnextv2.py, dinov3 models/convnext.py.
constexpr NameRow kFbNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.*"},
    {"stages.{s}.downsample.1.*", "downsample_layers.{s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.{b}.dwconv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pwconv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pwconv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.{b}.gamma"},
    {"head.norm.*", "norm.*"},
    {"head.norm.*", "norm3.*"},  // of a backbone: the norm of the last stage's output
    {"head.fc.*", "head.*"},
    {"head.fc.*", "fc.*"},  // of keyu-tian/SparK, pretrain/models/convnext.py
};

// facebookresearch/ConvNeXt models/convnext_isotropic.py.
constexpr NameRow kFbIsotropicNames[] = {
    {"stem.0.*", "stem.*"},
    {"stages.0.blocks.{b}.conv_dw.*", "blocks.{b}.dwconv.*"},
    {"stages.0.blocks.{b}.norm.*", "blocks.{b}.norm.*"},
    {"stages.0.blocks.{b}.mlp.fc1.*", "blocks.{b}.pwconv1.*", kLinear},
    {"stages.0.blocks.{b}.mlp.fc2.*", "blocks.{b}.pwconv2.*", kLinear},
    {"stages.0.blocks.{b}.gamma", "blocks.{b}.gamma"},
    {"head.norm.*", "norm.*"},
    {"head.fc.*", "head.*"},
};

// torchvision/models/convnext.py: features 0 is the stem, 1 3 5 7 are the stages, 2 4 6 the downsampling layers.
constexpr NameRow kTorchvisionNames[] = {
    {"stem.0.*", "features.0.0.*"},
    {"stem.1.*", "features.0.1.*"},
    {"stages.{s}.downsample.0.*", "features.{2s}.0.*"},
    {"stages.{s}.downsample.1.*", "features.{2s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "features.{2s+1}.{b}.block.0.*"},
    {"stages.{s}.blocks.{b}.norm.*", "features.{2s+1}.{b}.block.2.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "features.{2s+1}.{b}.block.3.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "features.{2s+1}.{b}.block.5.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "features.{2s+1}.{b}.layer_scale", kChannelMap},
    {"head.norm.*", "classifier.0.*"},
    {"head.fc.*", "classifier.2.*"},
};

// transformers models/convnext/modeling_convnext.py and models/convnextv2/modeling_convnextv2.py.
constexpr NameRow kHfNames[] = {
    {"stem.0.*", "embeddings.patch_embeddings.*"},
    {"stem.1.*", "embeddings.layernorm.*"},
    {"stages.{s}.downsample.0.*", "encoder.stages.{s}.downsampling_layer.0.*"},
    {"stages.{s}.downsample.1.*", "encoder.stages.{s}.downsampling_layer.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "encoder.stages.{s}.layers.{b}.dwconv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "encoder.stages.{s}.layers.{b}.layernorm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "encoder.stages.{s}.layers.{b}.pwconv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.*", "encoder.stages.{s}.layers.{b}.grn.*", kChannelsLast},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "encoder.stages.{s}.layers.{b}.pwconv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "encoder.stages.{s}.layers.{b}.layer_scale_parameter"},
    {"head.norm.*", "layernorm.*"},
    {"head.norm.*", "hidden_states_norms.stage4.*"},  // of a backbone: the norm of the last stage's output
    {"head.fc.*", "classifier.*"},
};

// transformers models/dinov3_convnext/modeling_dinov3_convnext.py.
constexpr NameRow kHfDinov3Names[] = {
    {"stem.0.*", "stages.0.downsample_layers.0.*"},
    {"stem.1.*", "stages.0.downsample_layers.1.*"},
    {"stages.{s}.downsample.0.*", "stages.{s}.downsample_layers.0.*"},
    {"stages.{s}.downsample.1.*", "stages.{s}.downsample_layers.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.layers.{b}.depthwise_conv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.layers.{b}.layer_norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.layers.{b}.pointwise_conv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.layers.{b}.pointwise_conv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.layers.{b}.gamma"},
    {"head.norm.*", "layer_norm.*"},
};

// open-mmlab/mmpretrain mmpretrain/models/backbones/convnext.py.
constexpr NameRow kMmpretrainNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.*"},
    {"stages.{s}.downsample.1.*", "downsample_layers.{s}.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "stages.{s}.{b}.depthwise_conv.*"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pointwise_conv1.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma"},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pointwise_conv2.*", kLinear},
    {"stages.{s}.blocks.{b}.gamma", "stages.{s}.{b}.gamma"},
    {"head.norm.*", "norm3.*"},
    {"head.fc.*", "head.fc.*"},
};

// mlfoundations/open_clip src/open_clip/timm_model.py: timm's network without its classifier, and a projection to the
// common space, which has no bias, in its place; with timm_proj "" the projection is timm's classifier.
constexpr NameRow kOpenClipNames[] = {
    {"stem.0.*", "visual.trunk.stem.0.*"},
    {"stem.1.*", "visual.trunk.stem.1.*"},
    {"stem.2.*", "visual.trunk.stem.2.*"},
    {"stem.3.*", "visual.trunk.stem.3.*"},
    {"stages.{s}.downsample.0.*", "visual.trunk.stages.{s}.downsample.0.*"},
    {"stages.{s}.downsample.1.*", "visual.trunk.stages.{s}.downsample.1.*"},
    {"stages.{s}.blocks.{b}.conv_dw.*", "visual.trunk.stages.{s}.blocks.{b}.conv_dw.*"},
    {"stages.{s}.blocks.{b}.norm.*", "visual.trunk.stages.{s}.blocks.{b}.norm.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.fc1.*"},
    {"stages.{s}.blocks.{b}.mlp.grn.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.grn.*"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "visual.trunk.stages.{s}.blocks.{b}.mlp.fc2.*"},
    {"stages.{s}.blocks.{b}.gamma", "visual.trunk.stages.{s}.blocks.{b}.gamma"},
    {"norm_pre.*", "visual.trunk.norm_pre.*"},
    {"head.norm.*", "visual.trunk.head.norm.*"},
    {"head.fc.*", "visual.head.proj.*"},
    {"head.fc.*", "visual.trunk.head.fc.*"},
    {"head.pre_logits.fc.*", "visual.head.mlp.fc1.*"},
    {"head.fc.*", "visual.head.mlp.fc2.*"},
};

// facebookresearch/ConvNeXt-V2 models/convnextv2_sparse.py, as its utils.py makes it dense. The stem is dense anyway.
constexpr NameRow kFcmaeNames[] = {
    {"stem.0.*", "downsample_layers.0.0.*"},
    {"stem.1.*", "downsample_layers.0.1.*"},
    {"stages.{s}.downsample.0.*", "downsample_layers.{s}.0.ln.*"},
    {"stages.{s}.downsample.1.weight", "downsample_layers.{s}.1.kernel", kSparseKernel},
    {"stages.{s}.downsample.1.bias", "downsample_layers.{s}.1.bias"},
    {"stages.{s}.blocks.{b}.conv_dw.weight", "stages.{s}.{b}.dwconv.kernel", kSparseKernel},
    {"stages.{s}.blocks.{b}.conv_dw.bias", "stages.{s}.{b}.dwconv.bias"},
    {"stages.{s}.blocks.{b}.norm.*", "stages.{s}.{b}.norm.ln.*"},
    {"stages.{s}.blocks.{b}.mlp.fc1.*", "stages.{s}.{b}.pwconv1.linear.*", kLinear},
    {"stages.{s}.blocks.{b}.mlp.grn.weight", "stages.{s}.{b}.grn.gamma"},
    {"stages.{s}.blocks.{b}.mlp.grn.bias", "stages.{s}.{b}.grn.beta"},
    {"stages.{s}.blocks.{b}.mlp.fc2.*", "stages.{s}.{b}.pwconv2.linear.*", kLinear},
};

// ResNet and ResNeXt: torchvision/models/resnet.py, and timm's the same. The steps of the roadmap follow.
constexpr NameRow kResNetNames[] = {
    {"conv1.*"},
    {"bn1.{bn}"},
    {"layer{s+1}.{b}.conv1.*"},
    {"layer{s+1}.{b}.bn1.{bn}"},
    {"layer{s+1}.{b}.conv2.*"},
    {"layer{s+1}.{b}.bn2.{bn}"},
    {"layer{s+1}.{b}.conv3.*"},
    {"layer{s+1}.{b}.bn3.{bn}"},
    {"layer{s+1}.{b}.downsample.0.*"},
    {"layer{s+1}.{b}.downsample.1.{bn}"},
    {"norm1.*"},  // of the roadmap
    {"layer{s+1}.{b}.norm1.*"},
    {"layer{s+1}.{b}.norm2.*"},
    {"layer{s+1}.{b}.norm3.*"},
    {"fc.*"},
};

// RegNet: timm/models/regnet.py.
constexpr NameRow kRegNetNames[] = {
    {"stem.conv.*"},
    {"stem.bn.{bn}"},
    {"s{s+1}.b{b+1}.conv1.conv.*"},
    {"s{s+1}.b{b+1}.conv1.bn.{bn}"},
    {"s{s+1}.b{b+1}.conv2.conv.*"},
    {"s{s+1}.b{b+1}.conv2.bn.{bn}"},
    {"s{s+1}.b{b+1}.se.fc1.*"},
    {"s{s+1}.b{b+1}.se.fc2.*"},
    {"s{s+1}.b{b+1}.conv3.conv.*"},
    {"s{s+1}.b{b+1}.conv3.bn.{bn}"},
    {"s{s+1}.b{b+1}.downsample.conv.*"},
    {"s{s+1}.b{b+1}.downsample.bn.{bn}"},
    {"head.fc.*"},
};

// torchvision/models/regnet.py.
constexpr NameRow kRegNetTorchvisionNames[] = {
    {"stem.conv.*", "stem.0.*"},
    {"stem.bn.{bn}", "stem.1.{bn}"},
    {"s{s+1}.b{b+1}.conv1.conv.*", "trunk_output.block{s+1}.block{s+1}-{b}.f.a.0.*"},
    {"s{s+1}.b{b+1}.conv1.bn.{bn}", "trunk_output.block{s+1}.block{s+1}-{b}.f.a.1.{bn}"},
    {"s{s+1}.b{b+1}.conv2.conv.*", "trunk_output.block{s+1}.block{s+1}-{b}.f.b.0.*"},
    {"s{s+1}.b{b+1}.conv2.bn.{bn}", "trunk_output.block{s+1}.block{s+1}-{b}.f.b.1.{bn}"},
    {"s{s+1}.b{b+1}.se.fc1.*", "trunk_output.block{s+1}.block{s+1}-{b}.f.se.fc1.*"},
    {"s{s+1}.b{b+1}.se.fc2.*", "trunk_output.block{s+1}.block{s+1}-{b}.f.se.fc2.*"},
    {"s{s+1}.b{b+1}.conv3.conv.*", "trunk_output.block{s+1}.block{s+1}-{b}.f.c.0.*"},
    {"s{s+1}.b{b+1}.conv3.bn.{bn}", "trunk_output.block{s+1}.block{s+1}-{b}.f.c.1.{bn}"},
    {"s{s+1}.b{b+1}.downsample.conv.*", "trunk_output.block{s+1}.block{s+1}-{b}.proj.0.*"},
    {"s{s+1}.b{b+1}.downsample.bn.{bn}", "trunk_output.block{s+1}.block{s+1}-{b}.proj.1.{bn}"},
    {"head.fc.*", "fc.*"},
};

// EfficientNet and EfficientNetV2: timm/models/efficientnet.py. What conv_pw and the norms are depends on the block.
constexpr NameRow kEfficientNetNames[] = {
    {"conv_stem.*"},
    {"bn1.{bn}"},
    {"blocks.{s}.{b}.conv.*"},
    {"blocks.{s}.{b}.conv_exp.*"},
    {"blocks.{s}.{b}.conv_pw.*"},
    {"blocks.{s}.{b}.conv_dw.*"},
    {"blocks.{s}.{b}.conv_pwl.*"},
    {"blocks.{s}.{b}.se.conv_reduce.*"},
    {"blocks.{s}.{b}.se.conv_expand.*"},
    {"blocks.{s}.{b}.bn1.{bn}"},
    {"blocks.{s}.{b}.bn2.{bn}"},
    {"blocks.{s}.{b}.bn3.{bn}"},
    {"conv_head.*"},
    {"bn2.{bn}"},
    {"classifier.*"},
};

// torchvision/models/efficientnet.py: features 0 is the stem, the last one the head.
constexpr NameRow kEfficientNetTorchvisionNames[] = {
    {"conv_stem.*", "features.0.0.*"},
    {"bn1.{bn}", "features.0.1.{bn}"},
    {"blocks.0.{b}.conv_dw.*", "features.1.{b}.block.0.0.*"},
    {"blocks.0.{b}.bn1.{bn}", "features.1.{b}.block.0.1.{bn}"},
    {"blocks.0.{b}.se.conv_reduce.*", "features.1.{b}.block.1.fc1.*"},
    {"blocks.0.{b}.se.conv_expand.*", "features.1.{b}.block.1.fc2.*"},
    {"blocks.0.{b}.conv_pw.*", "features.1.{b}.block.2.0.*"},
    {"blocks.0.{b}.bn2.{bn}", "features.1.{b}.block.2.1.{bn}"},
    {"blocks.{s}.{b}.conv_pw.*", "features.{s+1}.{b}.block.0.0.*"},
    {"blocks.{s}.{b}.bn1.{bn}", "features.{s+1}.{b}.block.0.1.{bn}"},
    {"blocks.{s}.{b}.conv_dw.*", "features.{s+1}.{b}.block.1.0.*"},
    {"blocks.{s}.{b}.bn2.{bn}", "features.{s+1}.{b}.block.1.1.{bn}"},
    {"blocks.{s}.{b}.se.conv_reduce.*", "features.{s+1}.{b}.block.2.fc1.*"},
    {"blocks.{s}.{b}.se.conv_expand.*", "features.{s+1}.{b}.block.2.fc2.*"},
    {"blocks.{s}.{b}.conv_pwl.*", "features.{s+1}.{b}.block.3.0.*"},
    {"blocks.{s}.{b}.bn3.{bn}", "features.{s+1}.{b}.block.3.1.{bn}"},
    {"conv_head.*", "features.8.0.*"},
    {"bn2.{bn}", "features.8.1.{bn}"},
    {"classifier.*", "classifier.1.*"},
};

// The same of EfficientNetV2: fused blocks in the first three stages. S has a stage less before the head.
constexpr NameRow kEfficientNetV2TorchvisionNames[] = {
    {"conv_stem.*", "features.0.0.*"},
    {"bn1.{bn}", "features.0.1.{bn}"},
    {"blocks.0.{b}.conv.*", "features.1.{b}.block.0.0.*"},
    {"blocks.0.{b}.bn1.{bn}", "features.1.{b}.block.0.1.{bn}"},
    {"blocks.1.{b}.conv_exp.*", "features.2.{b}.block.0.0.*"},
    {"blocks.1.{b}.bn1.{bn}", "features.2.{b}.block.0.1.{bn}"},
    {"blocks.1.{b}.conv_pwl.*", "features.2.{b}.block.1.0.*"},
    {"blocks.1.{b}.bn2.{bn}", "features.2.{b}.block.1.1.{bn}"},
    {"blocks.2.{b}.conv_exp.*", "features.3.{b}.block.0.0.*"},
    {"blocks.2.{b}.bn1.{bn}", "features.3.{b}.block.0.1.{bn}"},
    {"blocks.2.{b}.conv_pwl.*", "features.3.{b}.block.1.0.*"},
    {"blocks.2.{b}.bn2.{bn}", "features.3.{b}.block.1.1.{bn}"},
    {"blocks.{s}.{b}.conv_pw.*", "features.{s+1}.{b}.block.0.0.*"},
    {"blocks.{s}.{b}.bn1.{bn}", "features.{s+1}.{b}.block.0.1.{bn}"},
    {"blocks.{s}.{b}.conv_dw.*", "features.{s+1}.{b}.block.1.0.*"},
    {"blocks.{s}.{b}.bn2.{bn}", "features.{s+1}.{b}.block.1.1.{bn}"},
    {"blocks.{s}.{b}.se.conv_reduce.*", "features.{s+1}.{b}.block.2.fc1.*"},
    {"blocks.{s}.{b}.se.conv_expand.*", "features.{s+1}.{b}.block.2.fc2.*"},
    {"blocks.{s}.{b}.conv_pwl.*", "features.{s+1}.{b}.block.3.0.*"},
    {"blocks.{s}.{b}.bn3.{bn}", "features.{s+1}.{b}.block.3.1.{bn}"},
    {"conv_head.*", "features.8.0.*"},
    {"bn2.{bn}", "features.8.1.{bn}"},
    {"conv_head.*", "features.7.0.*"},
    {"bn2.{bn}", "features.7.1.{bn}"},
    {"classifier.*", "classifier.1.*"},
};

// ViT and DeiT: timm/models/vision_transformer.py, and facebookresearch/deit the same.
constexpr NameRow kVisionTransformerNames[] = {
    {"cls_token"},
    {"dist_token"},
    {"pos_embed"},
    {"patch_embed.proj.*"},
    {"blocks.{b}.norm1.*"},
    {"blocks.{b}.attn.qkv.*"},
    {"blocks.{b}.attn.proj.*"},
    {"blocks.{b}.norm2.*"},
    {"blocks.{b}.mlp.fc1.*"},
    {"blocks.{b}.mlp.fc2.*"},
    {"norm.*"},
    {"head.*"},
    {"head_dist.*"},
};

// torchvision/models/vision_transformer.py.
constexpr NameRow kVisionTransformerTorchvisionNames[] = {
    {"cls_token", "class_token"},
    {"pos_embed", "encoder.pos_embedding"},
    {"patch_embed.proj.*", "conv_proj.*"},
    {"blocks.{b}.norm1.*", "encoder.layers.encoder_layer_{b}.ln_1.*"},
    {"blocks.{b}.attn.qkv.*", "encoder.layers.encoder_layer_{b}.self_attention.in_proj_*"},
    {"blocks.{b}.attn.proj.*", "encoder.layers.encoder_layer_{b}.self_attention.out_proj.*"},
    {"blocks.{b}.norm2.*", "encoder.layers.encoder_layer_{b}.ln_2.*"},
    {"blocks.{b}.mlp.fc1.*", "encoder.layers.encoder_layer_{b}.mlp.0.*"},
    {"blocks.{b}.mlp.fc2.*", "encoder.layers.encoder_layer_{b}.mlp.3.*"},
    // Files from before 0.13.
    {"blocks.{b}.mlp.fc1.*", "encoder.layers.encoder_layer_{b}.mlp.linear_1.*"},
    {"blocks.{b}.mlp.fc2.*", "encoder.layers.encoder_layer_{b}.mlp.linear_2.*"},
    {"norm.*", "encoder.ln.*"},
    {"head.*", "heads.head.*"},
};

// Swin: timm/models/swin_transformer.py, where a stage begins with its downsampling.
constexpr NameRow kSwinNames[] = {
    {"patch_embed.proj.*"},
    {"patch_embed.norm.*"},
    {"layers.{s}.downsample.norm.*"},
    {"layers.{s}.downsample.reduction.*"},
    {"layers.{s}.blocks.{b}.norm1.*"},
    {"layers.{s}.blocks.{b}.attn.relative_position_bias_table"},
    {"layers.{s}.blocks.{b}.attn.qkv.*"},
    {"layers.{s}.blocks.{b}.attn.proj.*"},
    {"layers.{s}.blocks.{b}.norm2.*"},
    {"layers.{s}.blocks.{b}.mlp.fc1.*"},
    {"layers.{s}.blocks.{b}.mlp.fc2.*"},
    {"norm.*"},
    {"head.fc.*"},
};

// microsoft/Swin-Transformer models/swin_transformer.py, where a stage ends with the downsampling of the next.
constexpr NameRow kSwinMicrosoftNames[] = {
    {"patch_embed.proj.*"},
    {"patch_embed.norm.*"},
    {"layers.{s+1}.downsample.norm.*", "layers.{s}.downsample.norm.*"},
    {"layers.{s+1}.downsample.reduction.*", "layers.{s}.downsample.reduction.*"},
    {"layers.{s}.blocks.{b}.norm1.*"},
    {"layers.{s}.blocks.{b}.attn.relative_position_bias_table"},
    {"layers.{s}.blocks.{b}.attn.qkv.*"},
    {"layers.{s}.blocks.{b}.attn.proj.*"},
    {"layers.{s}.blocks.{b}.norm2.*"},
    {"layers.{s}.blocks.{b}.mlp.fc1.*"},
    {"layers.{s}.blocks.{b}.mlp.fc2.*"},
    {"norm.*"},
    {"head.fc.*", "head.*"},
};

// torchvision/models/swin_transformer.py: features 0 is the stem, 1 3 5 7 are the stages, 2 4 6 the downsampling
// layers.
constexpr NameRow kSwinTorchvisionNames[] = {
    {"patch_embed.proj.*", "features.0.0.*"},
    {"patch_embed.norm.*", "features.0.2.*"},
    {"layers.{s}.downsample.norm.*", "features.{2s}.norm.*"},
    {"layers.{s}.downsample.reduction.*", "features.{2s}.reduction.*"},
    {"layers.{s}.blocks.{b}.norm1.*", "features.{2s+1}.{b}.norm1.*"},
    {"layers.{s}.blocks.{b}.attn.relative_position_bias_table",
     "features.{2s+1}.{b}.attn.relative_position_bias_table"},
    {"layers.{s}.blocks.{b}.attn.qkv.*", "features.{2s+1}.{b}.attn.qkv.*"},
    {"layers.{s}.blocks.{b}.attn.proj.*", "features.{2s+1}.{b}.attn.proj.*"},
    {"layers.{s}.blocks.{b}.norm2.*", "features.{2s+1}.{b}.norm2.*"},
    {"layers.{s}.blocks.{b}.mlp.fc1.*", "features.{2s+1}.{b}.mlp.0.*"},
    {"layers.{s}.blocks.{b}.mlp.fc2.*", "features.{2s+1}.{b}.mlp.3.*"},
    {"norm.*"},
    {"head.fc.*", "head.*"},
};

struct LayoutRows {
  WeightLayout layout;
  Family family;
  std::string_view name;
  std::span<const NameRow> rows;
};

constexpr std::array kLayouts = {
    LayoutRows{WeightLayout::kTimm, Family::kConvNext, "timm", kTimmNames},
    LayoutRows{WeightLayout::kFb, Family::kConvNext, "fb", kFbNames},
    LayoutRows{WeightLayout::kFbIsotropic, Family::kConvNext, "fb_isotropic", kFbIsotropicNames},
    LayoutRows{WeightLayout::kTorchvision, Family::kConvNext, "torchvision", kTorchvisionNames},
    LayoutRows{WeightLayout::kHf, Family::kConvNext, "hf", kHfNames},
    LayoutRows{WeightLayout::kHfDinov3, Family::kConvNext, "hf_dinov3", kHfDinov3Names},
    LayoutRows{WeightLayout::kMmpretrain, Family::kConvNext, "mmpretrain", kMmpretrainNames},
    LayoutRows{WeightLayout::kOpenClip, Family::kConvNext, "open_clip", kOpenClipNames},
    LayoutRows{WeightLayout::kFcmae, Family::kConvNext, "fcmae", kFcmaeNames},
    LayoutRows{WeightLayout::kResNet, Family::kResNet, "timm", kResNetNames},
    LayoutRows{WeightLayout::kRegNet, Family::kRegNet, "timm", kRegNetNames},
    LayoutRows{WeightLayout::kRegNetTorchvision, Family::kRegNet, "torchvision", kRegNetTorchvisionNames},
    LayoutRows{WeightLayout::kEfficientNet, Family::kEfficientNet, "timm", kEfficientNetNames},
    LayoutRows{WeightLayout::kEfficientNetV2Torchvision, Family::kEfficientNet, "torchvision",
               kEfficientNetV2TorchvisionNames},
    LayoutRows{WeightLayout::kEfficientNetTorchvision, Family::kEfficientNet, "torchvision",
               kEfficientNetTorchvisionNames},
    LayoutRows{WeightLayout::kVisionTransformer, Family::kVisionTransformer, "timm", kVisionTransformerNames},
    LayoutRows{WeightLayout::kVisionTransformerTorchvision, Family::kVisionTransformer, "torchvision",
               kVisionTransformerTorchvisionNames},
    LayoutRows{WeightLayout::kSwin, Family::kSwin, "timm", kSwinNames},
    LayoutRows{WeightLayout::kSwinMicrosoft, Family::kSwin, "microsoft", kSwinMicrosoftNames},
    LayoutRows{WeightLayout::kSwinTorchvision, Family::kSwin, "torchvision", kSwinTorchvisionNames},
};

static_assert([] {
  for (std::size_t i = 0; i < kLayouts.size(); ++i) {
    if (static_cast<std::size_t>(kLayouts[i].layout) != i) return false;
  }
  return true;
}());

const LayoutRows& rows_of(WeightLayout layout) { return kLayouts[static_cast<std::size_t>(layout)]; }

// What wrappers put before a name: DistributedDataParallel, torch.compile, detectors, Hugging Face's classes with a
// head, Lightning, SparK.
constexpr std::string_view kPrefixes[] = {"module.",     "_orig_mod.", "backbone.", "convnext.",
                                          "convnextv2.", "encoder.",   "model.",    "sparse_encoder.sp_cnn."};

// Beginnings of names, prefixes stripped, that belong to something around the network.
constexpr std::string_view kExtras[] = {
    "norms.",       // DINOv3: norms.3 is the final norm once more; EUPE
    "projectors.",  // EUPE
    "decoder",
    "mask_token",
    "proj.",
    "pred.",  // FCMAE
    "dense_decoder.",
    "densify_norms.",
    "densify_projs.",
    "imn_m",
    "imn_s",
    "norm_black",  // SparK
    "hidden_states_norms.",
    "norm0.",
    "norm1.",
    "norm2.",  // norms of the outputs of a backbone
    "neck.",
    "rpn_head.",
    "roi_head.",
    "bbox_head.",
    "mask_head.",
    "decode_head.",
    "auxiliary_head.",
    "data_preprocessor.",  // OpenMMLab's mean and std
};

// The most stages that a network of the family can have; one name further is none of its.
int max_stages(Family family) { return family == Family::kEfficientNet ? 16 : 4; }
// Wrappers of wrappers; a name that only consists of prefixes does not keep anybody busy.
constexpr int kMaxPrefixes = 8;

std::optional<TensorName> in_layout(WeightLayout layout, std::string_view name, NameDirection direction) {
  const LayoutRows& rows = rows_of(layout);
  std::optional<TensorName> result = translated(rows.rows, name, direction, max_stages(rows.family));
  // The isotropic networks' own names say stage 0, theirs say none.
  if (result && result->block >= 0 && result->stage < 0) result->stage = 0;
  return result;
}

// Takes one prefix of a wrapper off; false when there is none.
bool strip_prefix(std::string_view& key) {
  for (const std::string_view prefix : kPrefixes) {
    if (!key.starts_with(prefix)) continue;
    key.remove_prefix(prefix.size());
    return true;
  }
  return false;
}

}  // namespace

std::string_view name_of(WeightLayout layout) { return rows_of(layout).name; }

Family family_of(WeightLayout layout) { return rows_of(layout).family; }

const std::vector<WeightLayout>& weight_layouts() {
  static const std::vector<WeightLayout> all = [] {
    std::vector<WeightLayout> layouts;
    for (const LayoutRows& rows : kLayouts) layouts.push_back(rows.layout);
    return layouts;
  }();
  return all;
}

std::optional<TensorName> own_name(WeightLayout layout, std::string_view key) {
  // The name comes first: "encoder." is a prefix of FCMAE and a part of Hugging Face's names.
  for (int stripped = 0; stripped <= kMaxPrefixes; ++stripped) {
    if (std::optional<TensorName> name = in_layout(layout, key, NameDirection::kToOwn)) return name;
    if (!strip_prefix(key)) break;
  }
  return std::nullopt;
}

std::optional<TensorName> name_in(WeightLayout layout, std::string_view own) {
  return in_layout(layout, own, NameDirection::kFromOwn);
}

bool is_buffer(std::string_view key) {
  constexpr std::string_view kBuffers[] = {"num_batches_tracked", "relative_position_index", "attn_mask"};
  return std::ranges::any_of(kBuffers, [key](std::string_view buffer) { return key.ends_with(buffer); });
}

bool is_known_extra(WeightLayout layout, std::string_view key) {
  if (is_buffer(key)) return true;
  if (layout == WeightLayout::kOpenClip && key.find("visual.") == std::string_view::npos) return true;
  for (int stripped = 0; stripped <= kMaxPrefixes; ++stripped) {
    if (std::ranges::any_of(kExtras, [key](std::string_view extra) { return key.starts_with(extra); })) return true;
    if (!strip_prefix(key)) break;
  }
  return false;
}

}  // namespace convnext
