// Weights in every layout: names both ways, networks found from shapes, files that timm, torchvision and transformers
// wrote and files with the names of the other layouts (tests/goldens/layouts, made by tools/goldens/layouts.py, which
// says which is which), and what keeps a file from being a model.
#include "model/layouts.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "expect_error.h"
#include "io/file.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/inspection.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "temporary_folder.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Files of every layout: timm's, torchvision's and transformers' own, and the others' names on such weights.

const SafetensorsFile& expected_outputs() {
  static const SafetensorsFile file = SafetensorsFile::open(golden_path("layouts/expected.safetensors"));
  return file;
}

std::map<std::string, std::string> golden_layouts() {
  return nlohmann::json::parse(expected_outputs().metadata().at("layouts")).get<std::map<std::string, std::string>>();
}

std::vector<std::string> golden_paths() {
  std::vector<std::string> paths;
  for (const auto& [path, layout] : golden_layouts()) paths.push_back(path);
  return paths;
}

TEST(LayoutGoldens, EveryFileInTheFolderIsTested) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(golden_path("layouts"))) {
    if (entry.path().filename() != "expected.safetensors") found.push_back(entry.path().filename());
  }
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(golden_paths()));
  EXPECT_THAT(found, SizeIs(17));
}

class LayoutGolden : public testing::TestWithParam<std::string> {
 protected:
  // Whether the weights give the library's output in a network.
  testing::AssertionResult agrees(const NetworkConfig& network, const WeightStore& weights) {
    const Tensor input = formula_input("input", {2, 3, 64, 64}, 1);
    const OutputShapes shapes = output_shapes(network, 2, 64, 64);
    Tensor output = Tensor::zeros(classifies() ? shapes.logits : shapes.pooled);
    OutputViews views;
    (classifies() ? views.logits : views.pooled) = output.view();
    Workspace workspace;
    make_reference_backend()->compile(network, weights, Precision::kFp32)->run(input.view(), views, workspace);
    return tensors_close(output, golden_tensor(expected_outputs(), key()));
  }
  bool classifies() const { return expected_outputs().tensors().contains(GetParam() + "/logits"); }
  std::string key() const { return GetParam() + (classifies() ? "/logits" : "/pooled"); }

  const ConvNextConfig& network() const { return std::get<ConvNextConfig>(file_.card.network); }

  Checkpoint file_ = read_checkpoint(golden_path("layouts/" + GetParam()));
};

TEST_P(LayoutGolden, GivesTheLibrarysNumbers) {
  EXPECT_EQ(name_of(file_.layout), golden_layouts().at(GetParam()));
  EXPECT_FALSE(file_.has_card);
  EXPECT_TRUE(agrees(file_.card.network, file_.weights));
}

TEST_P(LayoutGolden, IsFoundFromItsTensors) {
  const bool isotropic = file_.layout == WeightLayout::kFbIsotropic;
  EXPECT_EQ(network().depths, isotropic ? std::vector({2}) : std::vector({1, 1, 2, 1}));
  EXPECT_EQ(network().dims, isotropic ? std::vector({8}) : std::vector({4, 6, 8, 10}));
  EXPECT_THAT(network().kernel_sizes, testing::Each(7));
  EXPECT_EQ(network().patch_size, isotropic ? 16 : 4);
  EXPECT_EQ(network().stem_norm, !isotropic);
  EXPECT_EQ(network().classes, classifies() ? 7 : 0);
  EXPECT_EQ(network().input_channels, 3);
  EXPECT_NE(network().grn, network().layer_scale);
}

TEST_P(LayoutGolden, IsWholeWhenInspected) {
  const Inspection inspection = inspect(golden_path("layouts/" + GetParam()));
  EXPECT_TRUE(inspection.is_whole());
  EXPECT_EQ(inspection.layout, file_.layout);
  EXPECT_THAT(inspection.problems, IsEmpty());
  EXPECT_TRUE(inspection.card);
}

// Wrong in one thing each: a golden that they pass would prove nothing.

TEST_P(LayoutGolden, WithTwoBlocksExchangedItIsToldApart) {
  const int stage = network().stages() == 1 ? 0 : 2;
  const std::string first = fmt::format("stages.{}.blocks.0.", stage),
                    second = fmt::format("stages.{}.blocks.1.", stage);
  WeightStore exchanged = file_.weights;
  for (const auto& [name, view] : file_.weights.all()) {
    if (name.starts_with(first)) exchanged.add(second + name.substr(first.size()), view, nullptr);
    if (name.starts_with(second)) exchanged.add(first + name.substr(second.size()), view, nullptr);
  }
  EXPECT_FALSE(agrees(file_.card.network, exchanged));
}

TEST_P(LayoutGolden, WithATransposedKernelOrLinearItIsToldApart) {
  for (const char* part : {"conv_dw.weight", "mlp.fc2.weight"}) {
    const std::string name = fmt::format("stages.0.blocks.0.{}", part);
    const std::vector<float> values = file_.weights.floats(name);
    Tensor changed = Tensor::zeros(file_.weights.at(name).shape);
    const auto to = changed.values<float>();
    const std::size_t last =
        std::string_view(part) == "conv_dw.weight" ? 7 : 4 * static_cast<std::size_t>(network().dims[0]);
    const std::size_t rows = std::string_view(part) == "conv_dw.weight" ? 7 : values.size() / last;
    const std::size_t matrix = last * rows;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t start = i / matrix * matrix, y = i % matrix / rows, x = i % matrix % rows;
      to[i] = values[start + x * last + y];
    }
    WeightStore weights = file_.weights;
    weights.add(name, std::move(changed));
    EXPECT_FALSE(agrees(file_.card.network, weights)) << name;
  }
}

TEST_P(LayoutGolden, WithAnotherEpsilonItIsToldApart) {
  ConvNextConfig wrong = network();
  wrong.norm_eps = 1e-5;
  EXPECT_FALSE(agrees(wrong, file_.weights));
}

INSTANTIATE_TEST_SUITE_P(Files, LayoutGolden, testing::ValuesIn(golden_paths()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace_if(
      name, [](char c) { return c == '.'; }, '_');
  return name;
});

// transformers takes the final norm's eps from config.json, and 1e-6 for all others.
TEST(LayoutGoldens, HuggingFacesFinalNormHasAnEpsilonOfItsOwn) {
  for (const char* folder : {"layouts/hf_convnext", "layouts/hf_convnextv2"}) {
    const Checkpoint file = read_checkpoint(golden_path(folder));
    const auto& network = std::get<ConvNextConfig>(file.card.network);
    EXPECT_EQ(network.norm_eps, 1e-6) << folder;
    EXPECT_EQ(network.head_eps(), 1e-12) << folder;
    EXPECT_EQ(file.origins.at("head_norm_eps"), "config.json") << folder;
  }
}

TEST(LayoutGoldens, OfABackboneTheLastStagesOutputIsTheLibrarys) {
  const Tensor input = formula_input("input", {2, 3, 64, 64}, 1);
  for (const std::string folder : {"hf_backbone", "hf_upernet", "hf_dinov3_backbone"}) {
    const Checkpoint file = read_checkpoint(golden_path("layouts/" + folder));
    std::vector<Tensor> stages;
    OutputViews views;
    for (const Shape& shape : output_shapes(file.card.network, 2, 64, 64).stages) {
      views.stages.push_back(stages.emplace_back(Tensor::zeros(shape)).view());
    }
    Workspace workspace;
    make_reference_backend()
        ->compile(file.card.network, file.weights, Precision::kFp32)
        ->run(input.view(), views, workspace);
    EXPECT_TRUE(tensors_close(stages.back(), golden_tensor(expected_outputs(), folder + "/stage4"))) << folder;
  }
}

// config.json has that of a norm that backbones do not have: theirs is their class's.
TEST(LayoutGoldens, TheNormsOfHuggingFacesBackbonesHaveTheFixedEpsilon) {
  for (const char* folder : {"layouts/hf_backbone", "layouts/hf_upernet"}) {
    const Checkpoint file = read_checkpoint(golden_path(folder));
    EXPECT_EQ(std::get<ConvNextConfig>(file.card.network).head_eps(), 1e-6) << folder;
    EXPECT_THAT(file.origins.at("head_norm_eps"), HasSubstr("backbone")) << folder;
    EXPECT_THAT(file.notes, Contains(HasSubstr("norm of the last stage's output is the final norm"))) << folder;
  }
}

// A model whose final norm is lost, or a backbone with half of one, is no backbone without.
TEST(LayoutGoldens, OnlyABackboneMayBeWithoutAFinalNorm) {
  const auto missing = [](const char* path, std::initializer_list<const char*> without) {
    const SafetensorsFile file = SafetensorsFile::open(golden_path(path));
    TensorViews views(file.tensors().begin(), file.tensors().end());
    for (const char* key : without) EXPECT_EQ(views.erase(key), 1U) << key;
    const RecognizedWeights weights = recognize(views);
    std::vector<std::string> notes;
    return find_misfits(weights, infer_network(weights, path, notes)).size();
  };
  const char* backbone = "layouts/hf_backbone/model.safetensors";
  EXPECT_EQ(missing(backbone, {"hidden_states_norms.stage4.weight", "hidden_states_norms.stage4.bias"}), 0U);
  EXPECT_EQ(missing(backbone, {"hidden_states_norms.stage4.weight"}), 1U);
  EXPECT_EQ(missing("layouts/hf_convnext/model.safetensors", {"convnext.layernorm.weight", "convnext.layernorm.bias"}),
            2U);
}

// The golden's outputs are the average's.
TEST(LayoutGoldens, OfATrainingCheckpointTheAverageIsTakenUnlessTheWeightsAreAskedFor) {
  const fs::path path = golden_path("layouts/timm_norm_first.pth.tar");
  const Checkpoint average = read_checkpoint(path);
  EXPECT_THAT(average.weights.floats("head.fc.bias"), testing::Not(Contains(0.0f)));
  EXPECT_THAT(average.notes, Contains(HasSubstr("state_dict_ema")));
  const Checkpoint weights = read_checkpoint(path, {}, {.prefer_average = false});
  EXPECT_THAT(weights.weights.floats("head.fc.bias"), testing::Each(0.0f));
  EXPECT_EQ(weights.weights.floats("head.fc.weight"), average.weights.floats("head.fc.weight"));
}

TEST(LayoutGoldens, WhatWasPassedOverIsSaid) {
  const auto notes = [](const char* path) { return read_checkpoint(golden_path(path)).notes; };
  EXPECT_THAT(notes("layouts/fb_dinov3.pth"), Contains(HasSubstr("norms.3.weight")));
  EXPECT_THAT(notes("layouts/fb_detector.pth"), Contains(HasSubstr("backbone.norm0.bias")));
  EXPECT_THAT(notes("layouts/fb_detector.pth"), Contains(HasSubstr("detector")));
  EXPECT_THAT(notes("layouts/fcmae.pt"), Contains(HasSubstr("decoder.0.dwconv.bias")));
  EXPECT_THAT(notes("layouts/fcmae.pt"), Contains(HasSubstr("final norm")));
  EXPECT_THAT(notes("layouts/open_clip"), Contains(HasSubstr("logit_scale")));
  EXPECT_THAT(notes("layouts/hf_upernet"), Contains(HasSubstr("auxiliary_head.classifier.bias")));
  EXPECT_THAT(notes("layouts/hf_dinov3_backbone"), Contains(HasSubstr("final norm")));
  EXPECT_THAT(notes("layouts/mmpretrain.pth"), Contains(HasSubstr("data_preprocessor.mean")));
}

// Names.

ConvNextConfig registered(std::string_view name) { return std::get<ConvNextConfig>(architecture(name).network); }

WeightLayout own_layout(const NetworkConfig& network) {
  return *std::ranges::find_if(weight_layouts(),
                               [&network](WeightLayout layout) { return family_of(layout) == family_of(network); });
}

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

// Views of the right shapes without numbers.
TensorViews shapes_of(const NetworkConfig& network, WeightLayout layout = WeightLayout::kTimm) {
  TensorViews views;
  if (layout == WeightLayout::kTimm) layout = own_layout(network);
  for (const TensorSpec& spec : tensor_specs(network)) {
    const TensorName name = name_in(layout, spec.name).value();
    Shape shape = spec.shape;
    if (name.form == TensorForm::kLinear) shape = {shape[0], shape[1]};
    if (name.form == TensorForm::kChannelMap) shape = {shape[0], 1, 1};
    if (name.form == TensorForm::kChannelsLast) shape = {1, 1, 1, shape[0]};
    views[name.name].shape = shape;
  }
  return views;
}

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

NetworkConfig inferred_as(std::string_view name, WeightLayout layout,
                          const std::function<void(NetworkConfig&)>& change = {}) {
  NetworkConfig network = architecture(name).network;
  if (change) change(network);
  std::vector<std::string> notes;
  return infer_network(recognize(shapes_of(network, layout)), "file", notes);
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
    const TensorViews views = shapes_of(registered(name), layout);
    EXPECT_EQ(recognize(views).layout, layout) << name;
    EXPECT_EQ(inferred(views), registered(name)) << name << " in " << name_of(layout);
    EXPECT_THAT(find_misfits(recognize(views), registered(name)), IsEmpty()) << name;
  }
}

TEST(InferNetwork, FreeNetworksKeepWhatTheirTensorsSay) {
  ConvNextConfig network = registered("convnext_tiny");
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
  const ConvNextConfig network = registered("test_convnext");
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
  TensorViews gap = shapes_of(registered("test_convnext"));
  std::erase_if(gap, [](const auto& entry) { return entry.first.starts_with("stages.1."); });
  expect_error(ErrorCode::kMismatch, {"'file'", "stage 1 of 4"}, [&] { inferred(gap); });
  TensorViews even = shapes_of(registered("test_convnext"));
  for (auto& [name, view] : even) {
    if (name.ends_with("conv_dw.weight")) view.shape[2] = view.shape[3] = 6;
  }
  expect_error(ErrorCode::kMismatch, {"'file'", "kernel"}, [&] { inferred(even); });
}

// Misfits.

TEST(Misfits, AllAreFoundWithTheFilesOwnKeys) {
  const ConvNextConfig network = registered("convnext_tiny");
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

// There and back.

struct Journey {
  const char* name;
  const char* network;  // registered; widths and depths are replaced
  WrittenLayout layout;
};

// A name in a file can drive the terminal that a message is shown on.
TEST(Misfits, NamesOfAFileAreSpelledOutInMessages) {
  const std::string hostile = "\x1b]0;owned\x07";
  for (const Misfit::Kind kind : {Misfit::Kind::kMissing, Misfit::Kind::kShape, Misfit::Kind::kType,
                                  Misfit::Kind::kUnexpected, Misfit::Kind::kRepeated}) {
    EXPECT_THAT((Misfit{kind, hostile, "stem.0.weight", {1}, {2}}.message()), HasSubstr("'\\x1b]0;owned\\x07'"));
  }
  const ConvNextConfig network = registered("convnext_atto");
  TensorViews views = shapes_of(network);
  ConstTensorView integers = views.at("stem.0.bias");
  integers.dtype = DType::kI64;
  views.emplace(hostile, integers);
  EXPECT_THAT(notes_on(recognize(views)), Contains(HasSubstr("'\\x1b]0;owned\\x07'")));
}

TEST(ReadCheckpoint, AFileOfNoConvNextIsRefusedWithItsNamesSpelledOut) {
  const TemporaryFolder folder;
  const Tensor tensor = Tensor::zeros({2});
  const auto holding = [&](const std::vector<std::string>& names) {
    std::map<std::string, ConstTensorView> tensors;
    for (const std::string& name : names) tensors.emplace(name, tensor.view());
    write_safetensors(folder / "x.safetensors", tensors, {});
    try {
      read_checkpoint(folder / "x.safetensors");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(holding({"a", "b\x1b[2J"}), testing::EndsWith("it holds 'a', 'b\\x1b[2J'"));
  EXPECT_THAT(holding({"a", "b", "c", "d"}), testing::EndsWith("it holds 'a', 'b', 'c', ..."));
}

Card small_card(std::string_view name) {
  Card card;
  card.architecture = name;
  ConvNextConfig network = registered(name);
  if (network.stages() == 4) {
    network.depths = {1, 1, 2, 1};
    network.dims = {8, 12, 16, 20};
  } else {
    network.depths = {2};
    network.dims = {12};
  }
  if (network.classes > 0) network.classes = 5;
  if (network.head == Head::kMlp) network.head_hidden = 9;
  card.network = network;
  card.preprocessing = architecture(name).preprocessing;
  return card;
}

std::string bytes_of(const fs::path& path) { return read_text(path); }

testing::AssertionResult same_weights(const WeightStore& a, const WeightStore& b, bool compare_shapes = true) {
  if (a.all().size() != b.all().size()) return testing::AssertionFailure() << "not the same count";
  for (const auto& [name, view] : a.all()) {
    if (!b.contains(name)) return testing::AssertionFailure() << "no " << name;
    const ConstTensorView& other = b.at(name);
    const std::size_t size = static_cast<std::size_t>(view.count()) * size_of(view.dtype);
    if (view.dtype != other.dtype || view.count() != other.count() || (compare_shapes && view.shape != other.shape)) {
      return testing::AssertionFailure() << name << " is " << to_string(view.shape) << " and "
                                         << to_string(other.shape);
    }
    if (!std::equal(view.data, view.data + size, other.data)) return testing::AssertionFailure() << name;
  }
  return testing::AssertionSuccess();
}

class ThereAndBack : public testing::TestWithParam<Journey> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(ThereAndBack, IsTheSameFileBitForBit) {
  Card card = small_card(GetParam().network);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const WeightStore weights = converted(formula_weights(card.network, 1), dtype);
    card.precision = precision_name(dtype);
    write_checkpoint(folder_ / "own.safetensors", card, weights);
    for (const char* path : {"there.safetensors", "folder/"}) {
      SCOPED_TRACE(path);
      export_checkpoint(folder_ / path, card, weights, GetParam().layout);
      const Checkpoint there = read_checkpoint(folder_ / path);
      EXPECT_TRUE(there.has_card);
      EXPECT_EQ(there.card.network, card.network);
      export_checkpoint(folder_ / "back.safetensors", there.card, there.weights, WrittenLayout::kOwn);
      EXPECT_TRUE(bytes_of(folder_ / "back.safetensors") == bytes_of(folder_ / "own.safetensors"));
      EXPECT_TRUE(same_weights(there.weights, weights));
    }
  }
}

// A PyTorch file has no card: it gives back the network that computes the same, or is not written.
TEST_P(ThereAndBack, APyTorchFileIsTheSameNetworkOrRefused) {
  const Card card = small_card(GetParam().network);
  const auto& network = std::get<ConvNextConfig>(card.network);
  const fs::path path = folder_ / "there.pth";
  if (network.norm == Norm::kSimpleNorm) {
    expect_error(ErrorCode::kUnsupported, {"there.pth", "norm simple_norm", "rms_norm", "safetensors"},
                 [&] { export_checkpoint(path, card, formula_weights(network, 1), GetParam().layout); });
    EXPECT_FALSE(fs::exists(path));
    return;
  }
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const WeightStore weights = converted(formula_weights(network, 1), dtype);
    export_checkpoint(path, card, weights, GetParam().layout);
    const Checkpoint there = read_checkpoint(path);
    EXPECT_FALSE(there.has_card);
    // How linears are kept is the only thing that may change, and only where the layout keeps them in one way.
    ConvNextConfig back = std::get<ConvNextConfig>(there.card.network);
    EXPECT_TRUE(back.conv_mlp == network.conv_mlp || there.layout != WeightLayout::kTimm);
    EXPECT_TRUE(same_weights(there.weights, weights, /*compare_shapes=*/back.conv_mlp == network.conv_mlp));
    back.conv_mlp = network.conv_mlp;
    // With eight channels the first convolution of both stems has as many.
    if (network.stem == Stem::kOverlapTiered && back.stem == Stem::kOverlap) back.stem = network.stem;
    EXPECT_EQ(back, network);
  }
}

TEST(ExportCheckpoint, APyTorchFileThatWouldBeAnotherNetworkIsRefused) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& what, void (*change)(ConvNextConfig&)) {
    Card card = small_card("convnext_tiny");
    auto& network = std::get<ConvNextConfig>(card.network);
    change(network);
    const WeightStore weights = formula_weights(network, 1);
    for (const char* path : {"x.pth", "x.pt", "x.bin"}) {
      expect_error(ErrorCode::kUnsupported, {path, what, "safetensors"},
                   [&] { export_checkpoint(folder / path, card, weights, WrittenLayout::kOwn); });
      EXPECT_FALSE(fs::exists(folder / path));
    }
    export_checkpoint(folder / "x.safetensors", card, weights, WrittenLayout::kOwn);
    EXPECT_EQ(read_checkpoint(folder / "x.safetensors").card.network, card.network);
  };
  refused("activation silu", [](ConvNextConfig& network) { network.activation = Activation::kSilu; });
  refused("norm eps 0.001", [](ConvNextConfig& network) { network.norm_eps = 1e-3; });
  refused("head eps 1e-12", [](ConvNextConfig& network) { network.head_norm_eps = 1e-12; });
  refused("norm simple_norm", [](ConvNextConfig& network) { network.norm = Norm::kSimpleNorm; });
}

// Without a card the network comes from the tensors, and for a registered one nothing is lost.
TEST_P(ThereAndBack, ABareFileOfARegisteredNetworkIsTheNetwork) {
  const ConvNextConfig network = registered(GetParam().network);
  Card card = small_card(GetParam().network);
  card.network = network;
  WeightStore empty;
  const TensorViews own = shapes_of(network);
  for (const auto& [name, view] : own) empty.add(name, view, nullptr);
  const TensorViews there = export_weights(empty, card, GetParam().layout);
  const RecognizedWeights recognized = recognize(there);
  std::vector<std::string> notes;
  EXPECT_EQ(infer_network(recognized, "file", notes), NetworkConfig(network));
  EXPECT_THAT(find_misfits(recognized, network), IsEmpty());
}

using enum WrittenLayout;
INSTANTIATE_TEST_SUITE_P(
    Each, ThereAndBack,
    testing::Values(Journey{"own", "convnext_tiny", kOwn}, Journey{"own_ols", "convnext_atto_ols", kOwn},
                    Journey{"own_rms", "convnext_zepto_rms_ols", kOwn},
                    Journey{"own_isotropic", "convnext_isotropic_small", kOwn}, Journey{"timm", "convnext_tiny", kTimm},
                    Journey{"timm_nano_ols", "convnext_nano_ols", kTimm},
                    Journey{"timm_hnf", "convnext_tiny_hnf", kTimm}, Journey{"timm_mlp", "convnext_large_mlp", kTimm},
                    Journey{"timm_v2", "convnextv2_atto", kTimm}, Journey{"fb", "convnext_tiny", kFb},
                    Journey{"fb_small", "convnext_atto", kFb}, Journey{"fb_v2", "convnextv2_tiny", kFb},
                    Journey{"fb_isotropic", "convnext_isotropic_small", kFb},
                    Journey{"fb_isotropic_scaled", "convnext_isotropic_large", kFb},
                    Journey{"fb_dinov3", "dinov3_convnext_tiny", kFb},
                    Journey{"torchvision", "convnext_tiny", kTorchvision},
                    Journey{"torchvision_atto", "convnext_atto", kTorchvision}, Journey{"hf", "convnext_tiny", kHf},
                    Journey{"hf_v2", "convnextv2_tiny", kHf}, Journey{"hf_v2_atto", "convnextv2_atto", kHf},
                    Journey{"hf_dinov3", "dinov3_convnext_tiny", kHf}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ExportWeights, WhatALayoutCannotSayIsAnError) {
  const auto refused = [](std::string_view name, WrittenLayout layout, const std::string& reason) {
    const Card card = small_card(name);
    expect_error(ErrorCode::kUnsupported, {std::string(name_of(layout)), reason},
                 [&] { export_weights(formula_weights(card.network, 1), card, layout); });
  };
  refused("convnextv2_tiny", kTorchvision, "V2");
  refused("convnext_isotropic_small", kTorchvision, "isotropic");
  refused("convnext_isotropic_small", kHf, "isotropic");
  refused("convnext_isotropic_small", kTimm, "isotropic");
  refused("convnext_atto_ols", kFb, "overlap_tiered");
  refused("convnext_nano_ols", kHf, "overlap");
  refused("convnext_zepto_rms", kHf, "simple_norm");
  refused("convnext_tiny_hnf", kTorchvision, "norm_pool");
  refused("convnext_large_mlp", kFb, "mlp");
  refused("dinov3_convnext_tiny", kTorchvision, "classifier");
  refused("convnext_xxlarge", kFb, "1e-05");
  refused("test_convnext3", kFb, "eps");
}

// timm's network with patches of 2x2 has a layer more.
TEST(ExportWeights, TimmHasNoPatchesOfTwo) {
  Card card = small_card("convnext_tiny");
  std::get<ConvNextConfig>(card.network).patch_size = 2;
  const WeightStore weights = formula_weights(card.network, 1);
  expect_error(ErrorCode::kUnsupported, {"timm", "2x2"}, [&] { export_weights(weights, card, kTimm); });
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
}

// Networks of other families.
Card other_family_card(std::string_view name) {
  Card card;
  card.architecture = name;
  card.network = architecture(name).network;
  card.preprocessing = architecture(name).preprocessing;
  set_class_count(card.network, 7);
  return card;
}

const std::vector<std::string>& other_family_names() {
  static const std::vector<std::string> names = {"resnet50",
                                                 "regnety_040",
                                                 "efficientnet_b0",
                                                 "tf_efficientnet_b0",
                                                 "deit_tiny_patch16_224",
                                                 "deit_tiny_distilled_patch16_224",
                                                 "swin_tiny_patch4_window7_224"};
  return names;
}

TEST(OtherFamilyFiles, OwnFilesComeBackBitForBitWithWhatACardChanges) {
  const TemporaryFolder folder;
  for (const RegistryEntry& entry : registry()) {
    if (std::holds_alternative<ConvNextConfig>(entry.network)) continue;
    SCOPED_TRACE(entry.name);
    Card card = other_family_card(entry.name);
    std::visit(
        []<typename Config>(Config& network) {
          network.input_channels = 4;
          if constexpr (requires { network.norm_eps; }) network.norm_eps = 3e-4;
          // Small files; their kinds of tensors are the same.
          if constexpr (requires { network.depths; }) network.depths.assign(network.depths.size(), 1);
          if constexpr (requires { network.depth; }) network.depth = 1;
          if constexpr (std::is_same_v<Config, ResNetConfig>) network.dims = {16, 32, 64, 128};
          if constexpr (std::is_same_v<Config, RegNetConfig>) network.dims.assign(network.dims.size(), 16);
          if constexpr (std::is_same_v<Config, EfficientNetConfig>) {
            network.dims.assign(network.dims.size(), 16);
            network.head_width = 32;
          }
          if constexpr (std::is_same_v<Config, VisionTransformerConfig>) network.dim = 8 * network.heads;
          if constexpr (std::is_same_v<Config, SwinConfig>) {
            std::ranges::transform(network.heads, network.dims.begin(), [](int heads) { return 8 * heads; });
          }
        },
        card.network);
    const WeightStore weights = formula_weights(card.network, 3);
    const fs::path path = folder / "own.safetensors";
    export_checkpoint(path, card, weights, WrittenLayout::kOwn);
    const Checkpoint back = read_checkpoint(path);
    EXPECT_TRUE(back.has_card);
    EXPECT_EQ(back.card.network, card.network);
    EXPECT_EQ(back.card.architecture, entry.name);
    EXPECT_TRUE(same_weights(back.weights, weights));
  }
}

TEST(OtherFamilyFiles, BareFilesAreTheNetworkThatTheUserOrTheNameSays) {
  const TemporaryFolder folder;
  for (const std::string& name : other_family_names()) {
    SCOPED_TRACE(name);
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    for (const std::string& file : {std::string("any.safetensors"), name + ".safetensors"}) {
      const fs::path path = folder / file;
      write_safetensors(path, {weights.all().begin(), weights.all().end()}, {});
      const Checkpoint named = read_checkpoint(path, name);
      EXPECT_FALSE(named.has_card);
      EXPECT_EQ(named.card.network, card.network);
      EXPECT_TRUE(same_weights(named.weights, weights));
      const Checkpoint found = read_checkpoint(path);
      EXPECT_TRUE(have_same_tensors(found.card.network, card.network));
      EXPECT_EQ(class_count(found.card.network), 7);
    }
  }
  // Two networks with the same tensors: the name decides, and without one it is said what was taken.
  const Checkpoint any = read_checkpoint(folder / "any.safetensors", "swin_tiny_patch4_window7_224");
  EXPECT_EQ(any.origins.at("architecture"), "--architecture");
  const Card tensorflow = other_family_card("tf_efficientnet_b0");
  const WeightStore weights = formula_weights(tensorflow.network, 3);
  write_safetensors(folder / "tf_efficientnet_b0_aa-827b6e33.safetensors", {weights.all().begin(), weights.all().end()},
                    {});
  EXPECT_EQ(read_checkpoint(folder / "tf_efficientnet_b0_aa-827b6e33.safetensors").card.network, tensorflow.network);
  write_safetensors(folder / "mine.safetensors", {weights.all().begin(), weights.all().end()}, {});
  const Checkpoint guessed = read_checkpoint(folder / "mine.safetensors");
  EXPECT_EQ(guessed.card.architecture, "efficientnet_b0");
  EXPECT_THAT(guessed.notes, Contains(testing::AllOf(HasSubstr("tf_efficientnet_b0"), HasSubstr("--architecture"))));
  folder.write("config.json", R"({"architecture": "tf_efficientnet_b0"})");
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.network, tensorflow.network);

  // The same network with other colours.
  const WeightStore deit = formula_weights(other_family_card("deit_tiny_patch16_224").network, 3);
  const TemporaryFolder unnamed;
  write_safetensors(unnamed / "mine.safetensors", {deit.all().begin(), deit.all().end()}, {});
  const Checkpoint taken = read_checkpoint(unnamed / "mine.safetensors");
  EXPECT_EQ(taken.card.architecture, "vit_tiny_patch16_224");
  EXPECT_THAT(taken.notes, Contains(testing::AllOf(HasSubstr("deit_tiny_patch16_224"), HasSubstr("--architecture"))));
}

// What the file itself tells of the pictures that it was trained on, and of whose weights it is.
TEST(OtherFamilyFiles, PreprocessingFollowsTheGridAndTheLibrary) {
  const TemporaryFolder folder;
  Card card = other_family_card("deit_tiny_patch16_224");
  auto& vit = std::get<VisionTransformerConfig>(card.network);
  vit.grid_height = vit.grid_width = 20;
  const WeightStore weights = formula_weights(card.network, 3);
  write_safetensors(folder / "deit_tiny_patch16_224.safetensors", {weights.all().begin(), weights.all().end()}, {});
  const Checkpoint larger = read_checkpoint(folder / "deit_tiny_patch16_224.safetensors");
  EXPECT_EQ(larger.card.architecture, "deit_tiny_patch16_224");
  EXPECT_EQ(larger.origins.at("architecture"), "the file's name");
  EXPECT_EQ(larger.card.preprocessing.resolution, 320);
  EXPECT_EQ(larger.origins.at("resolution"), "the grid of the position embeddings");

  Card regnet = other_family_card("regnety_032");
  set_class_count(regnet.network, 1000);  // of weights that were trained further only the network's own are known
  const WeightStore theirs = formula_weights(regnet.network, 3);
  std::map<std::string, ConstTensorView> views;
  for (const auto& [own, view] : theirs.all()) {
    views.emplace(name_in(WeightLayout::kRegNetTorchvision, own).value().name, view);
  }
  write_safetensors(folder / "mine.safetensors", views, {});
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.preprocessing.crop_fraction, 0.965);
  write_safetensors(folder / "mine.safetensors", {theirs.all().begin(), theirs.all().end()}, {});
  EXPECT_EQ(read_checkpoint(folder / "mine.safetensors").card.preprocessing.crop_fraction, 0.875);
}

TEST(OtherFamilyFiles, TheNamesOfOtherLibrariesAreRead) {
  const TemporaryFolder folder;
  using enum WeightLayout;
  const std::pair<const char*, WeightLayout> files[] = {{"regnety_040", kRegNetTorchvision},
                                                        {"efficientnet_b0", kEfficientNetTorchvision},
                                                        {"efficientnet_v2_s", kEfficientNetV2Torchvision},
                                                        {"deit_tiny_patch16_224", kVisionTransformerTorchvision},
                                                        {"swin_tiny_patch4_window7_224", kSwinMicrosoft},
                                                        {"swin_tiny_patch4_window7_224", kSwinTorchvision}};
  for (const auto& [name, layout] : files) {
    SCOPED_TRACE(std::string(name) + " " + std::string(name_of(layout)));
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    std::map<std::string, ConstTensorView> theirs;
    for (const auto& [own, view] : weights.all()) theirs.emplace(name_in(layout, own).value().name, view);
    const Tensor counter = Tensor::zeros({1}, DType::kI64);
    theirs.emplace("features.1.0.attn.relative_position_index", counter.view());
    write_safetensors(folder / "theirs.safetensors", theirs, {});
    const Checkpoint back = read_checkpoint(folder / "theirs.safetensors");
    EXPECT_EQ(back.layout, layout);
    EXPECT_TRUE(have_same_tensors(back.card.network, card.network));
    EXPECT_TRUE(same_weights(back.weights, weights));
  }
}

TEST(OtherFamilyFiles, OthersThanTheNameOrTheConfigSayAreRefused) {
  const TemporaryFolder folder;
  const Card card = other_family_card("resnet50");
  const WeightStore weights = formula_weights(card.network, 3);
  const fs::path path = folder / "mine.safetensors";
  write_safetensors(path, {weights.all().begin(), weights.all().end()}, {});
  expect_error(ErrorCode::kMismatch, {"mine.safetensors", "resnet", "leave the name convnext_tiny out"},
               [&] { read_checkpoint(path, "convnext_tiny"); });
  expect_error(ErrorCode::kMismatch, {"layer3.6.", "resnet101", "'depths' is 3,4,6,3", "try --architecture resnet50"},
               [&] { read_checkpoint(path, "resnet101"); });
  folder.write("config.json", R"({"architecture": "resnet101"})");
  expect_error(ErrorCode::kMismatch, {"config.json", "resnet101", "other weights"}, [&] { read_checkpoint(path); });
  folder.write("config.json", R"({"architecture": "convnext_tiny"})");
  expect_error(ErrorCode::kMismatch, {"config.json", "convnext_tiny"}, [&] { read_checkpoint(path); });
  // A tensor of another shape: the error says which network it is nearest to.
  const TemporaryFolder other;
  WeightStore changed = weights;
  changed.add("layer2.1.conv2.weight", Tensor::zeros({128, 128, 5, 5}));
  write_safetensors(other / "mine.safetensors", {changed.all().begin(), changed.all().end()}, {});
  expect_error(ErrorCode::kMismatch, {"'layer2.1.conv2.weight' is (128, 128, 5, 5)", "nearest network is resnet50"},
               [&] { read_checkpoint(other / "mine.safetensors"); });
  const Inspection inspection = inspect(other / "mine.safetensors");
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_THAT(inspection.misfits, SizeIs(1));
}

TEST(OtherFamilyFiles, WrittenForALibraryTheyComeBackOrAreRefused) {
  const TemporaryFolder folder;
  for (const std::string& name : other_family_names()) {
    SCOPED_TRACE(name);
    const Card card = other_family_card(name);
    const WeightStore weights = formula_weights(card.network, 3);
    export_checkpoint(folder / name / "", card, weights, WrittenLayout::kTimm);
    const auto config = nlohmann::json::parse(read_text(folder / name / "config.json"));
    EXPECT_EQ(config["architecture"], name);
    EXPECT_EQ(config["num_classes"], 7);
    EXPECT_EQ(read_checkpoint(folder / name / "").card.network, card.network);
    for (const WrittenLayout layout : {WrittenLayout::kFb, WrittenLayout::kHf}) {
      expect_error(ErrorCode::kUnsupported, {name, std::string(name_of(layout))},
                   [&] { export_checkpoint(folder / "x.safetensors", card, weights, layout); });
    }
    // A PyTorch file has no card: only what its tensors tell may go there.
    const fs::path pytorch = folder / (name + ".pth");
    const NetworkConfig alone =
        inferred_as(name, own_layout(card.network), [](NetworkConfig& network) { set_class_count(network, 7); });
    if (alone == card.network) {
      export_checkpoint(pytorch, card, weights, WrittenLayout::kOwn);
      EXPECT_EQ(read_checkpoint(pytorch, name).card.network, card.network);
    } else {
      expect_error(ErrorCode::kUnsupported, {".pth", "same_padding", "safetensors"},
                   [&] { export_checkpoint(pytorch, card, weights, WrittenLayout::kOwn); });
    }
  }
  const Card regnet = other_family_card("regnety_040");
  const WeightStore weights = formula_weights(regnet.network, 3);
  export_checkpoint(folder / "tv.safetensors", regnet, weights, WrittenLayout::kTorchvision);
  EXPECT_EQ(read_checkpoint(folder / "tv.safetensors").layout, WeightLayout::kRegNetTorchvision);
  const Card swin = other_family_card("swin_tiny_patch4_window7_224");
  expect_error(ErrorCode::kUnsupported, {"swin_tiny_patch4_window7_224", "torchvision"}, [&] {
    export_checkpoint(folder / "x.safetensors", swin, formula_weights(swin.network, 3), WrittenLayout::kTorchvision);
  });
  Card deeper = other_family_card("resnet50");
  std::get<ResNetConfig>(deeper.network).depths = {1, 1, 1, 1};
  expect_error(ErrorCode::kUnsupported, {"resnet50", "timm"}, [&] {
    export_checkpoint(folder / "x/", deeper, formula_weights(deeper.network, 3), WrittenLayout::kTimm);
  });
  EXPECT_FALSE(fs::exists(folder / "x"));
}

// Silently another activation or epsilon would be worse than no file.
TEST(ExportWeights, WhatTheLibraryWouldComputeOtherwiseIsAnError) {
  Card card = small_card("convnext_tiny");
  auto& network = std::get<ConvNextConfig>(card.network);
  network.activation = Activation::kSilu;
  const WeightStore weights = formula_weights(card.network, 1);
  for (const WrittenLayout layout : {kFb, kTorchvision}) {
    expect_error(ErrorCode::kUnsupported, {"silu"}, [&] { export_weights(weights, card, layout); });
  }
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
  network.activation = Activation::kGelu;
  network.head_norm_eps = 1e-12;
  for (const WrittenLayout layout : {kFb, kTorchvision, kTimm}) {
    expect_error(ErrorCode::kUnsupported, {"1e-12"}, [&] { export_weights(weights, card, layout); });
  }
  EXPECT_NO_THROW(export_weights(weights, card, kHf));
}

TEST(ExportCheckpoint, NothingIsWrittenOfWhatALayoutCannotSay) {
  const TemporaryFolder folder;
  const Card card = small_card("convnextv2_tiny");
  EXPECT_THROW(export_checkpoint(folder / "out/", card, formula_weights(card.network, 1), kTorchvision), Error);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(ExportCheckpoint, AFolderHoldsWhatItsLibraryWants) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  const auto files = [&](const char* name, WrittenLayout layout) {
    export_checkpoint(folder / name, card, weights, layout);
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / name)) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  };
  EXPECT_THAT(files("own/", kOwn), ElementsAre("model.safetensors"));
  EXPECT_THAT(files("fb/", kFb), ElementsAre("model.safetensors"));
  EXPECT_THAT(files("timm/", kTimm), ElementsAre("config.json", "model.safetensors"));
  EXPECT_THAT(files("hf/", kHf), ElementsAre("config.json", "model.safetensors", "preprocessor_config.json"));
  fs::create_directory(folder / "existing");
  EXPECT_THAT(files("existing", kOwn), ElementsAre("model.safetensors"));
  // transformers refuses a file that does not say so.
  EXPECT_EQ(SafetensorsFile::open(folder / "hf/model.safetensors").metadata().at("format"), "pt");
  EXPECT_TRUE(SafetensorsFile::open(folder / "hf/model.safetensors").tensors().contains("convnext.layernorm.weight"));
}

// Which file of a folder.

TEST(WeightsFile, IsTheHubsOrTheOnlyOne) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, {folder.path().string(), "model.safetensors"},
               [&] { weights_file(folder.path()); });
  folder.write("config.json", "{}");
  folder.write("tiny.pth", "");
  EXPECT_EQ(weights_file(folder.path()), folder / "tiny.pth");
  folder.write("base.pth.tar", "");
  expect_error(ErrorCode::kNotFound, {"2 files", "base.pth.tar", "tiny.pth"}, [&] { weights_file(folder.path()); });
  for (const char* name : {"open_clip_pytorch_model.bin", "pytorch_model.bin", "open_clip_model.safetensors",
                           "model.safetensors.index.json", "model.safetensors"}) {
    folder.write(name, "");
    EXPECT_EQ(weights_file(folder.path()), folder / name);
  }
  EXPECT_EQ(weights_file(folder / "tiny.pth"), folder / "tiny.pth");
}

// Float types.

TEST(ReadCheckpoint, WeightsOfEveryFloatTypeLoad) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  WeightStore doubles;
  for (const auto& [name, view] : weights.all()) {
    Tensor tensor = Tensor::zeros(view.shape, DType::kF64);
    std::ranges::copy(weights.floats(name), tensor.values<double>().begin());
    doubles.add(name, std::move(tensor));
  }
  export_checkpoint(folder / "f64.pth", card, doubles, kFb);
  const Checkpoint read = read_checkpoint(folder / "f64.pth");
  EXPECT_TRUE(same_weights(converted(read.weights, DType::kF32), weights));
}

// SparK pre-trains by masked pictures, without a final norm: the names are those of its pretrain/models/convnext.py and
// spark.py.
TEST(ReadCheckpoint, AnEncoderOfSparkGetsAFinalNormThatChangesNothing) {
  const TemporaryFolder folder;
  Card card = small_card("convnext_small");
  set_class_count(card.network, 0);
  const WeightStore weights = formula_weights(card.network, 1);
  const Tensor other = Tensor::zeros({1, 3, 1, 1});
  const fs::path path = folder / "spark.pth";
  const auto write = [&path](const std::map<std::string, ConstTensorView>& tensors) {
    write_pytorch(path, std::vector<std::pair<std::string, ConstTensorView>>(tensors.begin(), tensors.end()));
  };
  for (const std::string prefix : {"", "sparse_encoder.sp_cnn."}) {
    SCOPED_TRACE(prefix);
    std::map<std::string, ConstTensorView> theirs;
    for (const auto& [own, view] : weights.all()) {
      if (!own.starts_with("head.")) theirs.emplace(prefix + name_in(WeightLayout::kFb, own).value().name, view);
    }
    if (!prefix.empty()) {
      for (const char* name : {"dense_decoder.proj.weight", "densify_norms.0.weight", "densify_projs.1.bias",
                               "mask_tokens.0", "imn_m", "imn_s", "norm_black"}) {
        theirs.emplace(name, other.view());
      }
    }
    write(theirs);
    const Checkpoint read = read_checkpoint(path);
    EXPECT_EQ(read.layout, WeightLayout::kFb);
    EXPECT_EQ(read.card.network, card.network);
    EXPECT_THAT(read.notes, Contains(HasSubstr("final norm")));
    for (const auto& [own, view] : weights.all()) {
      const std::vector<float> expected = own == "head.norm.weight" ? std::vector<float>(20, 1.0f)
                                          : own == "head.norm.bias" ? std::vector<float>(20, 0.0f)
                                                                    : weights.floats(own);
      EXPECT_THAT(read.weights.floats(own), testing::ElementsAreArray(expected)) << own;
    }
    // With a classifier, a norm that is not there is missing.
    const Tensor classifier = Tensor::zeros({5, 20}), bias = Tensor::zeros({5});
    theirs.emplace(prefix + "fc.weight", classifier.view());
    theirs.emplace(prefix + "fc.bias", bias.view());
    write(theirs);
    expect_error(ErrorCode::kMismatch, {"'norm.weight'"}, [&] { read_checkpoint(path); });
    theirs.emplace(prefix + "norm.weight", weights.at("head.norm.weight"));
    theirs.emplace(prefix + "norm.bias", weights.at("head.norm.bias"));
    write(theirs);
    EXPECT_EQ(class_count(read_checkpoint(path).card.network), 5);
  }
}

TEST(ReadCheckpoint, AFileOfNoKnownNetworkIsRefusedWithItsNames) {
  const TemporaryFolder folder;
  const Tensor tensor = Tensor::zeros({4, 3});
  write_safetensors(folder / "vgg.safetensors",
                    {{"features.28.weight", tensor.view()}, {"classifier.6.weight", tensor.view()}}, {});
  expect_error(ErrorCode::kUnsupported, {"vgg.safetensors", "no network that is known", "features.28.weight"},
               [&] { read_checkpoint(folder / "vgg.safetensors"); });
}

// A file of `views`, in which the tensor of that name is of a type that is not read.
void write_with_unread(const fs::path& path, TensorViews views, const std::string& name) {
  const TemporaryFolder folder;
  const Tensor bytes = Tensor::zeros({4}, DType::kU8);
  views[name] = bytes.view();
  write_safetensors(folder / "x.safetensors", {views.begin(), views.end()}, {});
  std::string file = read_text(folder / "x.safetensors");
  const std::size_t entry = file.find(fmt::format(R"("{}":{{"dtype":"U8","shape":[4])", name));
  ASSERT_NE(entry, file.npos);
  // Of equal length: four bytes, as eight halves of one.
  file.replace(file.find(R"("U8","shape":[4])", entry), 16, R"("F4","shape":[8])");
  write_file_atomically(path, file);
}

TEST(ReadCheckpoint, ATensorOfATypeThatIsNotReadIsAnErrorWhereItIsNeeded) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  const TensorViews views(weights.all().begin(), weights.all().end());
  const fs::path file = folder / "x.safetensors";
  write_with_unread(file, views, "some.statistics");
  const Checkpoint read = read_checkpoint(file);
  EXPECT_TRUE(same_weights(read.weights, weights));
  EXPECT_THAT(read.notes, Contains("passed over tensors that are of type F4: 'some.statistics'"));
  EXPECT_TRUE(inspect(file).is_whole());
  EXPECT_THAT(inspect(file).notes, Contains(HasSubstr("'some.statistics'")));

  const auto refused = [&](const std::string& source, const std::string& name, const std::string& architecture) {
    expect_error(ErrorCode::kUnsupported, {source, "'" + name + "' is of type F4", "F16, BF16 or F32"},
                 [&] { read_checkpoint(file, architecture); });
    EXPECT_THAT(inspect(file, architecture).problems, ElementsAre(HasSubstr("'" + name + "' is of type F4")));
  };
  write_with_unread(file, views, "stages.2.blocks.0.mlp.fc1.weight");
  refused("x.safetensors", "stages.2.blocks.0.mlp.fc1.weight", "");
  refused("x.safetensors", "stages.2.blocks.0.mlp.fc1.weight", "convnext_tiny");
  // Nothing but such tensors: the layout is not known, and yet the reason is told.
  write_with_unread(file, {}, "backbone.stages.2.0.pointwise_conv1.weight");
  refused("x.safetensors", "backbone.stages.2.0.pointwise_conv1.weight", "");
}

TEST(ReadCheckpoint, AFolderOfPytorchShardsIsAModel) {
  const TemporaryFolder folder;
  const Card card = small_card("convnext_tiny");
  const WeightStore weights = formula_weights(card.network, 1);
  std::vector<std::pair<std::string, ConstTensorView>> halves[2];
  std::string map;
  for (const auto& [name, view] : weights.all()) {
    const std::size_t half = name.starts_with("stages.2") ? 1 : 0;
    halves[half].emplace_back(name, view);
    map += fmt::format(R"({}"{}": "pytorch_model-0000{}-of-00002.bin")", map.empty() ? "" : ", ", name, half + 1);
  }
  write_pytorch(folder / "pytorch_model-00001-of-00002.bin", halves[0]);
  write_pytorch(folder / "pytorch_model-00002-of-00002.bin", halves[1]);
  folder.write("pytorch_model.bin.index.json", fmt::format(R"({{"weight_map": {{{}}}}})", map));
  const Checkpoint read = read_checkpoint(folder.path());
  EXPECT_EQ(read.path, folder / "pytorch_model.bin.index.json");
  EXPECT_TRUE(same_weights(read.weights, weights));
}

// Inspection.

class Inspecting : public testing::Test {
 protected:
  // Writes a bare file; `change` may spoil it before.
  template <typename Change>
  Inspection of(const Change& change) {
    std::map<std::string, Tensor> tensors;
    const Card card = small_card("convnext_tiny");
    for (const TensorSpec& spec : tensor_specs(card.network)) tensors.emplace(spec.name, formula_tensor(spec, 1));
    change(tensors);
    std::map<std::string, ConstTensorView> views;
    for (const auto& [name, tensor] : tensors) views.emplace(name, tensor.view());
    write_safetensors(folder_ / "bare.safetensors", views, {});
    return inspect(folder_ / "bare.safetensors");
  }
  using Tensors = std::map<std::string, Tensor>;

  TemporaryFolder folder_;
};

TEST_F(Inspecting, AWholeModelHasNothingToReport) {
  const Inspection inspection = of([](Tensors&) {});
  EXPECT_TRUE(inspection.is_whole());
  EXPECT_EQ(inspection.kind, TensorFileKind::kSafetensors);
  EXPECT_EQ(inspection.layout, WeightLayout::kTimm);
  EXPECT_EQ(inspection.types.at(DType::kF32).tensors, static_cast<std::int64_t>(inspection.tensors.size()));
  ASSERT_TRUE(inspection.card);
  EXPECT_FALSE(inspection.card->has_card);
  EXPECT_EQ(inspection.card->origins.at("dims"), "the tensors' shapes");
}

TEST_F(Inspecting, CountsWhatIsNotFinite) {
  const Inspection inspection = of([](Tensors& tensors) {
    auto values = tensors.at("stages.1.downsample.1.weight").values<float>();
    values[3] = values[7] = std::numeric_limits<float>::quiet_NaN();
    values[5] = -std::numeric_limits<float>::infinity();
  });
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_THAT(inspection.misfits, IsEmpty());
  for (const InspectedTensor& tensor : inspection.tensors) {
    const bool spoilt = tensor.key == "stages.1.downsample.1.weight";
    EXPECT_EQ(tensor.statistics.nans, spoilt ? 2 : 0) << tensor.key;
    EXPECT_EQ(tensor.statistics.infinities, spoilt ? 1 : 0) << tensor.key;
  }
}

TEST_F(Inspecting, ListsAllThatDoesNotFitAndNotOnlyTheFirst) {
  const Inspection inspection = of([](Tensors& tensors) {
    tensors.erase("stages.0.blocks.0.norm.bias");
    tensors.erase("head.norm.weight");
    tensors["stages.2.blocks.1.mlp.fc1.weight"] = Tensor::zeros({3, 3});
    tensors["head.extra"] = Tensor::zeros({1});
  });
  EXPECT_FALSE(inspection.is_whole());
  std::vector<std::string> keys;
  for (const Misfit& misfit : inspection.misfits) keys.push_back(misfit.key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("stages.0.blocks.0.norm.bias", "head.norm.weight",
                                                  "stages.2.blocks.1.mlp.fc1.weight", "head.extra"));
}

TEST_F(Inspecting, DamagedMissingAndForeignFilesAreDescribedAsFarAsTheyGo) {
  folder_.write("damaged.safetensors", "This is no file of weights.");
  const Inspection damaged = inspect(folder_ / "damaged.safetensors");
  EXPECT_FALSE(damaged.is_whole());
  EXPECT_THAT(damaged.problems, ElementsAre(HasSubstr("damaged.safetensors")));
  EXPECT_THAT(inspect(folder_ / "missing.pth").problems, ElementsAre(HasSubstr("missing.pth")));
  const Inspection foreign = of([](Tensors& tensors) {
    tensors.clear();
    tensors["conv1.weight"] = Tensor::zeros({2, 2});
  });
  EXPECT_FALSE(foreign.is_whole());
  EXPECT_FALSE(foreign.layout);
  EXPECT_THAT(foreign.tensors, SizeIs(1));
  EXPECT_THAT(foreign.problems, ElementsAre(HasSubstr("conv1.weight")));
}

TEST_F(Inspecting, AgainstANamedNetworkAllTensorsAreCompared) {
  of([](Tensors&) {});
  const Inspection inspection = inspect(folder_ / "bare.safetensors", "convnext_small");
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_GT(inspection.misfits.size(), 100u);
  EXPECT_THAT(inspection.problems, ElementsAre(HasSubstr("convnext_small")));
}

// Statistics.

template <typename T>
TensorStatistics statistics_of(DType dtype, std::vector<T> values) {
  Tensor tensor = Tensor::zeros({static_cast<std::int64_t>(values.size())}, dtype);
  std::ranges::copy(values, tensor.values<T>().begin());
  return tensor_statistics(std::as_const(tensor).view());
}

TEST(TensorStatisticsTest, AreThoseOfTheFiniteElements) {
  const float infinity = std::numeric_limits<float>::infinity();
  const TensorStatistics s =
      statistics_of<float>(DType::kF32, {1.0f, -3.0f, std::nanf(""), 5.0f, infinity, -infinity, 1.0f});
  EXPECT_EQ(s.count, 7);
  EXPECT_EQ(s.nans, 1);
  EXPECT_EQ(s.infinities, 2);
  EXPECT_EQ(s.least, -3.0);
  EXPECT_EQ(s.greatest, 5.0);
  EXPECT_DOUBLE_EQ(s.mean, 1.0);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(8.0));
  EXPECT_FALSE(s.all_finite());
}

TEST(TensorStatisticsTest, OfEveryKindOfType) {
  EXPECT_EQ(statistics_of<double>(DType::kF64, {1e300, -1e300}).greatest, 1e300);
  EXPECT_EQ(statistics_of<std::int64_t>(DType::kI64, {-7, 9}).least, -7.0);
  EXPECT_EQ(statistics_of<std::uint8_t>(DType::kBool, {1, 0}).mean, 0.5);
  EXPECT_EQ(statistics_of<std::uint16_t>(DType::kF16, {0x3c00, 0x7c00, 0x7e00}).infinities, 1);  // 1, inf, NaN
  EXPECT_EQ(statistics_of<std::uint16_t>(DType::kBF16, {0x3f80, 0x7fc0}).nans, 1);
  EXPECT_EQ(statistics_of<float>(DType::kF32, {}).count, 0);
  EXPECT_EQ(statistics_of<float>(DType::kF32, {std::nanf("")}).greatest, 0.0);
  // A large mean does not swallow a small deviation.
  EXPECT_NEAR(statistics_of<double>(DType::kF64, {1e9, 1e9 + 1}).deviation, 0.5, 1e-6);
}

}  // namespace
}  // namespace convnext
