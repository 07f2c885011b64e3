// Weights in every layout: names both ways, networks found from shapes, and what keeps tensors from being a network.
#include "model/layouts.h"

#include <gmock/gmock.h>

#include "expect_error.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "tests/layout_networks.h"

namespace convnext {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Names.

// torchvision's names of EfficientNet go by what the blocks are: no network has those of both tables.
bool is_layout_of(WeightLayout layout, const NetworkConfig& network) {
  if (family_of(layout) != family_of(network)) return false;
  const auto* efficientnet = std::get_if<EfficientNetConfig>(&network);
  if (!efficientnet || layout == WeightLayout::kEfficientNet) return true;
  const bool is_v2 = efficientnet->blocks.front() == EfficientNetBlock::kConvolution;
  return is_v2 == (layout == WeightLayout::kEfficientNetV2Torchvision);
}

TEST(LayoutNames, AreInverseForEveryTensorOfEveryRegisteredNetwork) {
  for (const RegistryEntry& entry : registry()) {
    for (const TensorSpec& spec : tensor_specs(entry.network)) {
      for (const WeightLayout layout : weight_layouts()) {
        if (!is_layout_of(layout, entry.network)) continue;
        const std::optional<TensorName> theirs = name_in(layout, spec.name);
        if (!theirs) continue;
        const std::optional<TensorName> back = own_name(layout, theirs->name);
        ASSERT_TRUE(back) << theirs->name;
        EXPECT_EQ(back->name, spec.name) << name_of(layout) << ": " << theirs->name;
      }
    }
  }
}

// Our own names are a layout like any other: a file of ours is read through its rows.
TEST(LayoutNames, OwnNamesAreALayoutOfEveryFamily) {
  for (const RegistryEntry& entry : registry()) {
    const WeightLayout own = own_layout(entry.network);
    EXPECT_EQ(name_of(own), "timm");
    for (const TensorSpec& spec : tensor_specs(entry.network)) {
      const std::optional<TensorName> name = own_name(own, spec.name);
      ASSERT_TRUE(name) << entry.name << ": " << spec.name;
      EXPECT_EQ(name->name, spec.name) << entry.name;
      ASSERT_TRUE(name_in(own, spec.name)) << entry.name << ": " << spec.name;
      EXPECT_EQ(name_in(own, spec.name)->name, spec.name) << entry.name;
    }
  }
}

// The published names themselves, so that a mistake on both ways of the table shows.
TEST(LayoutNames, AreThePublishedOnes) {
  const auto in = [](WeightLayout layout, const char* own) { return name_in(layout, own).value().name; };
  using enum WeightLayout;
  EXPECT_EQ(in(kFb, "stages.2.downsample.1.weight"), "downsample_layers.2.1.weight");
  EXPECT_EQ(in(kFb, "stages.3.blocks.2.mlp.fc1.bias"), "stages.3.2.pwconv1.bias");
  EXPECT_EQ(in(kFb, "stages.0.blocks.1.mlp.grn.bias"), "stages.0.1.grn.beta");
  EXPECT_EQ(in(kFb, "head.fc.weight"), "head.weight");
  EXPECT_EQ(in(kFbIsotropic, "stages.0.blocks.17.conv_dw.weight"), "blocks.17.dwconv.weight");
  EXPECT_EQ(in(kFbIsotropic, "stem.0.bias"), "stem.bias");
  EXPECT_EQ(in(kTorchvision, "stages.2.downsample.0.bias"), "features.4.0.bias");
  EXPECT_EQ(in(kTorchvision, "stages.3.blocks.2.gamma"), "features.7.2.layer_scale");
  EXPECT_EQ(in(kTorchvision, "stages.1.blocks.0.mlp.fc2.weight"), "features.3.0.block.5.weight");
  EXPECT_EQ(in(kTorchvision, "head.norm.weight"), "classifier.0.weight");
  EXPECT_EQ(in(kHf, "stages.2.blocks.8.gamma"), "encoder.stages.2.layers.8.layer_scale_parameter");
  EXPECT_EQ(in(kHf, "stages.1.downsample.1.weight"), "encoder.stages.1.downsampling_layer.1.weight");
  EXPECT_EQ(in(kHf, "stem.1.bias"), "embeddings.layernorm.bias");
  EXPECT_EQ(in(kHfDinov3, "stages.1.blocks.0.mlp.fc1.weight"), "stages.1.layers.0.pointwise_conv1.weight");
  EXPECT_EQ(in(kHfDinov3, "stem.0.weight"), "stages.0.downsample_layers.0.weight");
  EXPECT_EQ(in(kMmpretrain, "head.norm.bias"), "norm3.bias");
  EXPECT_EQ(in(kOpenClip, "stages.0.blocks.0.norm.bias"), "visual.trunk.stages.0.blocks.0.norm.bias");
  EXPECT_EQ(in(kOpenClip, "head.fc.weight"), "visual.head.proj.weight");
  EXPECT_EQ(in(kOpenClip, "head.pre_logits.fc.bias"), "visual.head.mlp.fc1.bias");
  EXPECT_EQ(in(kFcmae, "stages.1.downsample.0.bias"), "downsample_layers.1.0.ln.bias");
  EXPECT_EQ(in(kFcmae, "stages.2.blocks.0.mlp.fc2.bias"), "stages.2.0.pwconv2.linear.bias");
  EXPECT_EQ(in(kMmpretrain, "stages.2.blocks.8.mlp.fc1.weight"), "stages.2.8.pointwise_conv1.weight");
  EXPECT_EQ(in(kMmpretrain, "stages.2.blocks.8.mlp.grn.weight"), "stages.2.8.grn.gamma");
  EXPECT_EQ(in(kFcmae, "stages.3.blocks.1.conv_dw.weight"), "stages.3.1.dwconv.kernel");
  EXPECT_EQ(in(kRegNetTorchvision, "s3.b2.conv2.bn.running_var"), "trunk_output.block3.block3-1.f.b.1.running_var");
  EXPECT_EQ(in(kRegNetTorchvision, "s1.b1.downsample.conv.weight"), "trunk_output.block1.block1-0.proj.0.weight");
  EXPECT_EQ(in(kRegNetTorchvision, "s4.b1.se.fc2.bias"), "trunk_output.block4.block4-0.f.se.fc2.bias");
  EXPECT_EQ(in(kEfficientNetTorchvision, "blocks.0.0.conv_dw.weight"), "features.1.0.block.0.0.weight");
  EXPECT_EQ(in(kEfficientNetTorchvision, "blocks.5.3.conv_pwl.weight"), "features.6.3.block.3.0.weight");
  EXPECT_EQ(in(kEfficientNetTorchvision, "blocks.1.0.se.conv_reduce.bias"), "features.2.0.block.2.fc1.bias");
  EXPECT_EQ(in(kEfficientNetTorchvision, "conv_head.weight"), "features.8.0.weight");
  EXPECT_EQ(in(kEfficientNetV2Torchvision, "blocks.0.1.conv.weight"), "features.1.1.block.0.0.weight");
  EXPECT_EQ(in(kEfficientNetV2Torchvision, "blocks.2.3.conv_pwl.weight"), "features.3.3.block.1.0.weight");
  EXPECT_EQ(in(kEfficientNetV2Torchvision, "blocks.4.8.bn2.running_mean"), "features.5.8.block.1.1.running_mean");
  EXPECT_EQ(own_name(kEfficientNetV2Torchvision, "features.7.1.bias")->name, "bn2.bias");
  EXPECT_EQ(in(kVisionTransformerTorchvision, "blocks.11.attn.qkv.bias"),
            "encoder.layers.encoder_layer_11.self_attention.in_proj_bias");
  EXPECT_EQ(in(kVisionTransformerTorchvision, "pos_embed"), "encoder.pos_embedding");
  EXPECT_EQ(in(kSwinMicrosoft, "layers.3.downsample.reduction.weight"), "layers.2.downsample.reduction.weight");
  EXPECT_EQ(in(kSwinMicrosoft, "head.fc.bias"), "head.bias");
  EXPECT_FALSE(name_in(kSwinMicrosoft, "layers.0.downsample.norm.weight")) << "there is no stage before the first";
  EXPECT_EQ(in(kSwinTorchvision, "layers.2.blocks.5.mlp.fc2.bias"), "features.5.5.mlp.3.bias");
  EXPECT_EQ(in(kSwinTorchvision, "layers.1.downsample.norm.weight"), "features.2.norm.weight");
  EXPECT_FALSE(name_in(kTorchvision, "stages.0.blocks.0.mlp.grn.weight"));
  EXPECT_FALSE(name_in(kFb, "head.pre_logits.fc.weight"));
}

// OpenCLIP takes any of timm's networks, and with timm_proj "" timm's own classifier is the projection.
TEST(LayoutNames, OpenClipsTrunkIsTimmsNetworkWhole) {
  for (const RegistryEntry& entry : registry()) {
    if (family_of(entry.network) != Family::kConvNext || entry.family == Family::kConvNextIsotropic) continue;
    for (const TensorSpec& spec : tensor_specs(entry.network)) {
      if (spec.name.starts_with("head.pre_logits.")) continue;  // OpenCLIP has its own in its place
      const auto name = own_name(WeightLayout::kOpenClip, "visual.trunk." + spec.name);
      EXPECT_EQ(name.value_or(TensorName{}).name, spec.name) << entry.name;
    }
  }
  EXPECT_EQ(own_name(WeightLayout::kOpenClip, "visual.head.mlp.fc2.weight")->name, "head.fc.weight");
}

TEST(LayoutNames, PrefixesOfWrappersAreNoPartOfThem) {
  using enum WeightLayout;
  for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model.", ""}) {
    const auto name = own_name(kTimm, std::string(prefix) + "stages.0.blocks.1.gamma");
    ASSERT_TRUE(name) << prefix;
    EXPECT_EQ(name->name, "stages.0.blocks.1.gamma");
    EXPECT_EQ(name->stage, 0);
    EXPECT_EQ(name->block, 1);
  }
  EXPECT_EQ(own_name(kHf, "convnextv2.encoder.stages.3.layers.0.grn.weight")->name, "stages.3.blocks.0.mlp.grn.weight");
  EXPECT_EQ(own_name(kHf, "classifier.bias")->name, "head.fc.bias");
}

TEST(LayoutNames, WhatOnlyLooksLikeAName) {
  using enum WeightLayout;
  for (const char* key :
       {"", ".", "stem", "stem.0", "stem.0.", "stem.0.weight.", "stem.0.weight.x", "stem.0.kernel",
        "stages.4.blocks.0.gamma", "stages.-1.blocks.0.gamma", "stages.00.blocks.0.gamma", "stages.0.blocks.256.gamma",
        "stages.0.blocks.99999999999999999999.gamma", "stages.0.blocks..gamma", "wrapper.stem.0.weight"}) {
    EXPECT_FALSE(own_name(kTimm, key)) << key;
  }
  for (const char* key : {"s0.b1.conv1.conv.weight", "s5.b1.conv1.conv.weight", "s1.b0.conv1.conv.weight",
                          "s1.b01.conv1.conv.weight", "s1b1.conv1.conv.weight", "s1.b1.conv1.bn.num_batches_tracked",
                          "s1.b1.conv1.bn.running_", "s.b.conv1.conv.weight", "s1.b257.conv1.conv.weight"}) {
    EXPECT_FALSE(own_name(kRegNet, key)) << key;
  }
  EXPECT_FALSE(own_name(kRegNetTorchvision, "trunk_output.block2.block3-0.f.a.0.weight")) << "two stages in one name";
  EXPECT_FALSE(own_name(kTimm, "stem.1.running_mean")) << "a ConvNeXt has no batch norm";
  EXPECT_FALSE(own_name(kTorchvision, "features.9.0.block.0.weight"));
  EXPECT_FALSE(own_name(kTorchvision, "features.2.0.block.0.weight")) << "an even index is no stage";
  std::string wrapped;
  for (int i = 0; i < 100'000; ++i) wrapped += "module.";
  EXPECT_FALSE(own_name(kTimm, wrapped + "stem.0.weight"));
}

// A network from names and shapes.

ConvNextConfig inferred(const TensorViews& views, std::vector<std::string>* notes = nullptr) {
  std::vector<std::string> own_notes;
  return std::get<ConvNextConfig>(infer_network(recognize(views), "file", notes ? *notes : own_notes));
}

TEST(InferNetwork, FindsEveryRegisteredOneFromTimmsNames) {
  for (const RegistryEntry& entry : registry()) {
    if (!std::holds_alternative<ConvNextConfig>(entry.network) || entry.family == Family::kRoadmap) continue;
    const auto& network = std::get<ConvNextConfig>(entry.network);
    EXPECT_EQ(inferred(shapes_of(network)), network) << entry.name;
    ConvNextConfig other = network;
    other.classes = 37;
    other.input_channels = 5;
    EXPECT_EQ(inferred(shapes_of(other)), other) << entry.name;
  }
}

// Other families: what tensors tell must be found, whoever named them; the rest is another test's.
TEST(InferNetwork, FindsEveryRegisteredNetworkOfTheOtherFamiliesFromEveryLibrarysNames) {
  for (const RegistryEntry& entry : registry()) {
    if (std::holds_alternative<ConvNextConfig>(entry.network)) continue;
    NetworkConfig other = entry.network;
    set_class_count(other, 37);
    std::visit([](auto& network) { network.input_channels = 5; }, other);
    for (const WeightLayout layout : weight_layouts()) {
      if (!is_layout_of(layout, entry.network)) continue;
      const auto* vit = std::get_if<VisionTransformerConfig>(&entry.network);
      if (vit && vit->distilled && name_of(layout) == "torchvision") continue;
      std::vector<std::string> notes;
      const RecognizedWeights weights = recognize(shapes_of(other, layout));
      EXPECT_EQ(weights.layout, layout) << entry.name;
      const NetworkConfig found = infer_network(weights, "file", notes);
      EXPECT_TRUE(have_same_tensors(found, other)) << entry.name << " from " << name_of(layout);
      EXPECT_EQ(class_count(found), 37) << entry.name;
      EXPECT_EQ(input_channels(found), 5) << entry.name;
      EXPECT_THAT(find_misfits(weights, found), IsEmpty()) << entry.name;
    }
  }
}

// Tensors tell neither padding nor eps: whose names they have does.
TEST(InferNetwork, OfAnEfficientNetTheLibraryTellsThePadding) {
  using enum WeightLayout;
  const auto of = [](const NetworkConfig& network) { return std::get<EfficientNetConfig>(network); };
  EXPECT_FALSE(of(inferred_as("efficientnet_b0", kEfficientNetTorchvision)).same_padding);
  EXPECT_FALSE(of(inferred_as("tf_efficientnet_b6", kEfficientNetTorchvision)).same_padding);
  EXPECT_EQ(of(inferred_as("tf_efficientnet_b6", kEfficientNetTorchvision)).norm_eps, 1e-3);
  EXPECT_EQ(of(inferred_as("efficientnet_b4", kEfficientNetTorchvision)).norm_eps, 1e-5);
  const NetworkConfig torchvision = inferred_as("efficientnetv2_s", kEfficientNetV2Torchvision);
  EXPECT_FALSE(of(torchvision).same_padding);
  EXPECT_EQ(of(torchvision).norm_eps, 1e-3);
  EXPECT_TRUE(of(inferred_as("efficientnetv2_s", kEfficientNet)).same_padding) << "the published ones are TensorFlow's";
}

TEST(InferNetwork, TheGridAndTheWindowAreTheFilesOwn) {
  using enum WeightLayout;
  const NetworkConfig vit = inferred_as("vit_base_patch16_224", kVisionTransformer, [](NetworkConfig& network) {
    auto& config = std::get<VisionTransformerConfig>(network);
    config.grid_height = config.grid_width = 20;
  });
  EXPECT_EQ(std::get<VisionTransformerConfig>(vit).grid_width, 20);
  const NetworkConfig distilled = inferred_as("deit_base_distilled_patch16_384", kVisionTransformer);
  EXPECT_EQ(distilled, architecture("deit_base_distilled_patch16_384").network);
  const NetworkConfig swin = inferred_as("swin_tiny_patch4_window7_224", kSwinMicrosoft, [](NetworkConfig& network) {
    std::get<SwinConfig>(network).windows = {8, 8, 8, 8};
  });
  EXPECT_THAT(std::get<SwinConfig>(swin).windows, ElementsAre(8, 8, 8, 8));
  EXPECT_EQ(inferred_as("swin_base_patch4_window12_384", kSwin), architecture("swin_base_patch4_window12_384").network);
  // Each stage's: timm builds a network for small pictures with smaller windows.
  const NetworkConfig small = inferred_as("swin_tiny_patch4_window7_224", kSwin, [](NetworkConfig& network) {
    set_input_size(std::get<SwinConfig>(network), 32);
  });
  EXPECT_THAT(std::get<SwinConfig>(small).windows, ElementsAre(7, 4, 2, 1));
}

// The same words mean other things elsewhere: "head", "fc", "layers", "norm".
TEST(Recognize, FamiliesAreNotTakenForOneAnother) {
  for (const RegistryEntry& entry : registry()) {
    for (const WeightLayout layout : weight_layouts()) {
      if (std::holds_alternative<ConvNextConfig>(entry.network) || !is_layout_of(layout, entry.network)) continue;
      const auto* vit = std::get_if<VisionTransformerConfig>(&entry.network);
      if (vit && vit->distilled && name_of(layout) == "torchvision") continue;
      TensorViews views = shapes_of(entry.network, layout);
      ConstTensorView counter;
      counter.dtype = DType::kI64;
      views.emplace("bn1.num_batches_tracked", counter);
      const RecognizedWeights weights = recognize(views);
      EXPECT_EQ(name_of(weights.layout), name_of(layout)) << entry.name;
      EXPECT_THAT(weights.unexpected, IsEmpty()) << entry.name;
      EXPECT_THAT(notes_on(weights), IsEmpty()) << "a buffer is nothing to speak of";
    }
  }
}

TEST(InferNetwork, OfNoKnownNetworkGivesTheNearestWithItsMisfits) {
  TensorViews views = shapes_of(architecture("resnet101").network, WeightLayout::kResNet);
  views.erase("layer3.4.conv2.weight");
  views["fc.weight"].shape = {10, 2048};
  views["fc.bias"].shape = {10};
  const RecognizedWeights weights = recognize(views);
  std::vector<std::string> notes;
  const NetworkConfig network = infer_network(weights, "file", notes);
  EXPECT_EQ(std::get<ResNetConfig>(network).depths, std::vector({3, 4, 23, 3}));
  EXPECT_EQ(class_count(network), 10);
  const std::vector<Misfit> misfits = find_misfits(weights, network);
  ASSERT_THAT(misfits, SizeIs(1));
  EXPECT_THAT(misfits.front().message(), HasSubstr("'layer3.4.conv2.weight'"));
}

TEST(InferNetwork, FindsThemFromTheOtherNamesToo) {
  using enum WeightLayout;
  for (const auto& [name, layout] :
       std::initializer_list<std::pair<const char*, WeightLayout>>{{"convnext_tiny", kFb},
                                                                   {"convnext_tiny", kTorchvision},
                                                                   {"convnext_small", kHf},
                                                                   {"convnextv2_atto", kFb},
                                                                   {"convnextv2_nano", kHf},
                                                                   {"convnextv2_tiny", kMmpretrain},
                                                                   {"convnext_atto", kMmpretrain},
                                                                   {"dinov3_convnext_base", kFb},
                                                                   {"dinov3_convnext_tiny", kHfDinov3},
                                                                   {"convnext_xlarge", kHf},
                                                                   {"convnext_isotropic_base", kFbIsotropic},
                                                                   {"convnext_isotropic_large", kFbIsotropic}}) {
    const TensorViews views = shapes_of(registered_convnext(name), layout);
    EXPECT_EQ(recognize(views).layout, layout) << name;
    EXPECT_EQ(inferred(views), registered_convnext(name)) << name << " in " << name_of(layout);
    EXPECT_THAT(find_misfits(recognize(views), registered_convnext(name)), IsEmpty()) << name;
  }
}

TEST(InferNetwork, FreeNetworksKeepWhatTheirTensorsSay) {
  ConvNextConfig network = registered_convnext("convnext_tiny");
  network.depths = {2, 1, 5};
  network.dims = {24, 40, 72};
  network.kernel_sizes = {3, 5, 9};
  network.patch_size = 2;
  network.head = Head::kMlp;
  network.head_hidden = 33;
  network.classes = 3;
  network.input_channels = 1;
  network.conv_mlp = true;
  EXPECT_EQ(inferred(shapes_of(network)), network);
  network.stem = Stem::kOverlapAct;
  network.patch_size = 4;
  network.norm = Norm::kRmsNorm;
  std::vector<std::string> notes;
  EXPECT_EQ(inferred(shapes_of(network), &notes), network);
  EXPECT_THAT(notes, Contains(HasSubstr("RMSNorm")));
}

TEST(InferNetwork, OneWrongTensorDoesNotMislead) {
  const ConvNextConfig network = registered_convnext("test_convnext");
  for (const auto& [name, view] : shapes_of(network)) {
    // What one tensor alone tells of: the input, the classes, the kernel of a stage with one block.
    if (name.starts_with("stem.") || name.starts_with("head.fc") || name == "stages.0.blocks.0.conv_dw.weight")
      continue;
    TensorViews missing = shapes_of(network), wrong = missing;
    missing.erase(name);
    wrong[name].shape.assign(view.shape.size(), 17);
    for (const TensorViews& views : {missing, wrong}) {
      const auto misfits = find_misfits(recognize(views), inferred(views));
      ASSERT_THAT(misfits, SizeIs(1)) << name;
      EXPECT_EQ(misfits[0].own, name);
    }
  }
}

TEST(InferNetwork, WhatMakesNoNetworkIsRefused) {
  expect_error(ErrorCode::kMismatch, {"'file'", "no block"}, [] { inferred({}); });
  TensorViews gap = shapes_of(registered_convnext("test_convnext"));
  std::erase_if(gap, [](const auto& entry) { return entry.first.starts_with("stages.1."); });
  expect_error(ErrorCode::kMismatch, {"'file'", "stage 1 of 4"}, [&] { inferred(gap); });
  TensorViews even = shapes_of(registered_convnext("test_convnext"));
  for (auto& [name, view] : even) {
    if (name.ends_with("conv_dw.weight")) view.shape[2] = view.shape[3] = 6;
  }
  expect_error(ErrorCode::kMismatch, {"'file'", "kernel"}, [&] { inferred(even); });
}

// Misfits.

TEST(Misfits, AllAreFoundWithTheFilesOwnKeys) {
  const ConvNextConfig network = registered_convnext("convnext_tiny");
  TensorViews views = shapes_of(network, WeightLayout::kTorchvision);
  views.erase("features.4.0.bias");
  views["features.0.0.weight"].shape = {96, 3, 4, 5};
  views["features.1.0.layer_scale"].dtype = DType::kI32;
  views["extra.weight"].shape = {2, 3};
  views["module.classifier.2.bias"].shape = {1000};
  views["bn.running_count"].dtype = DType::kI64;
  std::vector<std::string> messages;
  for (const Misfit& misfit : find_misfits(recognize(views), network)) messages.push_back(misfit.message());
  EXPECT_THAT(
      messages,
      testing::UnorderedElementsAre(
          testing::AllOf(HasSubstr("'features.4.0.bias'"), HasSubstr("(192,)"), HasSubstr("no tensor")),
          testing::AllOf(HasSubstr("'features.0.0.weight'"), HasSubstr("(96, 3, 4, 5)"), HasSubstr("(96, 3, 4, 4)")),
          testing::AllOf(HasSubstr("'features.1.0.layer_scale'"), HasSubstr("integers")),
          testing::AllOf(HasSubstr("'extra.weight'"), HasSubstr("(2, 3)")),
          testing::AllOf(HasSubstr("'module.classifier.2.bias'"), HasSubstr("'classifier.2.bias'"))));
}

// A name in a file can drive the terminal that a message is shown on.
TEST(Misfits, NamesOfAFileAreSpelledOutInMessages) {
  const std::string hostile = "\x1b]0;owned\x07";
  for (const Misfit::Kind kind : {Misfit::Kind::kMissing, Misfit::Kind::kShape, Misfit::Kind::kType,
                                  Misfit::Kind::kUnexpected, Misfit::Kind::kRepeated}) {
    EXPECT_THAT((Misfit{kind, hostile, "stem.0.weight", {1}, {2}}.message()), HasSubstr("'\\x1b]0;owned\\x07'"));
  }
  const ConvNextConfig network = registered_convnext("convnext_atto");
  TensorViews views = shapes_of(network);
  ConstTensorView integers = views.at("stem.0.bias");
  integers.dtype = DType::kI64;
  views.emplace(hostile, integers);
  EXPECT_THAT(notes_on(recognize(views)), Contains(HasSubstr("'\\x1b]0;owned\\x07'")));
}

}  // namespace
}  // namespace convnext
