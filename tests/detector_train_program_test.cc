// `convnext train` of a detector from outside: what tells that it is one, its options and recipe, its result.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/file.h"
#include "tests/child_process.h"
#include "tests/drawn_objects.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class DetectorTrainProgram : public testing::Test {
 protected:
  DetectorTrainProgram() {
    draw_objects(folder_ / "data", "train", 8, 0);
    draw_objects(folder_ / "data", "val", 4, 1000);
    write_file_atomically(folder_ / "recipe.toml", std::string(kRecipe));
  }

  static constexpr std::string_view kRecipe =
      "model = \"mask_rcnn_test_convnext2\"\npyramid-channels = 16\nbox-hidden = 32\nanchor-scale = 4\n"
      "anchor-samples = 32\nbox-samples = 16\nproposals = 30\nepochs = 1\nbatch-size = 2\naccumulate = 2\n"
      "milestones = \"1\"\nshort-side = 48\nlong-side = 64\ntrain-short-sides = \"44,52\"\ntrain-long-side = 72\n"
      "crop-probability = 0\n";

  ChildResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    return result;
  }

  ChildResult train(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"train", "data/train.json", "--pictures", "data/train", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  void expect_wrong_usage(const ChildResult& result, const std::string& text) const {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  }

  TemporaryFolder folder_;
};

TEST_F(DetectorTrainProgram, TrainsByARecipe) {
  const std::vector<std::string> val = {"--val", "data/val.json", "--val-pictures", "data/val"};
  std::vector<std::string> arguments = {"--config", "recipe.toml", "--output", "run", "--json"};
  arguments.insert(arguments.end(), val.begin(), val.end());
  const ChildResult trained = train(arguments);
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto result = nlohmann::json::parse(trained.out);
  EXPECT_EQ(result.at("finished"), true);
  EXPECT_THAT(result.at("losses"), SizeIs(5));
  ASSERT_THAT(result.at("model").at("bbox"), SizeIs(12));
  EXPECT_THAT(trained.err, HasSubstr("box AP"));

  // Its own settings give the same run, with no other option.
  ASSERT_EQ(train({"--config", "run/settings.toml", "--output", "again"}).exit_code, 0);
  EXPECT_EQ(nlohmann::json::parse(read_text(folder_ / "again/log.jsonl")).at("train_loss"), result.at("train_loss"));

  arguments.push_back("--resume");
  const ChildResult resumed = train(arguments);
  EXPECT_EQ(resumed.exit_code, 0);
  EXPECT_THAT(resumed.err, HasSubstr("nothing is left to do"));
}

// The engine's backbone, against libtorch's in training: scores and overlaps differ in their last bits, and figures not
// at all, unless one of these bits decides on an order or a threshold: one in some ten thousand runs.
TEST_F(DetectorTrainProgram, WhatItLearnedEvalJudgesAlike) {
  const ChildResult trained = train({"--config",
                                     "recipe.toml",
                                     "--epochs",
                                     "24",
                                     "--milestones",
                                     "",
                                     "--accumulate",
                                     "1",
                                     "--lr",
                                     "4e-3",
                                     "--weight-init",
                                     "fan_in",
                                     "--seed",
                                     "4",
                                     "--val",
                                     "data/val.json",
                                     "--val-pictures",
                                     "data/val",
                                     "--evaluation-epochs",
                                     "24",
                                     "--output",
                                     "run",
                                     "--json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto expected = nlohmann::json::parse(trained.out).at("model");
  const ChildResult judged =
      run({"eval", "data/val.json", "--pictures", "data/val", "--model", "run", "--threads", "1", "--json"});
  ASSERT_EQ(judged.exit_code, 0) << judged.err;
  const auto scores = nlohmann::json::parse(judged.out);
  for (const char* type : {"bbox", "segm"}) {
    EXPECT_GT(expected.at(type).at(0).get<double>(), 0.1) << type << ": of nothing found all figures are alike";
    for (std::size_t i = 0; i < 12; ++i) {
      EXPECT_NEAR(scores.at(type).at("stats").at(i).get<double>(), expected.at(type).at(i).get<double>(), 1e-9)
          << type << " " << i;
    }
  }
}

TEST_F(DetectorTrainProgram, GoesOnFromADetectorWithoutBeingToldItsName) {
  ASSERT_EQ(train({"--config", "recipe.toml", "--output", "run"}).exit_code, 0);
  const ChildResult tuned = train({"--init",
                                   "run/model.safetensors",
                                   "--epochs",
                                   "1",
                                   "--batch-size",
                                   "2",
                                   "--accumulate",
                                   "1",
                                   "--milestones",
                                   "",
                                   "--lr",
                                   "1e-5",
                                   "--short-side",
                                   "48",
                                   "--long-side",
                                   "64",
                                   "--train-short-sides",
                                   "48",
                                   "--crop-probability",
                                   "0",
                                   "--output",
                                   "tuned"});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.err;
  EXPECT_THAT(tuned.out, HasSubstr("its classes are kept"));
}

TEST_F(DetectorTrainProgram, SaysWhatItWouldDo) {
  const ChildResult result = train({"--config", "recipe.toml", "--epochs", "3", "--dry-run", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto plan = nlohmann::json::parse(result.out);
  EXPECT_EQ(plan.at("architecture"), "mask_rcnn_test_convnext2");
  EXPECT_EQ(plan.at("input"), "48x64");
  EXPECT_EQ(plan.at("steps"), 6);
  EXPECT_EQ(plan.at("effective_batch"), 4);
  ASSERT_THAT(plan.at("parts"), SizeIs(5));
  double all_parts = 0;
  for (const auto& part : plan.at("parts")) {
    for (const char* way : {"forward_seconds", "backward_seconds"}) {
      EXPECT_GT(part.at(way), 0) << part;
      all_parts += part.at(way).get<double>();
    }
  }
  EXPECT_LT(all_parts, 20 * plan.at("seconds_a_step").get<double>());
  ASSERT_THAT(plan.at("lr"), SizeIs(3));
  EXPECT_DOUBLE_EQ(plan.at("lr").at(0).get<double>(), 1e-4);
  EXPECT_DOUBLE_EQ(plan.at("lr").at(1).get<double>(), 1e-5) << "after the milestone";
  EXPECT_THAT(train({"--config", "recipe.toml", "--dry-run"}).out, HasSubstr("effective batch"));
  EXPECT_THAT(result.err, Not(HasSubstr("there is no picture")));
}

// Before the run is begun, and not hours into it.
TEST_F(DetectorTrainProgram, SaysBeforehandWhichPicturesAreMissing) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "data/train")) files.push_back(entry.path());
  std::ranges::sort(files);
  std::filesystem::remove(files.at(2));
  std::filesystem::remove(files.at(5));
  const ChildResult result =
      train({"--config", "recipe.toml", "--dry-run", "--val", "data/val.json", "--val-pictures", "data/train"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("train.json': there is no picture '" +
                                    files[2].lexically_relative(folder_.path()).string() + "' (and 1 more"));
  EXPECT_THAT(result.err, HasSubstr("val.json': there is no picture"));
}

TEST_F(DetectorTrainProgram, HelpAndErrorsAreThoseOfADetector) {
  const ChildResult help = run({"train", "--model", "mask_rcnn_convnext_tiny", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--val-pictures"));
  EXPECT_THAT(help.out, HasSubstr("Example:"));
  EXPECT_THAT(help.out, Not(HasSubstr("--mixup")));
  expect_wrong_usage(run({"train", "data/train.json", "--model", "mask_rcnn_convnext_tiny", "--output", "run"}),
                     "--pictures");
  expect_wrong_usage(train({"--model", "mask_rcnn_nothing", "--output", "run"}), "mask_rcnn_nothing");
  expect_wrong_usage(train({"--model", "mask_rcnn_convnext_isotropic_small", "--output", "run"}), "pyramid");
  expect_wrong_usage(train({"--config", "recipe.toml"}), "--output");
  expect_wrong_usage(train({"--config", "recipe.toml", "--output", "run", "--mixup", "0.8"}), "--mixup");
  expect_wrong_usage(train({"--config", "recipe.toml", "--output", "run", "--milestones", "3,two"}), "3,two");
  expect_wrong_usage(train({"--config", "recipe.toml", "--output", "run", "--crop-sizes", "3"}), "--crop-sizes");
  const ChildResult classifier = run({"train", "data/train.json", "--model", "convnext_atto", "--output", "run"});
  EXPECT_EQ(classifier.exit_code, 1);
  EXPECT_THAT(classifier.err, HasSubstr("mask_rcnn"));
}

}  // namespace
}  // namespace convnext
