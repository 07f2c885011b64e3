// `convnext train` from outside: what a recipe means, what bad input does, and that the result is a whole model.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/file.h"
#include "tests/child_process.h"
#include "tests/drawn_pictures.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TrainProgram : public testing::Test {
 protected:
  TrainProgram() {
    draw_pictures(folder_ / "data/train", 8, 0);
    draw_pictures(folder_ / "data/val", 4, 1000);
  }

  // `convnext` with these arguments, which hands training over to the program beside it.
  ChildResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    return result;
  }

  ChildResult train(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train",        "data", "--model",      "test_convnext2",
                                          "--resolution", "16",   "--batch-size", "8",
                                          "--patch-size", "2",    "--threads",    "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  void expect_failure(const ChildResult& result, int exit_code, const std::vector<std::string>& texts) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr("convnext: "));
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
  }

  void write(const std::string& name, const std::string& text) { write_file_atomically(folder_ / name, text); }

  TemporaryFolder folder_;
};

TEST_F(TrainProgram, TrainsAModelThatTheRuntimeEvaluatesAlike) {
  const ChildResult trained =
      train({"--epochs", "3", "--warmup-epochs", "1", "--layer-scale-init", "1", "--output", "run", "--json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto result = nlohmann::json::parse(trained.out);
  EXPECT_THAT(trained.err, HasSubstr("epoch   3/3"));

  for (const std::string program : {CONVNEXT_PROGRAM, CONVNEXT_TRAIN_PROGRAM}) {
    const ChildResult evaluated =
        run_child({program, "eval", "data", "--model", "run", "--json"}, {.folder = folder_.path(), .environment = {}});
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
    const auto metrics = nlohmann::json::parse(evaluated.out);
    EXPECT_EQ(metrics["top1"], result["model"]["top1"]) << program;
    EXPECT_NEAR(metrics["loss"].get<double>(), result["model"]["loss"].get<double>(), 1e-5) << program;
  }
  EXPECT_EQ(run({"verify", "run"}).exit_code, 0);
}

TEST_F(TrainProgram, TakesItsOwnSettingsBackAndTheCommandLineWins) {
  ASSERT_EQ(train({"--epochs", "1", "--warmup-epochs", "0", "--lr", "1e-3", "--output", "first"}).exit_code, 0);
  const ChildResult again = run({"train", "data", "--config", "first/settings.toml", "--output", "second"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const std::string first = read_text(folder_ / "first/model.safetensors");
  EXPECT_TRUE(first == read_text(folder_ / "second/model.safetensors"));
  const ChildResult changed =
      run({"train", "data", "--config", "first/settings.toml", "--seed", "7", "--output", "third"});
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_FALSE(first == read_text(folder_ / "third/model.safetensors"));
}

TEST_F(TrainProgram, ModelOnTheCommandLineReplacesTheRecipesNetworkWhole) {
  write("recipe.toml",
        "model = \"convnext_tiny\"\ndepths = \"1,1\"\ndims = \"8,16\"\npatch-size = 2\nresolution = 32\n"
        "epochs = 1\nwarmup-epochs = 0\nbatch-size = 8\n");
  ASSERT_EQ(run({"train", "data", "--config", "recipe.toml", "--output", "recipe"}).exit_code, 0);
  ASSERT_EQ(
      run({"train", "data", "--config", "recipe.toml", "--model", "test_convnext2", "--output", "whole"}).exit_code, 0);
  const auto depths = [this](const std::string& name) {
    return nlohmann::json::parse(run({"info", name, "--json"}).out)["depths"].dump();
  };
  EXPECT_EQ(depths("recipe"), "[1,1]");
  EXPECT_EQ(depths("whole"), "[1,1,1,1]");
}

TEST_F(TrainProgram, RefusesWhatARecipeDoesNotKnow) {
  write("recipe.toml", "epochs = 1\nlearning-rate = 3\n");
  expect_failure(train({"--config", "recipe.toml", "--output", "run"}), 2, {"learning-rate"});
  expect_failure(train({"--config", "nowhere.toml", "--output", "run"}), 2, {"nowhere.toml"});
}

TEST_F(TrainProgram, WrongUsageIsExitCodeTwo) {
  expect_failure(train({}), 2, {"--output"});
  expect_failure(train({"--epochs", "0", "--output", "run"}), 2, {"--epochs"});
  expect_failure(train({"--epochs", "2", "--warmup-epochs", "5", "--output", "run"}), 2, {"--warmup-epochs"});
  expect_failure(train({"--classes", "5", "--output", "run"}), 2, {"--classes"});
  expect_failure(train({"--dims", "8,16,24", "--output", "run"}), 2, {"dims"});
  expect_failure(run({"train", "data", "--model", "convnext_tinny", "--output", "run"}), 2, {"convnext_tiny"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run")) << "nothing may be made for a run that cannot begin";
}

TEST_F(TrainProgram, NeverFallsBackFromCuda) {
  expect_failure(train({"--device", "cuda", "--output", "run"}), 1, {"cuda"});
}

TEST_F(TrainProgram, SaysWhatIsWrongWithTheData) {
  std::filesystem::create_directories(folder_ / "data/train/empty");
  expect_failure(train({"--output", "run"}), 1, {"empty", "no pictures"});
  expect_failure(run({"train", "nowhere", "--output", "run"}), 1, {"nowhere"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run")) << "nothing may be made for a run that cannot begin";
}

TEST_F(TrainProgram, CannotWriteBelowAFile) {
  write("file", "");
  expect_failure(train({"--output", "file/run"}), 1, {"file/run"});
}

}  // namespace
}  // namespace convnext
