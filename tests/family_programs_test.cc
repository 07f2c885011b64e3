// Every command that runs a network, with a network that is no ConvNeXt: `convnext` hands it over to `convnext-train`,
// in whose own commands a ConvNeXt is what it is in the engine.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

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

  // A small network with labels, made as a person would: what follows `init`, and how large its pictures are.
  void make_network(const std::vector<std::string>& network, const std::string& resolution, const std::string& file) {
    std::vector<std::string> arguments = {"init",         "--weights", "formula",  "--classes",       "4",
                                          "--resolution", resolution,  "--output", "bare.safetensors"};
    arguments.insert(arguments.end(), network.begin(), network.end());
    const ChildResult made = run(arguments);
    ASSERT_EQ(made.exit_code, 0) << made.err;
    std::ofstream(folder_ / "labels.txt") << "cross\nmoon\nsquare\nsun\n";
    const ChildResult converted = run({"convert", "bare.safetensors", file, "--labels", "labels.txt"});
    ASSERT_EQ(converted.exit_code, 0) << converted.err;
  }
  void make_resnet() { make_network({"resnet50", "--depths", "1,1", "--dims", "8,16"}, "32", "resnet.safetensors"); }

  TemporaryFolder folder_;
};

// ---- another family through `convnext`

// A small network of each family; sizes that its pictures can have.
struct SmallNetwork {
  std::vector<std::string> network;  // what follows `init`
  std::string resolution;
};

std::ostream& operator<<(std::ostream& out, const SmallNetwork& small) { return out << small.network.front(); }

class EveryFamily : public FamilyPrograms, public testing::WithParamInterface<SmallNetwork> {};

TEST_P(EveryFamily, GoesThroughEveryCommand) {
  const std::string& name = GetParam().network.front();
  const int side = std::stoi(GetParam().resolution);
  make_network(GetParam().network, GetParam().resolution, "model.safetensors");
  EXPECT_EQ(run({"verify", "model.safetensors"}).exit_code, 0);

  const json classified = run_json({"classify", "data/val/cross", "--model", "model.safetensors", "--top-k", "4"});
  ASSERT_EQ(classified.size(), 6u);
  double sum = 0;
  for (const json& prediction : classified[0]["predictions"]) sum += prediction["probability"].get<double>();
  EXPECT_NEAR(sum, 1.0, 1e-5);
  const ChildResult text = run({"classify", "data/val/cross", "--model", "model.safetensors", "--top-k", "1"});
  EXPECT_THAT(text.out, HasSubstr(classified[0]["predictions"][0]["label"].get<std::string>()));

  const json evaluated = run_json({"eval", "data", "--model", "model.safetensors"});
  EXPECT_EQ(evaluated["pictures"], 12);
  EXPECT_EQ(evaluated["per_class"].size(), 2u);
  EXPECT_EQ(evaluated["architecture"], name);

  const NetworkConfig config = read_checkpoint(folder_ / "model.safetensors").card.network;
  const int channels = embedding_channels(config);
  const json embedded = run_json({"embed", "data/val", "--model", "model.safetensors", "--output", "embedding.npy"});
  EXPECT_EQ(embedded["channels"], channels);
  EXPECT_EQ(array("embedding.npy").shape(), (Shape{12, channels}));

  write_npy(folder_ / "x.npy", formula_input("x", {2, 3, side, side}, 1).view());
  const json ran =
      run_json({"run", "--model", "model.safetensors", "--input", "x.npy", "--output", "y.npy", "--features", "map"});
  EXPECT_EQ(ran["shape"], json({2, 4}));
  ASSERT_FALSE(ran["features"].empty());
  for (std::size_t stage = 0; stage < ran["features"].size(); ++stage) {
    const Shape shape = array(fmt::format("map.stage{}.npy", stage)).shape();
    ASSERT_EQ(shape.size(), 4u);
    EXPECT_EQ(shape[0], 2);
  }

  fs::copy(folder_ / "data" / "val", folder_ / "data" / "train", fs::copy_options::recursive);
  const ChildResult trained = run({"train", "data", "--init", "model.safetensors", "--epochs", "1", "--warmup-epochs",
                                   "0", "--batch-size", "4", "--threads", "1", "--output", "run"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  NetworkConfig of_two_classes = config;
  set_class_count(of_two_classes, 2);
  EXPECT_EQ(read_checkpoint(folder_ / "run").card.network, of_two_classes);
}

INSTANTIATE_TEST_SUITE_P(
    Families, EveryFamily,
    testing::Values(SmallNetwork{{"resnet50", "--depths", "1,1", "--dims", "8,16"}, "32"},
                    SmallNetwork{{"resnext50_32x4d", "--depths", "1,1,1,1"}, "32"},
                    SmallNetwork{{"regnety_032", "--depths", "1,1,1,1", "--dims", "16,16,16,16"}, "32"},
                    SmallNetwork{{"efficientnet_b0", "--depths", "1,1,1,1,1,1,1"}, "32"},
                    SmallNetwork{{"tf_efficientnetv2_s", "--depths", "1,1,1,1,1,1", "--dims", "8,16,16,16,16,16"},
                                 "32"},
                    SmallNetwork{{"vit_tiny_patch16_224", "--depths", "1", "--dims", "48"}, "32"},
                    SmallNetwork{{"deit_tiny_distilled_patch16_224", "--depths", "1", "--dims", "48"}, "32"},
                    SmallNetwork{{"swin_tiny_patch4_window7_224", "--depths", "1,1", "--dims", "12,24"}, "56"},
                    SmallNetwork{{"roadmap_r50_depthwise", "--depths", "1,1", "--dims", "8,16"}, "32"}),
    [](const testing::TestParamInfo<SmallNetwork>& test) { return test.param.network.front(); });

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

// What --model names is held against the file, in words of the command that was given.
TEST_F(FamilyPrograms, AnotherNetworksFileIsNoBeginning) {
  make_resnet();
  fs::copy(folder_ / "data" / "val", folder_ / "data" / "train", fs::copy_options::recursive);
  const ChildResult result = run({"train", "data", "--init", "resnet.safetensors", "--model", "convnext_tiny",
                                  "--epochs", "1", "--warmup-epochs", "0", "--output", "run"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("resnet50"), HasSubstr("leave the name convnext_tiny out")));
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
