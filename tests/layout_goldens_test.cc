// Files that timm, torchvision and transformers wrote, and files with the names of the other layouts
// (tests/goldens/layouts, made by tools/goldens/layouts.py, which says which is which).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/inspection.h"
#include "model/layouts.h"
#include "tests/golden.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
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

}  // namespace
}  // namespace convnext
