// Whole training runs of detectors on pictures that the tests draw: what they leave, how they go on, what stops them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "detect/detector_learner.h"
#include "detect/detector_start.h"
#include "detect/detector_trainer.h"
#include "io/file.h"
#include "model/checkpoint.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"
#include "model/formula.h"
#include "model/registry.h"
#include "model/tensors.h"
#include "tests/drawn_objects.h"
#include "tests/expect_error.h"
#include "tests/run_cut.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DetectorRun : public ::testing::TestWithParam<const char*> {
 protected:
  DetectorRun() {
    draw_objects(folder_ / "data", "train", 12, 0);
    draw_objects(folder_ / "data", "val", 4, 1000);
    settings_.data = folder_ / "data/train.json";
    settings_.pictures = folder_ / "data/train";
    settings_.held_out = folder_ / "data/val.json";
    settings_.held_out_pictures = folder_ / "data/val";
    settings_.model = "mask_rcnn_test_convnext2";
    settings_.overrides = {.pyramid_channels = 16,
                           .box_hidden = 32,
                           .anchor_scale = 4.0,
                           .anchor_samples = 32,
                           .box_samples = 16,
                           .proposals = 30};
    settings_.weight_init = WeightInit::kFanIn;
    settings_.epochs = 2;
    settings_.warmup_steps = 3;
    settings_.batch_size = 3;
    settings_.accumulate = 1;
    settings_.lr = 2e-3;
    settings_.milestones = {1};
    settings_.clip_norm = 5;
    settings_.short_side = 48;
    settings_.long_side = 64;
    settings_.augmentation.short_sides = {44, 52};
    settings_.augmentation.long_side = 72;
    settings_.augmentation.crop_short_sides = {50, 60};
    settings_.augmentation.least_crop = 30;
    settings_.augmentation.largest_crop = 45;
    settings_.checkpoint_minutes = 0;
    settings_.threads = 1;
    settings_.seed = 4;
  }

  // The bytes of the model; empty when there is none yet.
  std::string train_into(const std::string& name, const Cut& cut = {}) {
    return train_until<DetectionCallbacks>(cut, folder_ / name, settings_, messages_, reports_, end_,
                                           [](const DetectionSettings& settings, const DetectionCallbacks& callbacks) {
                                             return train_detector(settings, "", callbacks);
                                           });
  }

  // The log without what takes time.
  std::vector<nlohmann::json> log(const std::string& name) const {
    std::ifstream file(folder_ / name / "log.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) {
      nlohmann::json json = nlohmann::json::parse(line);
      for (const char* time : {"seconds", "evaluation_seconds", "pictures_per_second", "waited"}) json.erase(time);
      lines.push_back(std::move(json));
    }
    return lines;
  }

  void rewrite_annotations(const std::string& split, const std::function<void(nlohmann::json&)>& change) {
    const fs::path path = folder_ / "data" / (split + ".json");
    nlohmann::json json = nlohmann::json::parse(read_text(path));
    change(json);
    write_file_atomically(path, json.dump());
  }

  TemporaryFolder folder_;
  DetectionSettings settings_;
  std::string messages_;
  std::vector<DetectionEpochReport> reports_;
  RunEnd end_ = RunEnd::kFinished;
};

TEST_F(DetectorRun, LearnsAndLeavesAModelThatIsRead) {
  settings_.epochs = 12;
  settings_.milestones = {};
  settings_.schedule = ScheduleKind::kCosine;
  settings_.evaluation_epochs = 5;
  settings_.license = "Apache-2.0";
  train_into("run");
  EXPECT_EQ(end_, RunEnd::kFinished);
  ASSERT_THAT(reports_, SizeIs(12));
  EXPECT_LT(reports_.back().train_loss, 0.75 * reports_.front().train_loss);
  for (const auto& [name, loss] : reports_.back().losses) {
    EXPECT_TRUE(std::isfinite(loss)) << name;
    EXPECT_GT(loss, 0) << name;
  }
  EXPECT_THAT(reports_.back().losses, SizeIs(5));
  EXPECT_LT(reports_.back().losses.at("proposals.scores"), reports_.front().losses.at("proposals.scores"));
  std::set<int> evaluated;
  for (const DetectionEpochReport& report : reports_) {
    if (report.model) evaluated.insert(report.epoch);
  }
  EXPECT_EQ(evaluated, (std::set{5, 10, 12})) << "every fifth, and the last";

  const DetectorCheckpoint model = read_detector(folder_ / "run/model.safetensors");
  EXPECT_TRUE(model.has_card);
  EXPECT_EQ(model.card.architecture, "mask_rcnn_test_convnext2");
  EXPECT_THAT(model.card.labels, testing::ElementsAre("square", "cross"));
  EXPECT_EQ(model.card.detector.pyramid_channels, 16);
  EXPECT_EQ(model.card.short_side, 48);
  EXPECT_EQ(model.card.license, "Apache-2.0");
  const auto training = nlohmann::json::parse(model.card.training);
  EXPECT_EQ(training.at("epochs_done"), 12);
  EXPECT_THAT(training.at("result").at("bbox"), SizeIs(kCocoStats));
  EXPECT_EQ(training.at("result").at("pictures"), 4);
  EXPECT_TRUE(fs::exists(folder_ / "run/best.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "run/settings.toml"));
  // Two or three rows of four, 64 pixels enlarged to be readable.
  const Image sheet = Image::open(folder_ / "run/samples.png");
  EXPECT_GT(sheet.width, 4 * 200);
  EXPECT_GT(sheet.height, 3 * 150);
  EXPECT_THAT(log("run"), SizeIs(12));

  // Done is done.
  messages_.clear();
  train_into("run", {.resume = true});
  EXPECT_THAT(messages_, HasSubstr("nothing is left to do"));
}

// Everything at once, for both kinds: what is drawn for a step, batch norms and parts of the loss must not depend on
// how the run came there.
TEST_P(DetectorRun, EndsBitForBitTheSameHoweverItWasCut) {
  settings_.model = GetParam();
  settings_.accumulate = 2;
  settings_.layer_decay = 0.8;
  settings_.layer_decay_grouping = LayerGrouping::kTiny;
  settings_.drop_path = 0.3;
  settings_.ema_decay = 0.6;
  settings_.ema_warmup = true;
  const std::string whole = train_into("whole");
  ASSERT_THAT(whole, testing::Not(IsEmpty()));

  train_into("crashed", {.after_epoch = 1});
  EXPECT_EQ(train_into("crashed", {.resume = true}), whole) << "after an epoch";
  EXPECT_EQ(log("crashed"), log("whole"));

  EXPECT_THAT(train_into("stopped", {.after_steps = 1}), IsEmpty());
  EXPECT_EQ(end_, RunEnd::kStopped);
  train_into("stopped", {.after_steps = 2, .resume = true});
  EXPECT_EQ(end_, RunEnd::kStopped);
  EXPECT_EQ(train_into("stopped", {.resume = true}), whole) << "within epochs";
  EXPECT_EQ(log("stopped"), log("whole"));

  settings_.workers = 3;
  EXPECT_EQ(train_into("workers"), whole) << "with more workers";
  settings_.seed = 5;
  EXPECT_NE(train_into("another"), whole) << "the seed counts";
}
INSTANTIATE_TEST_SUITE_P(Detectors, DetectorRun,
                         testing::Values("mask_rcnn_test_convnext2", "cascade_mask_rcnn_test_convnext2"));

TEST_F(DetectorRun, GoesOnOnlyWithItsOwnSettings) {
  settings_.epochs = 1;
  train_into("run");
  settings_.epochs = 2;
  expect_error(ErrorCode::kMismatch, {"epochs", "1", "2"}, [&] { train_into("run", {.resume = true}); });
  settings_.epochs = 1;
  settings_.augmentation.flip_probability = 0.25;
  expect_error(ErrorCode::kMismatch, {"flip", "0.5", "0.25"}, [&] { train_into("run", {.resume = true}); });
  settings_.augmentation.flip_probability = 0.5;
  settings_.overrides.proposals = 20;
  expect_error(ErrorCode::kMismatch, {"proposals"}, [&] { train_into("run", {.resume = true}); });
  expect_error(ErrorCode::kInvalidArgument, {"holds a run already"}, [&] { train_into("run"); });
}

TEST_F(DetectorRun, InAutocastLearnsNearlyTheSame) {
  settings_.epochs = 1;
  train_into("fp32");
  settings_.precision = TrainPrecision::kBf16;
  train_into("bf16");
  ASSERT_THAT(reports_, SizeIs(2));
  EXPECT_NEAR(reports_[1].train_loss, reports_[0].train_loss, 0.05 * reports_[0].train_loss);
  EXPECT_NE(reports_[1].train_loss, reports_[0].train_loss) << "bf16 was on";
}

TEST_F(DetectorRun, PassesOverPicturesThatCannotBeRead) {
  fs::remove(folder_ / "data/train/3.png");
  write_file_atomically(folder_ / "data/train/5.png", std::string("no picture"));
  rewrite_annotations("train", [](nlohmann::json& json) { json["images"][7]["width"] = 63; });
  settings_.epochs = 1;
  train_into("run");
  EXPECT_EQ(end_, RunEnd::kFinished);
  for (const char* name : {"3.png", "5.png", "7.png"}) EXPECT_THAT(messages_, HasSubstr(name));
  EXPECT_THAT(messages_, HasSubstr("63x48"));
}

TEST_F(DetectorRun, SaysWhatIsWrongWithItsData) {
  settings_.batch_size = 20;
  expect_error(ErrorCode::kInvalidArgument, {"12 pictures", "20", "--batch-size"}, [&] { train_into("run"); });
  settings_.batch_size = 3;
  rewrite_annotations("val", [](nlohmann::json& json) { json["categories"][1]["name"] = "star"; });
  expect_error(ErrorCode::kMismatch, {"cross", "star"}, [&] { train_into("run"); });
  settings_.pictures = folder_ / "nowhere";
  expect_error(ErrorCode::kNotFound, {"nowhere"}, [&] { train_into("run"); });
  settings_.pictures = folder_ / "data/train";
  settings_.data = folder_ / "data/val";
  expect_error(ErrorCode::kInvalidArgument, {"val", "folder"}, [&] { train_into("run"); });
}

TEST_F(DetectorRun, WithoutEvaluationSaysSo) {
  settings_.held_out.clear();
  settings_.epochs = 1;
  train_into("run");
  EXPECT_THAT(messages_, HasSubstr("--val"));
  EXPECT_FALSE(reports_.at(0).model);
  EXPECT_FALSE(fs::exists(folder_ / "run/best.safetensors"));
}

TEST_F(DetectorRun, TellsWhereANumberStoppedBeingOne) {
  settings_.epochs = 1;
  train_into("run");
  DetectorCheckpoint model = read_detector(folder_ / "run/model.safetensors");
  WeightStore broken;
  for (const TensorSpec& spec : tensor_specs(model.card.detector)) {
    Tensor tensor = converted(model.weights, spec.name, DType::kF32);
    if (spec.name == "mask_heads.0.logits.bias") {
      tensor.values<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    }
    broken.add(spec.name, std::move(tensor));
  }
  write_detector(folder_ / "broken.safetensors", model.card, broken);
  settings_.init = folder_ / "broken.safetensors";
  settings_.overrides = {};
  expect_error(ErrorCode::kInvalidArgument, {"'mask_heads.0.logits.bias' was not finite", "step 1"},
               [&] { train_into("next"); });
}

// Of a plain run the plan is exact.
TEST_F(DetectorRun, IsPlanned) {
  settings_.accumulate = 2;
  const TrainPlan plan = plan_training(settings_, {});
  EXPECT_EQ(plan.steps_an_epoch, 2);
  EXPECT_EQ(plan.steps, 4);
  EXPECT_EQ(plan.warmup_steps, 3);
  EXPECT_EQ(plan.train_pictures, 12);
  EXPECT_EQ(plan.held_out_pictures, 4);
  EXPECT_EQ(plan.input, "48x64");
  EXPECT_EQ(plan.classes, 2);
  EXPECT_EQ(plan.frozen_params, 0);
  EXPECT_GT(plan.seconds_a_step, 0);
  ASSERT_THAT(plan.lr, SizeIs(2));
  EXPECT_EQ(plan.lr[0], 0);
  EXPECT_DOUBLE_EQ(plan.lr[1], 2e-3) << "the third and last value of the warm-up";
  EXPECT_FALSE(fs::exists(settings_.output));
}

TEST_F(DetectorRun, BeginsFromABackboneOrADetector) {
  const RegistryEntry& entry = architecture("test_convnext2");
  Card card;
  card.architecture = entry.name;
  card.network = entry.network;
  card.preprocessing = entry.preprocessing;
  card.preprocessing.mean = {0.5f, 0.4f, 0.3f};
  const WeightStore backbone = formula_weights(entry.network, 3);
  write_checkpoint(folder_ / "backbone.safetensors", card, backbone);
  settings_.init = folder_ / "backbone.safetensors";
  const std::vector<CocoCategory> two = {{1, "square", ""}, {7, "cross", ""}};
  const DetectorStart start = start_of(settings_, two);
  EXPECT_EQ(start.card.mean[1], 0.4f) << "pixels are those that the backbone knows";
  EXPECT_THAT(start.weights.floats("backbone.stages.1.blocks.0.mlp.fc1.weight"),
              testing::ElementsAreArray(backbone.floats("stages.1.blocks.0.mlp.fc1.weight")));
  EXPECT_THAT(start.note, HasSubstr("backbone.safetensors"));

  write_detector(folder_ / "detector.safetensors", start.card, start.weights);
  settings_.init = folder_ / "detector.safetensors";
  settings_.overrides = {};
  const DetectorStart same = start_of(settings_, two);
  const std::string scores = "box_heads.0.scores.weight", hidden = "box_heads.0.linears.0.weight";
  EXPECT_THAT(same.weights.floats(scores), testing::ElementsAreArray(start.weights.floats(scores)));
  const DetectorStart other = start_of(settings_, {{1, "square", ""}, {7, "star", ""}});
  EXPECT_EQ(other.weights.at(scores).shape, start.weights.at(scores).shape);
  EXPECT_THAT(other.card.labels, testing::ElementsAre("square", "star"));
  const DetectorStart more = start_of(settings_, {{1, "a", ""}, {2, "b", ""}, {3, "c", ""}});
  EXPECT_EQ(more.weights.at(scores).shape, (Shape{4, 32}));
  EXPECT_THAT(more.weights.floats(hidden), testing::ElementsAreArray(start.weights.floats(hidden)));

  settings_.model = "cascade_mask_rcnn_test_convnext2";
  expect_error(ErrorCode::kMismatch, {"mask_rcnn_test_convnext2", "cascade_mask_rcnn_test_convnext2"},
               [&] { start_of(settings_, two); });
  settings_.model = "mask_rcnn_resnet50";
  settings_.init = folder_ / "backbone.safetensors";
  expect_error(ErrorCode::kMismatch, {"backbone.safetensors", "mask_rcnn_resnet50"}, [&] { start_of(settings_, two); });
  settings_.init.clear();
  expect_error(ErrorCode::kInvalidArgument, {"train.json", "no categories"}, [&] { start_of(settings_, {}); });
}

// get_num_layer_layer_wise of the authors' detection code: 6 layers for depths 3,3,9,3, then norms, pyramid and heads.
TEST(DetectorGroups, LieInTheLayersOfTheAuthors) {
  DetectorConfig config = find_detector("mask_rcnn_convnext_tiny")->config;
  config.pyramid_channels = 8;
  config.box_hidden = 8;
  auto& backbone = std::get<ConvNextConfig>(config.backbone);
  backbone.dims = {8, 16, 24, 32};
  const Detector detector(config);
  const auto groups =
      parameter_groups(detector, {.weight_decay = 0.05, .layer_decay = 0.7, .grouping = LayerGrouping::kTiny});
  std::map<std::string, const ParameterGroup*> of;
  for (const ParameterGroup& group : groups) {
    for (const std::string& name : group.names) of[name] = &group;
  }
  EXPECT_THAT(of, SizeIs(detector.parameters().size()));
  const auto expect = [&of](const std::string& name, int layer, bool decayed) {
    ASSERT_TRUE(of.contains(name)) << name;
    EXPECT_DOUBLE_EQ(of[name]->lr_scale, std::pow(0.7, 7 - layer)) << name;
    EXPECT_EQ(of[name]->weight_decay, decayed ? 0.05 : 0.0) << name;
  };
  expect("backbone.stem.0.weight", 0, true);
  expect("backbone.stages.0.blocks.2.mlp.fc1.weight", 1, true);
  expect("backbone.stages.1.downsample.1.weight", 2, true);
  expect("backbone.stages.2.blocks.2.mlp.fc1.bias", 3, false);
  expect("backbone.stages.2.blocks.3.conv_dw.weight", 4, true);
  expect("backbone.stages.2.blocks.8.gamma", 5, false);
  expect("backbone.stages.3.blocks.0.mlp.fc2.weight", 6, true);
  expect("output_norms.0.weight", 7, false);
  expect("pyramid.lateral.0.weight", 7, true);
  expect("proposals.scores.bias", 7, false);
  expect("box_heads.0.deltas.weight", 7, true);
  expect("mask_heads.0.upsample.weight", 7, true);
  EXPECT_THAT(parameter_groups(detector, {.weight_decay = 0.05}), SizeIs(2));
}

TEST(DetectionSettings, ThatCannotWorkAreRefused) {
  const auto refused = [](std::initializer_list<std::string> texts, const auto& change) {
    DetectionSettings settings;
    settings.model = "mask_rcnn_convnext_tiny";
    validate(settings);
    change(settings);
    expect_error(ErrorCode::kInvalidArgument, texts, [&settings] { validate(settings); });
  };
  refused({"--long-side"}, [](DetectionSettings& s) { s.long_side = 700; });
  refused({"--short-side"}, [](DetectionSettings& s) { s.short_side = 0; });
  refused({"--milestones"}, [](DetectionSettings& s) { s.milestones = {33, 27}; });
  refused({"--freeze-stages"}, [](DetectionSettings& s) { s.freeze_stages = 5; });
  refused({"--evaluation-epochs"}, [](DetectionSettings& s) { s.evaluation_epochs = 0; });
  refused({"--lr"}, [](DetectionSettings& s) { s.lr = 0; });
}

}  // namespace
}  // namespace convnext
