// Detectors on disk: the names of mmdetection and of the authors, cards, and what does not fit.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "io/pytorch.h"
#include "io/safetensors.h"
#include "model/coco_labels.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"
#include "model/detector_weights.h"
#include "model/inspection.h"
#include "model/registry.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/small_detector.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void expect_same(const WeightStore& actual, const WeightStore& expected) {
  ASSERT_EQ(actual.all().size(), expected.all().size());
  for (const auto& [name, view] : expected.all()) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_EQ(actual.at(name).shape, view.shape) << name;
    EXPECT_EQ(actual.floats(name), expected.floats(name)) << name;
  }
}

void write(const std::filesystem::path& path, const TensorViews& views) {
  write_safetensors(path, {views.begin(), views.end()}, {});
}

WeightLayout layout_of(const NetworkConfig& backbone) {
  if (std::holds_alternative<ResNetConfig>(backbone)) return WeightLayout::kResNet;
  return std::holds_alternative<SwinConfig>(backbone) ? WeightLayout::kSwinMicrosoft : WeightLayout::kFb;
}

TEST(DetectorNames, GoThereAndBackForEveryDetector) {
  for (const DetectorEntry& entry : detectors()) {
    const DetectorLayout layout{layout_of(entry.config.backbone), entry.config.stages() > 1};
    for (const TensorSpec& spec : tensor_specs(entry.config)) {
      const auto theirs = detector_name_in(layout, spec.name);
      ASSERT_TRUE(theirs) << entry.name << ": " << spec.name;
      const auto own = own_detector_name(layout, theirs->name);
      ASSERT_TRUE(own) << entry.name << ": " << theirs->name;
      EXPECT_EQ(own->name, spec.name) << entry.name;
    }
  }
}

// As the published files have them.
TEST(DetectorNames, AreThoseOfPublishedFiles) {
  const DetectorLayout single{WeightLayout::kFb, false}, cascade{WeightLayout::kFb, true};
  const std::pair<const char*, const char*> shared[] = {
      {"backbone.downsample_layers.0.0.weight", "backbone.stem.0.weight"},
      {"backbone.downsample_layers.2.1.bias", "backbone.stages.2.downsample.1.bias"},
      {"backbone.stages.2.8.pwconv1.weight", "backbone.stages.2.blocks.8.mlp.fc1.weight"},
      {"backbone.stages.3.0.gamma", "backbone.stages.3.blocks.0.gamma"},
      {"backbone.norm0.weight", "output_norms.0.weight"},
      {"backbone.norm3.bias", "output_norms.3.bias"},
      {"neck.lateral_convs.3.conv.weight", "pyramid.lateral.3.weight"},
      {"neck.fpn_convs.0.conv.bias", "pyramid.output.0.bias"},
      {"rpn_head.rpn_conv.weight", "proposals.convolution.weight"},
      {"rpn_head.rpn_cls.bias", "proposals.scores.bias"},
      {"rpn_head.rpn_reg.weight", "proposals.deltas.weight"}};
  for (const auto& [theirs, own] : shared) {
    for (const DetectorLayout& layout : {single, cascade}) {
      EXPECT_EQ(own_detector_name(layout, theirs).value().name, own);
      EXPECT_EQ(detector_name_in(layout, own).value().name, theirs);
    }
  }
  const std::pair<const char*, const char*> of_single[] = {
      {"roi_head.bbox_head.shared_fcs.1.weight", "box_heads.0.linears.1.weight"},
      {"roi_head.bbox_head.fc_cls.weight", "box_heads.0.scores.weight"},
      {"roi_head.bbox_head.fc_reg.bias", "box_heads.0.deltas.bias"},
      {"roi_head.mask_head.convs.3.conv.weight", "mask_heads.0.convolutions.3.weight"},
      {"roi_head.mask_head.upsample.weight", "mask_heads.0.upsample.weight"},
      {"roi_head.mask_head.conv_logits.bias", "mask_heads.0.logits.bias"}};
  for (const auto& [theirs, own] : of_single) {
    EXPECT_EQ(own_detector_name(single, theirs).value().name, own);
    EXPECT_FALSE(own_detector_name(cascade, theirs)) << theirs;
  }
  const std::pair<const char*, const char*> of_cascade[] = {
      {"roi_head.bbox_head.2.shared_convs.0.conv.weight", "box_heads.2.convolutions.0.weight"},
      {"roi_head.bbox_head.1.shared_convs.3.bn.running_var", "box_heads.1.norms.3.running_var"},
      {"roi_head.bbox_head.0.shared_fcs.0.bias", "box_heads.0.linears.0.bias"},
      {"roi_head.bbox_head.0.fc_cls.weight", "box_heads.0.scores.weight"},
      {"roi_head.mask_head.2.upsample.bias", "mask_heads.2.upsample.bias"}};
  for (const auto& [theirs, own] : of_cascade) {
    EXPECT_EQ(own_detector_name(cascade, theirs).value().name, own);
    EXPECT_FALSE(own_detector_name(single, theirs)) << theirs;
  }
  EXPECT_FALSE(own_detector_name(single, "roi_head.bbox_head.shared_convs.0.bn.num_batches_tracked"));
  EXPECT_EQ(own_detector_name({WeightLayout::kSwinMicrosoft, false}, "backbone.layers.0.downsample.reduction.weight")
                .value()
                .name,
            "backbone.layers.1.downsample.reduction.weight");
  EXPECT_EQ(own_detector_name({WeightLayout::kResNet, true}, "backbone.layer1.0.bn2.running_mean").value().name,
            "backbone.layer1.0.bn2.running_mean");
}

class DetectorFiles : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(DetectorFiles, OfMmdetectionAreReadByThemselves) {
  for (const char* name : {"mask_rcnn_convnext_tiny", "cascade_mask_rcnn_convnext_tiny"}) {
    for (const WeightLayout backbone : {WeightLayout::kFb, WeightLayout::kMmpretrain}) {
      SCOPED_TRACE(name);
      const DetectorConfig config = small_detector(name);
      const WeightStore weights = formula_weights(config);
      const TensorViews views = export_detector(weights, {backbone, config.stages() > 1});
      const std::filesystem::path path = folder_.path() / "detector.pth";
      write_pytorch(path, std::vector<std::pair<std::string, ConstTensorView>>(views.begin(), views.end()));
      const DetectorCheckpoint read = read_detector(path);
      EXPECT_FALSE(read.has_card);
      EXPECT_EQ(read.card.detector, config);
      EXPECT_EQ(read.card.labels, coco_labels());
      EXPECT_EQ(read.card.short_side, 800);
      EXPECT_EQ(read.card.long_side, 1333);
      EXPECT_THAT(read.notes, IsEmpty());
      expect_same(read.weights, weights);
    }
  }
}

// Written by PyTorch under the names of mmdetection 2 and 3, each with the meta of its time.
TEST(DetectorCheckpointsOfMmdetection, SayWhatTheirClassesAreCalled) {
  const auto expected = [](const char* name, int classes) {
    DetectorConfig config = small_detector(name, classes);
    auto& backbone = std::get<ConvNextConfig>(config.backbone);
    backbone.depths = {1, 1, 1, 1};
    backbone.dims = {4, 6, 8, 10};
    config.pyramid_channels = 4;
    config.box_hidden = 6;
    return config;
  };
  const DetectorCheckpoint second = read_detector(golden_path("detector_files/mmdet2.pth"));
  EXPECT_EQ(second.card.detector, expected("mask_rcnn_convnext_tiny", 3));
  EXPECT_THAT(second.card.labels, ElementsAre("disc", "Box", "five-pointed star"));
  EXPECT_EQ(second.origins.at("labels"), "the checkpoint's meta.CLASSES");
  EXPECT_THAT(second.notes, ElementsAre("took 'state_dict' of 'meta', 'state_dict'"));
  expect_same(second.weights, formula_weights(second.card.detector));

  // Eighty classes are COCO's only where nothing else is said.
  const DetectorCheckpoint third = read_detector(golden_path("detector_files/mmdet3.pth"));
  EXPECT_EQ(third.card.detector, expected("cascade_mask_rcnn_convnext_tiny", 80));
  ASSERT_EQ(third.card.labels.size(), 80u);
  EXPECT_EQ(third.card.labels[0], "kind 0");
  EXPECT_EQ(third.card.labels[79], "kind 79");
  EXPECT_EQ(third.origins.at("labels"), "the checkpoint's meta.dataset_meta.classes");
  expect_same(third.weights, formula_weights(third.card.detector));
}

// Names of other classes than the heads know would be wrong names.
TEST(DetectorCheckpointsOfMmdetection, WhoseNamesDoNotFitSaySo) {
  TensorFile file = open_tensor_file(golden_path("detector_files/mmdet3.pth"));
  const RecognizedDetector weights = recognize_detector(file.tensors);
  const auto card_with = [&](const NamedClasses& classes) {
    file.classes = classes;
    return card_of(file, weights);
  };
  const DetectorCheckpointCard other = card_with({"meta.CLASSES", {"cat", "dog"}});
  EXPECT_THAT(other.card.labels, IsEmpty());
  EXPECT_FALSE(other.origins.contains("labels"));
  EXPECT_THAT(other.notes, ElementsAre(AllOf(HasSubstr("meta.CLASSES names 2 classes ('cat', 'dog')"),
                                             HasSubstr("heads have 80"), HasSubstr("--labels"))));
  const DetectorCheckpointCard none = card_with({"meta.CLASSES", {}});
  EXPECT_THAT(none.card.labels, IsEmpty());
  EXPECT_THAT(none.notes, ElementsAre(AllOf(HasSubstr("meta.CLASSES is no list of names"), HasSubstr("80 classes"))));
  const DetectorCheckpointCard unsaid = card_with({});
  EXPECT_EQ(unsaid.card.labels, coco_labels());
  EXPECT_THAT(unsaid.notes, IsEmpty());
}

// Of registered backbones the name tells; linears of a block may be matrices.
TEST_F(DetectorFiles, OverARegisteredBackboneGetItsName) {
  DetectorConfig config = find_detector("cascade_mask_rcnn_convnext_atto").value().config;
  config.pyramid_channels = 8;
  config.box_hidden = 12;
  config.classes = 4;
  const WeightStore weights = formula_weights(config);
  const std::filesystem::path path = folder_.path() / "detector.safetensors";
  write(path, export_detector(weights, {WeightLayout::kFb, true}));
  const DetectorCheckpoint read = read_detector(path);
  EXPECT_EQ(read.card.architecture, "cascade_mask_rcnn_convnext_atto");
  EXPECT_EQ(read.card.detector, config);
  EXPECT_THAT(read.card.labels, IsEmpty());
  expect_same(read.weights, weights);
}

TEST_F(DetectorFiles, OfOursKeepTheirCard) {
  DetectorCard card;
  card.architecture = "cascade_mask_rcnn_convnext_tiny";
  card.detector = small_detector(card.architecture, 3);
  card.detector.anchor_scale = 4;
  card.detector.score_threshold = 0.25;
  card.labels = {"disc", "box", "star"};
  card.mean = {0.5f, 0.25f, 0.125f};
  card.short_side = 160;
  card.long_side = 320;
  card.license = "Apache-2.0";
  card.training = R"({"epochs":12})";
  const WeightStore weights = formula_weights(card.detector);
  const std::filesystem::path path = folder_.path() / "detector.safetensors";
  write_detector(path, card, weights);
  const DetectorCheckpoint read = read_detector(path);
  EXPECT_TRUE(read.has_card);
  EXPECT_EQ(read.card.architecture, card.architecture);
  EXPECT_EQ(read.card.detector, card.detector);
  EXPECT_EQ(read.card.labels, card.labels);
  EXPECT_EQ(read.card.mean, card.mean);
  EXPECT_EQ(read.card.short_side, 160);
  EXPECT_EQ(read.card.long_side, 320);
  EXPECT_EQ(read.card.license, card.license);
  EXPECT_EQ(read.card.training, card.training);
  expect_same(read.weights, weights);

  // The registered detector itself is written as nothing but its name.
  card.detector = find_detector(card.architecture)->config;
  card.labels.clear();
  EXPECT_THAT(detector_card_to_json(card), HasSubstr("\"backbone\": {}"));
  EXPECT_THAT(detector_card_to_json(card), HasSubstr("\"detector\": {}"));
  expect_error(ErrorCode::kUnsupported, {"detector", "classifier"},
               [&] { card_from_json(detector_card_to_json(card), "x"); });
}

TEST_F(DetectorFiles, ThatDoNotFitSayWhat) {
  const DetectorConfig config = small_detector("cascade_mask_rcnn_convnext_tiny", 6);
  const WeightStore weights = formula_weights(config);
  const TensorViews whole = export_detector(weights, {WeightLayout::kFb, true});
  const std::filesystem::path path = folder_.path() / "detector.safetensors";
  const auto refused = [&](ErrorCode code, std::initializer_list<std::string> texts, const auto& change) {
    TensorViews views = whole;
    change(views);
    write(path, views);
    expect_error(code, texts, [&] { read_detector(path); });
  };
  refused(ErrorCode::kMismatch, {"roi_head.bbox_head.1.fc_reg.weight", "(24, 12)"},
          [](TensorViews& views) { views.erase("roi_head.bbox_head.1.fc_reg.weight"); });
  // Another class count in one of the heads.
  const WeightStore other = formula_weights(small_detector("cascade_mask_rcnn_convnext_tiny", 9));
  const TensorViews others = export_detector(other, {WeightLayout::kFb, true});
  refused(ErrorCode::kMismatch, {"roi_head.mask_head.2.conv_logits.weight", "(9, 8, 1, 1)", "(6, 8, 1, 1)"},
          [&](TensorViews& views) {
            views["roi_head.mask_head.2.conv_logits.weight"] = others.at("roi_head.mask_head.2.conv_logits.weight");
          });
  refused(ErrorCode::kUnsupported, {"no detector"}, [](TensorViews& views) {
    std::erase_if(views, [](const auto& entry) { return entry.first.starts_with("roi_head."); });
  });
  refused(ErrorCode::kInvalidArgument, {"classes"}, [](TensorViews& views) {
    std::erase_if(views, [](const auto& entry) { return entry.first.find("fc_cls") != std::string::npos; });
  });

  DetectorCard card;
  card.architecture = "cascade_mask_rcnn_convnext_tiny";
  card.detector = config;
  expect_error(ErrorCode::kMismatch, {"box_heads.0.scores", "(10, 12)", "(7, 12)"},
               [&] { write_detector(path, card, other); });
  card.labels = {"one", "two"};
  expect_error(ErrorCode::kMismatch, {"2 labels", "6 classes"},
               [&] { detector_card_from_json(detector_card_to_json(card), "x"); });
  card.labels.clear();
  card.short_side = 2000;
  expect_error(ErrorCode::kDamaged, {"short_side", "2000"},
               [&] { detector_card_from_json(detector_card_to_json(card), "x"); });
  expect_error(ErrorCode::kDamaged, {"anchor_scael"}, [] {
    detector_card_from_json(R"({"architecture":"mask_rcnn_convnext_tiny","detector":{"anchor_scael":2}})", "x");
  });
  expect_error(ErrorCode::kDamaged, {"no detector", "nothing"},
               [] { detector_card_from_json(R"({"architecture":"nothing"})", "x"); });
}

// Another kind of detector has tensors that would be missed; what a training leaves beside the parts would not.
TEST_F(DetectorFiles, OfAnotherKindAreRefusedAndTheRestIsPassedOver) {
  const DetectorConfig config = small_detector("mask_rcnn_convnext_tiny", 6);
  const WeightStore weights = formula_weights(config);
  const TensorViews whole = export_detector(weights, {WeightLayout::kFb, false});
  const Tensor other = Tensor::zeros({2, 3});
  const Tensor integers = Tensor::zeros({6}, DType::kI64);
  const std::filesystem::path path = folder_.path() / "detector.safetensors";
  const auto with = [&](std::initializer_list<std::pair<const char*, const Tensor*>> tensors) {
    TensorViews views = whole;
    for (const auto& [key, tensor] : tensors) views[key] = tensor->view();
    write(path, views);
  };
  for (const char* key : {"roi_head.semantic_head.conv.weight", "neck.fpn_convs.7.conv.weight", "rpn_head.scale",
                          "backbone.stages.0.0.dwconv_offset.weight"}) {
    with({{key, &other}});
    expect_error(ErrorCode::kMismatch, {key, "(2, 3)", "no part"}, [&] { read_detector(path); });
    const DetectorInspection inspection = inspect_detector(path);
    EXPECT_FALSE(inspection.is_whole());
    ASSERT_EQ(inspection.misfits.size(), 1u) << key;
    EXPECT_EQ(inspection.misfits[0].kind, Misfit::Kind::kUnexpected);
  }
  with({{"roi_head.mask_head.conv_logits.bias", &integers}});
  expect_error(ErrorCode::kMismatch, {"conv_logits.bias", "integers"}, [&] { read_detector(path); });
  with({{"data_preprocessor.mean", &other}, {"backbone.head.weight", &other}, {"roi_head.steps", &integers}});
  const DetectorCheckpoint read = read_detector(path);
  EXPECT_EQ(read.card.detector, config);
  expect_same(read.weights, weights);
  EXPECT_THAT(read.notes, ElementsAre(HasSubstr("3 tensors")));
}

// A network's misfits are another test's; here it is the heads'.
TEST_F(DetectorFiles, AreInspectedWhateverIsWrong) {
  const DetectorConfig config = small_detector("cascade_mask_rcnn_convnext_tiny", 6);
  const WeightStore weights = formula_weights(config);
  TensorViews views = export_detector(weights, {WeightLayout::kMmpretrain, true});
  const std::filesystem::path path = folder_.path() / "detector.safetensors";
  write(path, views);
  EXPECT_TRUE(holds_detector(path));
  const DetectorInspection whole = inspect_detector(path);
  EXPECT_TRUE(whole.is_whole());
  EXPECT_EQ(whole.naming, DetectorNaming::kMmdet);
  EXPECT_EQ(whole.backbone_layout, WeightLayout::kMmpretrain);
  ASSERT_TRUE(whole.card);
  EXPECT_EQ(whole.card->card.detector, config);
  EXPECT_EQ(whole.card->origins.at("classes"), "the tensors");
  EXPECT_THAT(whole.card->origins.at("score_threshold"), HasSubstr("cascade_mask_rcnn_convnext"));
  for (const NetworkField& field : detector_fields(config)) EXPECT_TRUE(whole.card->origins.contains(field.name));

  Tensor broken = Tensor::zeros({6});
  broken.values<float>()[1] = std::nanf("");
  broken.values<float>()[2] = INFINITY;
  const Tensor misshapen = Tensor::zeros({5, 12});
  views["roi_head.mask_head.1.conv_logits.bias"] = broken.view();
  views["roi_head.bbox_head.2.fc_cls.weight"] = misshapen.view();
  views.erase("neck.lateral_convs.1.conv.bias");
  write(path, views);
  const DetectorInspection inspection = inspect_detector(path);
  EXPECT_FALSE(inspection.is_whole());
  std::map<std::string, Misfit::Kind> misfits;
  for (const Misfit& misfit : inspection.misfits) misfits.emplace(misfit.key, misfit.kind);
  EXPECT_THAT(misfits, ElementsAre(testing::Pair("neck.lateral_convs.1.conv.bias", Misfit::Kind::kMissing),
                                   testing::Pair("roi_head.bbox_head.2.fc_cls.weight", Misfit::Kind::kShape)));
  for (const InspectedTensor& tensor : inspection.tensors) {
    const bool is_broken = tensor.key == "roi_head.mask_head.1.conv_logits.bias";
    EXPECT_EQ(tensor.statistics.nans, is_broken ? 1 : 0) << tensor.key;
    EXPECT_EQ(tensor.statistics.infinities, is_broken ? 1 : 0) << tensor.key;
  }

  folder_.write("detector.safetensors", "no weights");
  EXPECT_FALSE(holds_detector(path));
  EXPECT_THAT(inspect_detector(path).problems, ElementsAre(HasSubstr("detector.safetensors")));
}

// Weights and card, in every layout and kind of file that holds them.
TEST_F(DetectorFiles, AreWrittenInEveryLayoutAndReadBackTheSame) {
  for (const char* name : {"mask_rcnn_convnext_tiny", "cascade_mask_rcnn_convnext_tiny"}) {
    DetectorCard card;
    card.architecture = name;
    card.detector = small_detector(name, 5);
    const WeightStore weights = formula_weights(card.detector);
    for (const char* layout : {"own", "mmdet", "fb"}) {
      for (const char* file : {"d.safetensors", "d.pth", "folder/"}) {
        SCOPED_TRACE(fmt::format("{}, {}, {}", name, layout, file));
        card.detector.detections = std::string_view(file) == "d.pth" ? 100 : 20;
        write_detector(folder_ / file, card, weights, written_detector_layout_from_name(layout));
        const DetectorCheckpoint read = read_detector(folder_ / file);
        EXPECT_EQ(read.has_card, std::string_view(file) != "d.pth");
        EXPECT_EQ(read.card.detector, card.detector);
        EXPECT_EQ(read.naming, layout == std::string_view("own") ? DetectorNaming::kOwn : DetectorNaming::kMmdet);
        EXPECT_THAT(read.notes, IsEmpty());
        expect_same(read.weights, weights);
      }
    }
    // What a PyTorch file would not say. How it was trained is not missed.
    card.detector.detections = 20;
    card.detector.anchor_samples = 99;
    expect_error(ErrorCode::kUnsupported, {"detections 20", "100", "safetensors"},
                 [&] { write_detector(folder_ / "d.pth", card, weights); });
    card.detector.detections = 100;
    write_detector(folder_ / "d.pth", card, weights);
  }
  EXPECT_EQ(name_of(written_detector_layout_from_name("mmdet")), "mmdet");
  expect_error(ErrorCode::kInvalidArgument, {"'hf'", "own, mmdet"}, [] { written_detector_layout_from_name("hf"); });
}

// mmdetection has a ResNet, and the authors a Swin.
TEST_F(DetectorFiles, OfOtherFamiliesHaveTheLayoutThatNamesThem) {
  const auto views = [](const char* name, WrittenDetectorLayout layout) {
    DetectorConfig config = find_detector(name).value().config;
    config.pyramid_channels = 8;
    config.box_hidden = 12;
    return export_weights(formula_weights(config), config, layout);
  };
  using enum WrittenDetectorLayout;
  EXPECT_TRUE(views("mask_rcnn_resnet50", kMmdet).contains("backbone.layer1.0.conv1.weight"));
  EXPECT_TRUE(views("mask_rcnn_swin_tiny", kFb).contains("backbone.layers.0.blocks.0.attn.qkv.weight"));
  expect_error(ErrorCode::kUnsupported, {"fb", "resnet", "mmdet"}, [&] { views("mask_rcnn_resnet50", kFb); });
  expect_error(ErrorCode::kUnsupported, {"mmdet", "swin", "fb"}, [&] { views("mask_rcnn_swin_tiny", kMmdet); });
}

TEST(FreshDetectors, HaveTheBackboneThatTheyAreGiven) {
  const DetectorConfig config = small_detector("cascade_mask_rcnn_convnext_tiny", 6);
  const WeightStore backbone = formula_weights(config.backbone, 5);
  const WeightStore weights = random_weights(config, 7, &backbone);
  check_weights(weights, tensor_specs(config), "fresh");
  EXPECT_EQ(weights.floats("backbone.stages.2.blocks.1.mlp.fc2.weight"),
            backbone.floats("stages.2.blocks.1.mlp.fc2.weight"));
  const auto deviation = [&](std::string_view name) {
    double sum = 0;
    const std::vector<float> values = weights.floats(name);
    for (const float value : values) sum += double{value} * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  EXPECT_NEAR(deviation("box_heads.1.deltas.weight"), 0.001, 0.0003);
  EXPECT_NEAR(deviation("box_heads.1.scores.weight"), 0.01, 0.003);
  EXPECT_NEAR(deviation("proposals.convolution.weight"), 0.01, 0.003);
  EXPECT_NEAR(deviation("pyramid.output.1.weight"), std::sqrt(2.0 / (9 * 16)), 0.02);
  EXPECT_NEAR(deviation("mask_heads.0.convolutions.2.weight"), std::sqrt(2.0 / (9 * 8)), 0.03);
  EXPECT_EQ(deviation("box_heads.0.norms.1.weight"), 1.0);
  EXPECT_EQ(deviation("box_heads.0.norms.1.running_var"), 1.0);
  EXPECT_EQ(deviation("output_norms.2.bias"), 0.0);
  const WeightStore other = formula_weights(architecture("convnext_atto").network, 5);
  expect_error(ErrorCode::kMismatch, {"stem.0.weight", "(8, 3, 4, 4)", "(40, 3, 4, 4)"},
               [&] { random_weights(config, 7, &other); });
}

}  // namespace
}  // namespace convnext
