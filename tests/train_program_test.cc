// `convnext train` from outside: what a recipe means, what bad input does, and that the result is a whole model.
#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/hash.h"
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

// ---- runs that cannot be lost ---------------------------------------------------------------------------------------

class InterruptedRun : public TrainProgram {
 protected:
  std::vector<std::string> arguments(const std::string& output, bool resume) const {
    std::vector<std::string> all = {CONVNEXT_TRAIN_PROGRAM, "train", "data", "--output", output};
    for (const char* argument : {"--model",
                                 "test_convnext2",
                                 "--resolution",
                                 "16",
                                 "--patch-size",
                                 "2",
                                 "--batch-size",
                                 "4",
                                 "--epochs",
                                 "6",
                                 "--warmup-epochs",
                                 "1",
                                 "--layer-scale-init",
                                 "1",
                                 "--ema-decay",
                                 "0.5",
                                 "--mixup",
                                 "0.8",
                                 "--auto-augment",
                                 "rand-m9-mstd0.5-inc1",
                                 "--checkpoint-minutes",
                                 "0",
                                 "--threads",
                                 "1"}) {
      all.emplace_back(argument);
    }
    if (resume) all.emplace_back("--resume");
    return all;
  }

  ChildResult run_until(const std::string& output, const std::function<int()>& signal) {
    return run_child(arguments(output, true), {.folder = folder_.path(), .environment = {}, .signal = signal});
  }

  // Of the newest checkpoint; -1 when there is none.
  int newest_step(const std::string& output) const {
    int newest = -1;
    each_file(output, [&](const std::string& name) {
      if (name.starts_with("step_")) newest = std::max(newest, std::stoi(name.substr(5)));
    });
    return newest;
  }

  bool is_writing(const std::string& output) const {
    bool found = false;
    each_file(output, [&](const std::string& name) { found |= name.ends_with(".part"); });
    return found;
  }

  std::string model(const std::string& output) const { return read_text(folder_ / output / "model.safetensors"); }

 private:
  void each_file(const std::string& output, const std::function<void(const std::string&)>& visit) const {
    std::error_code error;
    std::filesystem::directory_iterator file(folder_ / output / "checkpoints", error);
    for (; !error && file != std::filesystem::directory_iterator(); file.increment(error)) {
      visit(file->path().filename().string());
    }
  }
};

TEST_F(InterruptedRun, EndsBitForBitTheSameThoughItIsKilledAgainAndAgain) {
  ASSERT_EQ(run_child(arguments("whole", false), {.folder = folder_.path(), .environment = {}}).exit_code, 0);
  int killed = 0, killed_while_writing = 0;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int begin = newest_step("cut");
    const bool while_writing = attempt % 2 == 0;
    const auto moment = std::chrono::microseconds(mix(static_cast<std::uint64_t>(attempt)) % 4000);
    const ChildResult result = run_until("cut", [&] {
      if (newest_step("cut") < begin + 3) return 0;
      if (while_writing) return is_writing("cut") ? SIGKILL : 0;
      std::this_thread::sleep_for(moment);
      return SIGKILL;
    });
    if (result.exit_code == 0) break;
    ++killed;
    killed_while_writing += while_writing;
    ASSERT_EQ(result.exit_code, -1) << result.err;
  }
  EXPECT_GE(killed, 4);
  EXPECT_GE(killed_while_writing, 2);
  EXPECT_TRUE(model("cut") == model("whole"));
}

TEST_F(InterruptedRun, SavesAndStopsOnTheFirstSignalAndGoesOnFromThere) {
  ASSERT_EQ(run_child(arguments("whole", false), {.folder = folder_.path(), .environment = {}}).exit_code, 0);
  for (const int signal : {SIGTERM, SIGINT}) {
    const std::string name = signal == SIGTERM ? "terminated" : "interrupted";
    bool sent = false;
    const ChildResult result = run_until(name, [&] {
      if (sent || newest_step(name) < 5) return 0;
      sent = true;
      return signal;
    });
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_THAT(result.out, HasSubstr("--resume goes on from there"));
    // A checkpoint beyond the limits that are asked for is whole: the run does not begin again without it.
    std::vector<std::string> narrow = arguments(name, true);
    narrow.insert(narrow.end(), {"--max-tensors", "1"});
    const ChildResult refused = run_child(narrow, {.folder = folder_.path(), .environment = {}});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("--max-tensors"));
    const ChildResult resumed = run_until(name, [] { return 0; });
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_THAT(resumed.out, HasSubstr("going on after"));
    EXPECT_TRUE(model(name) == model("whole"));
  }
}

TEST_F(InterruptedRun, EndsAtOnceOnTheSecondSignal) {
  std::vector<std::string> slow = {CONVNEXT_TRAIN_PROGRAM,
                                   "train",
                                   "data",
                                   "--output",
                                   "slow",
                                   "--model",
                                   "convnext_tiny",
                                   "--resolution",
                                   "224",
                                   "--batch-size",
                                   "16",
                                   "--epochs",
                                   "100",
                                   "--warmup-epochs",
                                   "0",
                                   "--threads",
                                   "1"};
  int signals = 0;
  const ChildResult result = run_child(slow, {.folder = folder_.path(), .environment = {}, .signal = [&] {
                                                if (!std::filesystem::exists(folder_ / "slow/samples.png")) return 0;
                                                std::this_thread::sleep_for(std::chrono::milliseconds(100));
                                                return ++signals <= 2 ? SIGINT : 0;
                                              }});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, -1) << "a step of this run takes seconds, so only the second signal can have ended it";
}

TEST_F(InterruptedRun, SaysThatTheDiskIsFullAndKeepsTheLastCheckpoint) {
  std::vector<std::string> all = arguments("run", false);
  const ChildResult first = run_until("run", [&] { return newest_step("run") >= 3 ? SIGKILL : 0; });
  ASSERT_EQ(first.exit_code, -1);
  const int kept = newest_step("run");
  // A limit on the size of files stands for a disk without room: writing fails in the same place.
  std::string command = "trap '' XFSZ; ulimit -f 16; exec";
  for (const std::string& argument : arguments("run", true)) command += " '" + argument + "'";
  const ChildResult full =
      run_child({"/bin/sh", "-c", command}, {.folder = folder_.path(), .environment = {}, .signal = {}});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_THAT(full.err, HasSubstr("run"));
  EXPECT_EQ(newest_step("run"), kept);
  EXPECT_EQ(run_until("run", [] { return 0; }).exit_code, 0);
}

TEST_F(TrainProgram, SaysBeforehandWhatARunWillDo) {
  const ChildResult result = train(
      {"--epochs", "5", "--warmup-epochs", "1", "--accumulate", "2", "--layer-decay", "0.5", "--dry-run", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto plan = nlohmann::json::parse(result.out);
  EXPECT_EQ(plan["effective_batch"], 16);
  EXPECT_EQ(plan["steps_an_epoch"], 1);
  EXPECT_EQ(plan["steps"], 5);
  ASSERT_EQ(plan["lr"].size(), 5u);
  EXPECT_DOUBLE_EQ(plan["lr"][1].get<double>(), 4e-3);
  EXPECT_GT(plan["seconds_a_step"].get<double>(), 0);
  std::int64_t params = 0;
  for (const auto& group : plan["groups"]) params += group["params"].get<std::int64_t>();
  EXPECT_EQ(params, plan["params"]);
  EXPECT_GT(plan["groups"].size(), 4u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "dry-run"));

  const ChildResult text = train({"--epochs", "5", "--warmup-epochs", "1", "--dry-run"});
  EXPECT_THAT(text.out, HasSubstr("effective batch"));
}

TEST_F(TrainProgram, SaysWhereItDiffersFromAReference) {
  ASSERT_EQ(train({"--epochs", "1", "--warmup-epochs", "0", "--output", "first"}).exit_code, 0);
  const ChildResult result = train({"--epochs", "1", "--warmup-epochs", "0", "--lr", "1e-3", "--output", "second",
                                    "--reference-log", "first/log.jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("unlike the reference"));
  EXPECT_THAT(result.out, HasSubstr("learning rate"));
}

// Each recipe gets as far as the data, which is not there: its keys are known and its values go together.
TEST_F(TrainProgram, KnowsEveryRecipeOfTheProject) {
  int recipes = 0;
  for (const auto& file : std::filesystem::directory_iterator(CONVNEXT_SOURCE_DIR "/recipes")) {
    if (file.path().extension() != ".toml") continue;
    ++recipes;
    std::vector<std::string> arguments = {"train", "nowhere", "--config", file.path().string(), "--output", "run"};
    if (read_text(file.path()).find("mask_rcnn") != std::string::npos) {
      arguments.insert(arguments.end(), {"--pictures", "nowhere"});
    }
    expect_failure(run(arguments), 1, {"'nowhere'"});
  }
  EXPECT_GT(recipes, 35);
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

TEST_F(TrainProgram, TakesTheLimitsOfFilesForTheWeightsItBeginsFrom) {
  ASSERT_EQ(run({"init", "test_convnext2", "--output", "start.safetensors"}).exit_code, 0);
  const std::vector<std::string> command = {"train",    "data", "--init",        "start.safetensors",
                                            "--output", "run",  "--max-tensors", "3"};
  expect_failure(run(command), 1, {"start.safetensors': with '", "it holds 4 tensors, more than the limit of 3"});
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
