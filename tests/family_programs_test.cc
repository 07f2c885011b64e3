// Every command that runs a network, with a network that is no ConvNeXt: `convnext` hands it over to `convnext-train`,
// in whose own commands a ConvNeXt is what it is in the engine.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/npy.h"
#include "io/tensor_file.h"
#include "model/description.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/child_process.h"
#include "tests/drawn_pictures.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tensor_compare.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class FamilyPrograms : public testing::Test {
 protected:
  FamilyPrograms() {
    draw_pictures(folder_ / "data/val", 6, 1000);
    Card card = tiny_card();
    card.labels = {"cross", "moon", "square", "sun"};
    write_tiny_model(folder_ / "tiny.safetensors", card);
  }

  ChildResult run(std::vector<std::string> arguments, const std::string& program = CONVNEXT_PROGRAM) {
    arguments.insert(arguments.begin(), program);
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    EXPECT_NE(result.exit_code, -1) << "ended by a signal: " << result.err;
    return result;
  }

  json run_json(std::vector<std::string> arguments, const std::string& program = CONVNEXT_PROGRAM) {
    arguments.push_back("--json");
    const ChildResult result = run(std::move(arguments), program);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(json::accept(result.out)) << result.out;
    return json::parse(result.out, nullptr, false);
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }

  Tensor array(const std::string& name) { return read_npy(folder_ / name); }

  // A ResNet with labels, made as a person would.
  void make_resnet() {
    ASSERT_EQ(run({"init", "resnet50", "--weights", "formula", "--depths", "1,1", "--dims", "8,16", "--classes", "4",
                   "--resolution", "32", "--output", "bare.safetensors"})
                  .exit_code,
              0);
    std::ofstream(folder_ / "labels.txt") << "cross\nmoon\nsquare\nsun\n";
    const ChildResult converted = run({"convert", "bare.safetensors", "resnet.safetensors", "--labels", "labels.txt"});
    ASSERT_EQ(converted.exit_code, 0) << converted.err;
  }

  TemporaryFolder folder_;
};

// ---- another family through `convnext`

TEST_F(FamilyPrograms, AResNetGoesThroughEveryCommand) {
  make_resnet();
  EXPECT_EQ(run({"verify", "resnet.safetensors"}).exit_code, 0);

  const json classified = run_json({"classify", "data/val/cross", "--model", "resnet.safetensors", "--top-k", "4"});
  ASSERT_EQ(classified.size(), 6u);
  double sum = 0;
  for (const json& prediction : classified[0]["predictions"]) sum += prediction["probability"].get<double>();
  EXPECT_NEAR(sum, 1.0, 1e-5);
  const ChildResult text = run({"classify", "data/val/cross", "--model", "resnet.safetensors", "--top-k", "1"});
  EXPECT_THAT(text.out, HasSubstr(classified[0]["predictions"][0]["label"].get<std::string>()));

  const json evaluated = run_json({"eval", "data", "--model", "resnet.safetensors"});
  EXPECT_EQ(evaluated["pictures"], 12);
  EXPECT_EQ(evaluated["per_class"].size(), 2u);
  EXPECT_EQ(evaluated["architecture"], "resnet50");

  const NetworkConfig config = read_checkpoint(folder_ / "resnet.safetensors").card.network;
  const int channels = embedding_channels(config);
  const json embedded = run_json({"embed", "data/val", "--model", "resnet.safetensors", "--output", "embedding.npy"});
  EXPECT_EQ(embedded["channels"], channels);
  EXPECT_EQ(array("embedding.npy").shape(), (Shape{12, channels}));

  write_npy(folder_ / "x.npy", formula_input("x", {2, 3, 48, 40}, 1).view());
  const json ran =
      run_json({"run", "--model", "resnet.safetensors", "--input", "x.npy", "--output", "y.npy", "--features", "map"});
  EXPECT_EQ(ran["shape"], json({2, 4}));
  ASSERT_EQ(ran["features"].size(), 2u);
  EXPECT_EQ(array("map.stage0.npy").shape()[0], 2);
  EXPECT_EQ(array("map.stage1.npy").shape()[1], channels);
}

TEST_F(FamilyPrograms, AResNetIsMeasuredAgainstTheSameRoof) {
  const std::vector<std::string> bench = {"bench", "--model",      "resnet50", "--depths",  "1,1", "--dims",
                                          "8,16",  "--seconds",    "0",        "--threads", "1",   "--batch",
                                          "1,2",   "--resolution", "64"};
  const json rows = run_json(bench);
  ASSERT_EQ(rows.size(), 2u);
  const double gmac = run_json({"info", "resnet50", "--depths", "1,1", "--dims", "8,16", "--resolution", "64"})["gmac"];
  for (const json& row : rows) {
    EXPECT_EQ(row["isa"], "libtorch");
    EXPECT_EQ(row["weights"], "formula");
    EXPECT_NEAR(row["gmac"].get<double>(), gmac, 1e-9);
    EXPECT_GT(row["pictures_per_second"], 0.0);
    if (available_isas().front() == "scalar") continue;
    EXPECT_GT(row["peak_gflops"], 0.0);
    EXPECT_GT(row["roofline_fraction"], 0.0);
    EXPECT_LT(row["roofline_fraction"], 1.1);
  }
  std::vector<std::string> profiled = bench;
  profiled.push_back("--profile");
  expect_failure(profiled, 1, {"--profile", "libtorch", "ConvNeXt"});
}

TEST_F(FamilyPrograms, WhatIsTheEnginesAloneIsRefused) {
  make_resnet();
  expect_failure({"quantize", "resnet.safetensors", "out.safetensors", "--calibrate", "data"}, 1,
                 {"resnet50", "ConvNeXt"});
  for (const char* precision : {"bf16", "int8"}) {
    expect_failure({"classify", "data/val/cross", "--model", "resnet.safetensors", "--precision", precision}, 1,
                   {precision, "fp32", "libtorch"});
  }
  // A picture that is too small for the network is an error in words.
  write_npy(folder_ / "x.npy", formula_input("x", {1, 4, 48, 40}, 1).view());
  expect_failure({"run", "--model", "resnet.safetensors", "--input", "x.npy", "--output", "y.npy"}, 1, {"channels"});
}

// Without --model the network is the file's.
TEST_F(FamilyPrograms, AResNetsFileIsTrainedOn) {
  make_resnet();
  std::filesystem::copy(folder_ / "data" / "val", folder_ / "data" / "train", std::filesystem::copy_options::recursive);
  const ChildResult trained = run({"train", "data", "--init", "resnet.safetensors", "--epochs", "1", "--warmup-epochs",
                                   "0", "--batch-size", "4", "--threads", "1", "--output", "run"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const json info = run_json({"info", "run"});
  EXPECT_EQ(info["family"], "resnet");
  EXPECT_EQ(info["depths"], json({1, 1}));
  EXPECT_EQ(info["dims"], json({8, 16}));
}

// A check vector tells a file whose weights were changed.
TEST_F(FamilyPrograms, VerifyFindsAResNetThatWasChanged) {
  make_resnet();
  const Checkpoint checkpoint = read_checkpoint(folder_ / "resnet.safetensors");
  ASSERT_TRUE(checkpoint.card.check);
  write_checkpoint(folder_ / "changed.safetensors", checkpoint.card, formula_weights(checkpoint.card.network, 9));
  const ChildResult result = run({"verify", "changed.safetensors"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("changed.safetensors"));
}

// ---- a ConvNeXt by libtorch

TEST_F(FamilyPrograms, AConvNextIsTheSameInBothPrograms) {
  const auto in_both = [this](const std::vector<std::string>& arguments) {
    return std::pair(run_json(arguments), run_json(arguments, CONVNEXT_TRAIN_PROGRAM));
  };
  const auto [ours, theirs] = in_both({"classify", "data/val", "--model", "tiny.safetensors", "--top-k", "4"});
  ASSERT_EQ(ours.size(), 12u);
  ASSERT_EQ(theirs.size(), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(theirs[i]["file"], ours[i]["file"]);
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(theirs[i]["predictions"][k]["label"], ours[i]["predictions"][k]["label"]);
      EXPECT_NEAR(theirs[i]["predictions"][k]["probability"].get<double>(),
                  ours[i]["predictions"][k]["probability"].get<double>(), 1e-5);
    }
  }
  write_npy(folder_ / "x.npy", formula_input("x", {3, 3, 48, 40}, 1).view());
  for (const auto& [program, prefix] : {std::pair(CONVNEXT_PROGRAM, "ours"), {CONVNEXT_TRAIN_PROGRAM, "theirs"}}) {
    const std::string name = prefix;
    run_json({"embed", "data/val", "--model", "tiny.safetensors", "--output", name + ".embedding.npy"}, program);
    run_json({"run", "--model", "tiny.safetensors", "--input", "x.npy", "--output", name + ".logits.npy", "--features",
              name},
             program);
    EXPECT_EQ(run({"verify", "tiny.safetensors"}, program).exit_code, 0);
  }
  for (const char* output : {".embedding.npy", ".logits.npy", ".stage0.npy", ".stage1.npy"}) {
    EXPECT_TRUE(tensors_close(array(std::string("theirs") + output), array(std::string("ours") + output))) << output;
  }
  const json row = run_json({"bench", "--model", "tiny.safetensors", "--seconds", "0"}, CONVNEXT_TRAIN_PROGRAM).at(0);
  EXPECT_EQ(row["isa"], "libtorch");
}

TEST_F(FamilyPrograms, TheTrainingProgramTellsItsCommands) {
  const ChildResult help = run({"--help"}, CONVNEXT_TRAIN_PROGRAM);
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command : {"train", "pack", "roadmap", "compare", "init", "verify", "convert", "classify", "embed",
                              "eval", "run", "bench"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
    EXPECT_EQ(run({command, "--help"}, CONVNEXT_TRAIN_PROGRAM).exit_code, 0) << command;
  }
  const ChildResult wrong = run({"clasify"}, CONVNEXT_TRAIN_PROGRAM);
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("clasify"), HasSubstr("convnext-train --help")));
}

}  // namespace
}  // namespace convnext
