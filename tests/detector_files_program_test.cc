// What the program `convnext` does with files of detectors: says what they are, converts them, and refuses them where a
// classifier is wanted.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/coco_labels.h"
#include "model/detector_checkpoint.h"
#include "tests/child_process.h"
#include "tests/pictures.h"
#include "tests/small_detector.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* kName = "cascade_mask_rcnn_convnext_tiny";

class DetectorPrograms : public testing::Test {
 protected:
  DetectorPrograms() {
    card_.architecture = kName;
    card_.detector = small_detector(kName, 3);
    card_.labels = {"disc", "box", "star"};
    card_.short_side = 160;
    card_.long_side = 320;
    card_.license = "Apache-2.0";
    weights_ = formula_weights(card_.detector);
    write_detector(folder_ / "own.safetensors", card_, weights_);
    write_detector(folder_ / "mmdet.pth", card_, weights_, WrittenDetectorLayout::kMmdet);
    write_picture(folder_ / "picture.png", formula_picture(40, 30, 1));
  }

  ChildResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    const std::string no_models = (folder_ / "no-models").string();
    const ChildResult result =
        run_child(arguments, {.folder = folder_.path(), .environment = {{"CONVNEXT_MODELS", no_models}}});
    EXPECT_FALSE(result.timed_out);
    EXPECT_NE(result.exit_code, -1) << "ended by a signal: " << result.err;
    return result;
  }
  json run_json(std::vector<std::string> arguments, int exit_code = 0) {
    arguments.push_back("--json");
    const ChildResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return json::parse(result.out, nullptr, false);
  }
  void expect_done(const std::vector<std::string>& arguments) {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  // Fails with a message that has all texts, and leaves no file behind.
  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, StartsWith("convnext: "));
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before);
  }
  std::string bytes_of(std::string_view name) const { return read_text(folder_ / name); }

  TemporaryFolder folder_;
  DetectorCard card_;
  WeightStore weights_;
};

TEST_F(DetectorPrograms, InfoSaysOfAFileWhatItSaysOfAName) {
  const json own = run_json({"info", "own.safetensors"});
  EXPECT_EQ(own["name"], kName);
  EXPECT_EQ(own["family"], "detector");
  EXPECT_EQ(own["classes"], 3);
  EXPECT_EQ(own["labels"], json({"disc", "box", "star"}));
  EXPECT_EQ(own["width"], 320);
  EXPECT_EQ(own["height"], 160);
  EXPECT_EQ(own["short_side"], 160);
  EXPECT_EQ(own["has_card"], true);
  EXPECT_EQ(own["precision"], "fp32");
  EXPECT_EQ(own["detector"]["box_head"], "convolutions");
  EXPECT_FALSE(own.contains("published_box_ap"));
  EXPECT_EQ(own["weight_bytes"], weights_.bytes());
  std::int64_t params = 0;
  for (const json& part : own["parts"]) params += part["params"].get<std::int64_t>();
  EXPECT_EQ(own["params"], params);
  const json of_name = run_json({"info", kName});
  for (const auto& [key, value] : of_name.items())
    EXPECT_TRUE(own.contains(key) || key.starts_with("published")) << key;

  const json theirs = run_json({"info", "mmdet.pth"});
  EXPECT_EQ(theirs["params"], own["params"]);
  EXPECT_EQ(theirs["has_card"], false);
  EXPECT_EQ(theirs["width"], 1280);  // as papers count, for the size that mmdetection tests at
  EXPECT_EQ(run_json({"info", "mmdet.pth", "--resolution", "320x160"})["gmac"], own["gmac"]);
  EXPECT_THAT(run({"info", "own.safetensors"}).out,
              AllOf(HasSubstr("3: disc, box, star"), HasSubstr("320 x 160"), HasSubstr("another than convnext_tiny"),
                    HasSubstr("Apache-2.0"), HasSubstr("pyramid")));
  expect_failure({"info", "own.safetensors", "--classes", "4"}, 2, {"own.safetensors", "--classes"});
  // What is computed is the input that a picture is filled up to.
  const json filled = run_json({"info", "own.safetensors", "--resolution", "300x130"});
  EXPECT_EQ(filled["width"], 320);
  EXPECT_EQ(filled["height"], 160);
  EXPECT_EQ(filled["gmac"], own["gmac"]);
  EXPECT_THAT(run({"info", kName, "--resolution", "1333x800"}).out,
              AllOf(HasSubstr("3 x 800 x 1344"), HasSubstr("800 x 1333"), HasSubstr("multiples of 32")));
}

TEST_F(DetectorPrograms, InspectSaysWhatIsInAFile) {
  const json own = run_json({"inspect", "own.safetensors", "--tensors"});
  EXPECT_EQ(own["whole"], true);
  EXPECT_EQ(own["layout"], "own");
  EXPECT_EQ(own["architecture"], kName);
  EXPECT_EQ(own["has_card"], true);
  EXPECT_EQ(own["card"]["short_side"], 160);
  EXPECT_EQ(own["tensor_list"].size(), weights_.all().size());

  const json theirs = run_json({"inspect", "mmdet.pth"});
  EXPECT_EQ(theirs["whole"], true);
  EXPECT_EQ(theirs["kind"], "PyTorch zip");
  EXPECT_EQ(theirs["layout"], "mmdet");
  EXPECT_EQ(theirs["backbone_layout"], "mmpretrain");
  EXPECT_EQ(theirs["origins"]["classes"], "the tensors");
  EXPECT_THAT(theirs["origins"]["short_side"].get<std::string>(), HasSubstr("mmdetection"));
  EXPECT_THAT(run({"inspect", "mmdet.pth"}).out, AllOf(HasSubstr("mmdet, the backbone's mmpretrain"),
                                                       HasSubstr("box_head"), HasSubstr("a whole detector")));
}

TEST_F(DetectorPrograms, InspectListsWhatKeepsAFileFromLoading) {
  TensorViews views = export_weights(weights_, card_.detector, WrittenDetectorLayout::kFb);
  Tensor broken = Tensor::zeros({3});
  broken.values<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  const Tensor misshapen = Tensor::zeros({5, 12});
  views["roi_head.mask_head.1.conv_logits.bias"] = broken.view();
  views["roi_head.bbox_head.2.fc_cls.weight"] = misshapen.view();
  views["roi_head.semantic_head.weight"] = misshapen.view();
  views.erase("rpn_head.rpn_cls.weight");
  write_safetensors(folder_ / "broken.safetensors", {views.begin(), views.end()}, {});
  const json broken_file = run_json({"inspect", "broken.safetensors"}, 1);
  EXPECT_EQ(broken_file["whole"], false);
  EXPECT_EQ(broken_file["missing"][0]["key"], "rpn_head.rpn_cls.weight");
  EXPECT_EQ(broken_file["missing"][0]["own"], "proposals.scores.weight");
  EXPECT_EQ(broken_file["misshaped"][0]["key"], "roi_head.bbox_head.2.fc_cls.weight");
  EXPECT_EQ(broken_file["misshaped"][0]["found"], json({5, 12}));
  EXPECT_EQ(broken_file["misshaped"][0]["expected"], json({4, 12}));
  EXPECT_EQ(broken_file["unexpected"][0]["key"], "roi_head.semantic_head.weight");
  EXPECT_EQ(broken_file["not_finite"][0]["nans"], 1);
  const ChildResult shown = run({"inspect", "broken.safetensors"});
  EXPECT_THAT(shown.out, AllOf(HasSubstr("rpn_head.rpn_cls.weight"), HasSubstr("(5, 12), expected (4, 12)"),
                               HasSubstr("not a whole detector")));
  // The others say the first of it and where the rest is.
  expect_failure({"info", "broken.safetensors"}, 1, {"rpn_head.rpn_cls.weight", "2 more", "convnext inspect"});
  expect_failure({"convert", "broken.safetensors", "x.safetensors"}, 1, {"rpn_head.rpn_cls.weight"});
}

TEST_F(DetectorPrograms, ConvertGoesThereAndBackBitForBit) {
  for (const char* layout : {"mmdet", "fb"}) {
    expect_done({"convert", "own.safetensors", "there.safetensors", "--layout", layout});
    EXPECT_NE(bytes_of("there.safetensors"), bytes_of("own.safetensors"));
    expect_done({"convert", "there.safetensors", "back.safetensors"});
    EXPECT_EQ(bytes_of("back.safetensors"), bytes_of("own.safetensors")) << layout;
    // A PyTorch file has no card: the weights are the same, and so is the file a second time.
    const ChildResult result = run({"convert", "own.safetensors", "there.pth", "--layout", layout});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.err, HasSubstr("card"));
    expect_done({"convert", "there.pth", "back.safetensors", "--license", "Apache-2.0"});
    EXPECT_EQ(read_detector(folder_ / "back.safetensors").card.license, "Apache-2.0");
    expect_done({"convert", "back.safetensors", "again.pth", "--layout", layout});
    EXPECT_EQ(bytes_of("again.pth"), bytes_of("there.pth")) << layout;
  }
  expect_done({"convert", "own.safetensors", "folder/"});
  EXPECT_EQ(bytes_of("folder/model.safetensors"), bytes_of("own.safetensors"));
  folder_.write("names.txt", "one\ntwo\nthree\n");
  const json written = run_json({"convert", "own.safetensors", "half.safetensors", "--dtype", "f16", "--labels",
                                 "names.txt", "--layout", "mmdet"});
  EXPECT_EQ(written["precision"], "fp16");
  EXPECT_EQ(written["layout"], "mmdet");
  EXPECT_EQ(written["weight_bytes"], weights_.bytes() / 2);
  const DetectorCheckpoint half = read_detector(folder_ / "half.safetensors");
  EXPECT_EQ(half.card.labels, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(half.card.precision, "fp16");
  EXPECT_EQ(half.weights.at("proposals.scores.bias").dtype, DType::kF16);
  const json sized =
      run_json({"convert", "own.safetensors", "sized.safetensors", "--short-side", "200", "--long-side", "400"});
  const DetectorCard card = read_detector(folder_ / "sized.safetensors").card;
  EXPECT_EQ(card.short_side, 200);
  EXPECT_EQ(card.long_side, 400);
  EXPECT_EQ(run_json({"info", "sized.safetensors"})["short_side"], 200);
  EXPECT_EQ(run_json({"inspect", "half.safetensors"})["types"]["F16"]["tensors"], weights_.all().size());
}

TEST_F(DetectorPrograms, ConvertRefusesWhatMakesNoSense) {
  for (const char* layout : {"timm", "torchvision", "hf"}) {
    expect_failure({"convert", "own.safetensors", "x.safetensors", "--layout", layout}, 2,
                   {"--layout", layout, "own, mmdet and fb"});
  }
  expect_failure({"convert", "own.safetensors", "x.safetensors", "--resolution", "224"}, 2, {"detector"});
  folder_.write("names.txt", "one\ntwo\n");
  expect_failure({"convert", "own.safetensors", "x.safetensors", "--labels", "names.txt"}, 1,
                 {"2 labels", "3 classes"});
  expect_failure({"convert", "own.safetensors", "x.pth", "--license", "MIT"}, 2, {"card"});
  expect_failure({"convert", "own.safetensors", "x.pth", "--short-side", "100"}, 2, {"card"});
  expect_failure({"convert", "own.safetensors", "x.safetensors", "--short-side", "400"}, 2,
                 {"400", "320", "--short-side and --long-side"});
  write_tiny_model(folder_ / "tiny.safetensors");
  expect_failure({"convert", "tiny.safetensors", "x.safetensors", "--layout", "mmdet"}, 2, {"detector", "torchvision"});
  expect_failure({"convert", "tiny.safetensors", "x.safetensors", "--long-side", "300"}, 2, {"tiny", "--resolution"});
  card_.detector.score_threshold = 0.25;
  write_detector(folder_ / "own.safetensors", card_, weights_);
  expect_failure({"convert", "own.safetensors", "x.pth"}, 1, {"score_threshold 0.25", "write safetensors"});
}

TEST_F(DetectorPrograms, TheBackboneAloneIsOneOptionAway) {
  // One that is registered, so that its name can be said.
  DetectorCard card;
  card.architecture = "mask_rcnn_convnext_atto";
  card.detector = find_detector(card.architecture).value().config;
  card.detector.pyramid_channels = 8;
  card.detector.box_hidden = 12;
  write_detector(folder_ / "atto.pth", card, formula_weights(card.detector), WrittenDetectorLayout::kFb);
  expect_failure({"embed", "picture.png", "--model", "atto.pth", "--output", "x.npy"}, 1,
                 {"mask_rcnn_convnext_atto", "--architecture convnext_atto"});
  expect_done({"convert", "atto.pth", "backbone.safetensors", "--architecture", "convnext_atto"});
  EXPECT_EQ(read_checkpoint(folder_ / "backbone.safetensors").card.architecture, "convnext_atto");
  expect_done({"verify", "backbone.safetensors"});
  EXPECT_EQ(run_json({"info", "atto.pth", "--architecture", "convnext_atto"})["family"], "convnext");
  EXPECT_EQ(run_json({"inspect", "atto.pth", "--architecture", "convnext_atto"})["layout"], "fb");
}

TEST_F(DetectorPrograms, InitWritesUntrainedOnes) {
  const json written =
      run_json({"init", "mask_rcnn_convnext_atto", "--classes", "2", "--seed", "5", "--output", "random.safetensors"});
  EXPECT_EQ(written["architecture"], "mask_rcnn_convnext_atto");
  const DetectorCheckpoint random = read_detector(folder_ / "random.safetensors");
  EXPECT_EQ(random.card.detector.classes, 2);
  EXPECT_THAT(random.card.labels, IsEmpty());
  EXPECT_EQ(json::parse(random.card.training), json({{"weights", "random"}, {"seed", 5}}));
  EXPECT_EQ(random.weights.floats("backbone.stages.0.blocks.0.gamma")[0], 1.0f);
  expect_done({"init", "mask_rcnn_convnext_atto", "--weights", "formula", "--output", "formula.safetensors"});
  EXPECT_EQ(read_detector(folder_ / "formula.safetensors").card.labels, coco_labels());
  expect_failure({"init", "mask_rcnn_convnext_atto", "--depths", "1,1,1,1", "--output", "x.safetensors"}, 2,
                 {"--classes"});
  expect_failure({"init", "mask_rcnn_convnext_atto", "--resolution", "64", "--output", "x.safetensors"}, 2,
                 {"--resolution"});
  expect_failure({"init", "mask_rcnn_convnext_atto", "--classes", "0", "--output", "x.safetensors"}, 2, {"classes"});
}

TEST_F(DetectorPrograms, NetworksWithoutAPyramidSaySo) {
  for (const std::string command : {"info", "init"}) {
    std::vector<std::string> line = {command, "mask_rcnn_convnext_isotropic_small"};
    if (command == "init") line.insert(line.end(), {"--output", "x.safetensors"});
    expect_failure(line, 2, {"mask_rcnn_convnext_isotropic_small", "no backbone", "pyramid", "4 stages"});
  }
}

TEST_F(DetectorPrograms, AFileOfThatNameComesBeforeTheName) {
  std::filesystem::create_directories(folder_ / "models");
  write_detector(folder_ / "models/mask_rcnn_convnext_tiny.safetensors", card_, weights_);
  EXPECT_EQ(run_json({"info", "mask_rcnn_convnext_tiny"})["classes"], 3);
}

// Each says what the file is and which command is meant, and not that some tensor does not fit.
TEST_F(DetectorPrograms, WhatWantsAClassifierSaysSo) {
  std::filesystem::create_directories(folder_ / "pictures/disc");
  write_picture(folder_ / "pictures/disc/1.png", formula_picture(40, 30, 1));
  for (const std::string file : {"own.safetensors", "mmdet.pth"}) {
    const std::vector<std::vector<std::string>> commands = {
        {"classify", "picture.png", "--model", file},
        {"embed", "picture.png", "--model", file, "--output", "x.npy"},
        {"verify", file},
        {"bench", "--model", file},
        {"quantize", file, "x.safetensors", "--calibrate", "pictures"},
        {"preprocess", "picture.png", "--model", file, "--output", "x.npy"}};
    for (const std::vector<std::string>& command : commands) {
      SCOPED_TRACE(command.front() + " " + file);
      expect_failure(command, 1, {file, "cascade_mask_rcnn_convnext", "classifier", "convnext detect"});
    }
  }
  expect_failure({"bench", "--model", kName}, 2, {kName, "detector", "weights are needed"});
  expect_failure({"classify", "picture.png", "--model", kName}, 2, {kName, "detector", "convnext info"});
}

}  // namespace
}  // namespace convnext
