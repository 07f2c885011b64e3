// `convnext roadmap` from outside: the published table, the steps trained, and runs that are interrupted.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/file.h"
#include "tests/child_process.h"
#include "tests/drawn_pictures.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class RoadmapProgram : public testing::Test {
 protected:
  RoadmapProgram() {
    draw_pictures(folder_ / "data/train", 8, 0);
    draw_pictures(folder_ / "data/val", 4, 1000);
    write_file_atomically(folder_ / "modern.toml",
                          "resolution = 32\nepochs = 2\nwarmup-epochs = 0\nbatch-size = 8\nlayer-scale-init = 1\n"
                          "weight-init = \"fan_in\"\nlr = 2e-3\ndrop-path = 0\ncheckpoint-minutes = 0\n");
    write_file_atomically(folder_ / "plain.toml",
                          "resolution = 32\nepochs = 2\nwarmup-epochs = 0\nbatch-size = 8\noptimizer = \"sgd\"\n"
                          "schedule = \"step\"\nstep-epochs = 1\nlr = 0.05\ndrop-path = 0\n");
  }

  ChildResult run(std::vector<std::string> arguments, const std::function<int()>& signal = {}) {
    arguments.insert(arguments.begin(), {CONVNEXT_TRAIN_PROGRAM, "roadmap"});
    return run_child(
        arguments, {.folder = folder_.path(), .environment = {}, .limit = std::chrono::seconds(500), .signal = signal});
  }

  // What `more` does not say otherwise is small.
  ChildResult train(const std::string& output, std::vector<std::string> more, const std::function<int()>& signal = {}) {
    std::vector<std::string> arguments = {"--train", "data", "--output", output, "--threads", "1"};
    const std::pair<const char*, const char*> defaults[] = {{"--config", "modern.toml"}, {"--width-divisor", "16"}};
    for (const auto& [option, value] : defaults) {
      if (std::ranges::find(more, option) == more.end()) more.insert(more.end(), {option, value});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, signal);
  }

  json document(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  }

  // roadmap.json without what the clock decides.
  json results(const std::string& output) const {
    json all = json::parse(read_text(folder_ / (output + "/roadmap.json")));
    for (json& row : all["rows"]) {
      row.erase("seconds");
      for (json& run : row["runs"]) run.erase("seconds");
    }
    return all;
  }

  void expect_wrong_usage(const ChildResult& result, const std::vector<std::string>& texts) {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(result.err, StartsWith("convnext: "));
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
  }

  TemporaryFolder folder_;
};

struct PublishedStep {
  const char* step;
  double top1;
  double deviation;  // 0: none
  double gmac;       // what the arithmetic gives
  double params;     // millions
  bool on_path = true;
};

// Table 10 of the paper; multiply-accumulates and parameters counted by hand from the definition of each step.
constexpr PublishedStep kTable10[] = {
    {"plain_recipe", 76.13, 0, 4.0892, 25.557},
    {"modern_recipe", 78.82, 0.07, 4.0892, 25.557},
    {"stage_ratio", 79.36, 0.07, 4.5259, 28.629},
    {"patchify", 79.51, 0.18, 4.4175, 28.622},
    {"depthwise", 78.28, 0.08, 2.3495, 15.723},
    {"width", 80.50, 0.02, 5.2680, 33.761},
    {"inverted", 80.64, 0.03, 4.6444, 25.851},
    {"depthwise_first", 79.92, 0.08, 4.0651, 25.625},
    {"kernel_5", 80.35, 0.08, 4.0973, 25.721},
    {"kernel_7", 80.57, 0.14, 4.1456, 25.863},
    {"kernel_9", 80.57, 0.06, 4.2100, 26.054, false},
    {"kernel_11", 80.47, 0.11, 4.2906, 26.292, false},
    {"gelu", 80.62, 0.14, 4.1456, 25.863},
    {"fewer_activations", 81.27, 0.06, 4.1456, 25.863},
    {"fewer_norms", 81.41, 0.09, 4.1456, 25.80},
    {"layer_norm", 81.47, 0.09, 4.1456, 25.80},
    {"separate_downsampling", 81.97, 0.06, 4.4555, 28.589},
};

TEST_F(RoadmapProgram, GivesThePapersTable) {
  const json rows = document({});
  ASSERT_EQ(rows.size(), std::size(kTable10));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const json& row = rows[i];
    const PublishedStep& published = kTable10[i];
    EXPECT_EQ(row["step"], published.step);
    EXPECT_EQ(row["published_top1"], published.top1) << published.step;
    if (published.deviation > 0) {
      EXPECT_EQ(row["deviation"], published.deviation) << published.step;
    } else {
      EXPECT_TRUE(row["deviation"].is_null()) << published.step;
    }
    EXPECT_NEAR(row["gmac"].get<double>(), published.gmac, 5e-5) << published.step;
    // A norm more or less in the shortcuts, which the paper leaves open, is some thousands.
    EXPECT_NEAR(1e-6 * row["params"].get<double>(), published.params, 0.011) << published.step;
    EXPECT_EQ(row["on_path"], published.on_path) << published.step;
    EXPECT_TRUE(row["ours"].is_null());
    EXPECT_TRUE(row["change"].is_string());
  }
  EXPECT_EQ(rows[0]["recipe"], "plain");
  EXPECT_EQ(rows.back()["params"], 28589128) << "the last step is ConvNeXt-T";
  EXPECT_EQ(rows.back()["architecture"], "convnext_tiny");
}

TEST_F(RoadmapProgram, GivesTheTrackOfResNet200) {
  const json rows = document({"--track", "r200"});
  const std::vector<double> top1 = {78.20, 81.14, 81.33, 81.59, 80.54, 81.85, 82.64, 82.04, 82.32,
                                    82.30, 82.27, 82.18, 82.19, 82.71, 83.17, 83.35, 83.60};
  ASSERT_EQ(rows.size(), top1.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i]["published_top1"], top1[i]) << rows[i]["step"];
  EXPECT_EQ(rows.back()["params"], 88591464) << "the last step is ConvNeXt-B";
}

TEST_F(RoadmapProgram, PrintsTheTableAndDrawsTheFigure) {
  const ChildResult result = run({"--plot", "steps.svg"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("depthwise"), HasSubstr("78.28 ± 0.08"), HasSubstr("2.350"),
                                HasSubstr("(kernel_9)"), HasSubstr("swin_tiny")));
  EXPECT_THAT(read_text(folder_ / "steps.svg"), HasSubstr("81.97 ± 0.06"));
  EXPECT_EQ(run({"--plot", "steps.png"}).exit_code, 0);
  EXPECT_THAT(read_text(folder_ / "steps.png"), StartsWith("\x89PNG"));
  expect_wrong_usage(run({"--plot", "steps.pdf"}), {"steps.pdf", ".svg", ".png"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "steps.pdf"));
}

TEST_F(RoadmapProgram, WrongUsageIsExitCodeTwoAndMakesNothing) {
  expect_wrong_usage(run({"--track", "r51"}), {"r51", "r50"});
  expect_wrong_usage(train("out", {"--steps", "stage_ratio,depthwize"}), {"depthwize", "patchify", "depthwise"});
  expect_wrong_usage(train("out", {"--steps", "stage_ratio,roadmap_r200_width"}), {"roadmap_r200_width", "r200"});
  expect_wrong_usage(train("out", {"--seeds", "0"}), {"--seeds"});
  expect_wrong_usage(train("out", {"--width-divisor", "5"}), {"5", "64"});
  expect_wrong_usage(train("out", {"--width-divisor", "0"}), {"--width-divisor"});
  expect_wrong_usage(train("out", {"--epochs", "0"}), {"--epochs"});
  expect_wrong_usage(train("out", {"--config", "nowhere.toml"}), {"nowhere.toml"});
  expect_wrong_usage(train("out", {"--val", "nowhere"}), {"nowhere"});
  expect_wrong_usage(train("out", {"--steps", "plain_recipe"}), {"--plain-config"});
  expect_wrong_usage(train("out", {"--plain-config", "plain.toml", "--steps", "width"}), {"plain_recipe"});
  expect_wrong_usage(run({"--train", "nowhere", "--output", "out", "--config", "modern.toml"}), {"nowhere"});
  expect_wrong_usage(run({"--train", "data"}), {"--output"});
  expect_wrong_usage(run({"--train", "data", "--output", "out"}), {"--config"});
  expect_wrong_usage(run({"--output", "out"}), {"--train"});
  expect_wrong_usage(run({"--seeds", "2"}), {"--train"});
  std::filesystem::create_directories(folder_ / "alone");
  std::filesystem::rename(folder_ / "data/train", folder_ / "alone/train");
  expect_wrong_usage(run({"--train", "alone", "--output", "out", "--config", "modern.toml"}), {"--val"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out")) << "nothing may be made for a run that cannot begin";
}

TEST_F(RoadmapProgram, RefusesRecipesOfUnequalBudgets) {
  write_file_atomically(folder_ / "longer.toml",
                        "resolution = 32\nepochs = 3\nwarmup-epochs = 0\nbatch-size = 8\noptimizer = \"sgd\"\n");
  expect_wrong_usage(train("out", {"--plain-config", "longer.toml"}),
                     {"--epochs of 'modern_recipe' is 2, and of the first step 3"});
}

TEST_F(RoadmapProgram, TrainsStepsWithSeedsAndKeepsWhatCameOut) {
  const ChildResult result = train("out", {"--steps", "plain_recipe,depthwise", "--plain-config", "plain.toml",
                                           "--seeds", "2", "--json", "--plot", "out.svg"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = json::parse(result.out);
  const json kept = results("out");
  ASSERT_EQ(kept["rows"].size(), 2u);
  EXPECT_EQ(kept["width_divisor"], 16);
  EXPECT_EQ(kept["epochs"], 2);
  for (const json& row : kept["rows"]) {
    const std::string step = row["step"];
    ASSERT_EQ(row["runs"].size(), 2u) << step;
    double sum = 0;
    for (const json& one : row["runs"]) {
      // What the run's own log says of its last epoch.
      const std::string log =
          read_text(folder_ / ("out/" + step + "/seed" + std::to_string(one["seed"].get<int>()) + "/log.jsonl"));
      const json last = json::parse(log.substr(log.rfind('\n', log.size() - 2) + 1));
      EXPECT_EQ(last["epoch"], 2);
      EXPECT_EQ(one["top1"], last["model"]["top1"]) << step;
      sum += one["top1"].get<double>();
    }
    EXPECT_DOUBLE_EQ(row["mean"].get<double>(), sum / 2) << step;
    EXPECT_EQ(row["pictures"], 32) << "two epochs of sixteen";
    for (const json& shown : rows) {
      if (shown["step"] != step) continue;
      EXPECT_EQ(shown["ours"]["mean"], row["mean"]);
      EXPECT_EQ(shown["ours"]["deviation"], row["deviation"]);
      EXPECT_EQ(shown["ours"]["seeds"], 2);
      EXPECT_LT(shown["ours"]["gmac"].get<double>(), shown["gmac"].get<double>() / 1000);
    }
  }
  EXPECT_EQ(kept["rows"][0]["settings"]["optimizer"], "sgd");
  EXPECT_EQ(kept["rows"][1]["settings"]["optimizer"], "adamw");
  EXPECT_THAT(read_text(folder_ / "out/table.md"), AllOf(HasSubstr("| depthwise |"), HasSubstr("| plain_recipe |")));
  EXPECT_THAT(read_text(folder_ / "out/roadmap.svg"), HasSubstr("divided by 16"));
  EXPECT_EQ(read_text(folder_ / "out/roadmap.svg"), read_text(folder_ / "out.svg"));

  // The results are shown again, and refused where they are of another track.
  const json again = document({"--run", "out"});
  EXPECT_EQ(again, rows);
  EXPECT_THAT(run({"--run", "out"}).out, HasSubstr("here: "));
  expect_wrong_usage(run({"--run", "out", "--track", "r200"}), {"r50", "r200"});

  // Nothing is trained twice, and other settings are refused.
  EXPECT_EQ(train("out", {"--steps", "depthwise"}).exit_code, 1) << "without --resume";
  const std::string model = "out/depthwise/seed0/model.safetensors";
  const auto time = std::filesystem::last_write_time(folder_ / model);
  const ChildResult resumed = train("out", {"--steps", "depthwise,width", "--resume"});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("depthwise, seed 0 (1 of 2): done before"));
  EXPECT_EQ(std::filesystem::last_write_time(folder_ / model), time);
  const json more = results("out");
  ASSERT_EQ(more["rows"].size(), 3u);
  EXPECT_EQ(more["rows"][0], kept["rows"][0]);
  EXPECT_EQ(more["rows"][1], kept["rows"][1]);
  EXPECT_EQ(more["rows"][2]["step"], "width");
  const ChildResult other = train("out", {"--steps", "depthwise", "--resume", "--epochs", "3"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("epochs was 2 and is 3 now"));
  const ChildResult wider = train("out", {"--steps", "depthwise", "--resume", "--width-divisor", "8"});
  EXPECT_EQ(wider.exit_code, 1);
  EXPECT_THAT(wider.err, HasSubstr("width_divisor was 16 and is 8 now"));

  // A new step has to be trained as those that are there were, on the same classes; both are known before it begins.
  write_file_atomically(folder_ / "other.toml", read_text(folder_ / "modern.toml") + "weight-decay = 0.3\n");
  const ChildResult unlike = train("out", {"--steps", "kernel_5", "--resume", "--config", "other.toml"});
  EXPECT_EQ(unlike.exit_code, 1);
  EXPECT_THAT(unlike.err, AllOf(HasSubstr("kernel_5"), HasSubstr("weight_decay was")));
  const auto one_class = std::filesystem::directory_iterator(folder_ / "data/train")->path();
  const auto one_picture = std::filesystem::directory_iterator(one_class)->path();
  for (const auto& [part, count] : {std::pair{"train", 16}, {"val", 8}}) {
    const auto moved = folder_ / "data" / part / one_class.filename() / ("another" + one_picture.extension().string());
    std::filesystem::copy(one_picture, moved);
    const ChildResult more_pictures = train("out", {"--steps", "kernel_5", "--resume"});
    EXPECT_EQ(more_pictures.exit_code, 1);
    EXPECT_THAT(more_pictures.err,
                AllOf(HasSubstr("the pictures were 16 to learn"), HasSubstr(std::to_string(count + 1))));
    std::filesystem::remove(moved);
  }
  const auto renamed = one_picture.parent_path() / ("renamed" + one_picture.extension().string());
  std::filesystem::rename(one_picture, renamed);
  EXPECT_THAT(train("out", {"--steps", "kernel_5", "--resume"}).err, HasSubstr("and are 16 to learn"));
  std::filesystem::rename(renamed, one_picture);
  std::filesystem::copy(one_class, folder_ / "data/train/third");
  std::filesystem::copy(folder_ / "data/val" / one_class.filename(), folder_ / "data/val/third");
  const ChildResult elsewhere = train("out", {"--steps", "kernel_5", "--resume"});
  EXPECT_EQ(elsewhere.exit_code, 1);
  EXPECT_THAT(elsewhere.err, HasSubstr("there were 2 classes and are 3 now"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/kernel_5"));
}

TEST_F(RoadmapProgram, EndsAlikeThoughItIsInterrupted) {
  const std::vector<std::string> steps = {"--steps", "patchify,separate_downsampling", "--seeds", "2", "--resume"};
  ASSERT_EQ(train("whole", steps).exit_code, 0);
  // In the first run of the second step, then in the second of the first; the last time it is killed.
  const std::pair<const char*, int> ends[] = {{"cut/separate_downsampling/seed0/checkpoints", SIGTERM},
                                              {"cut/patchify/seed1/checkpoints", SIGKILL}};
  for (const auto& [folder, signal] : ends) {
    bool sent = false;
    const ChildResult result = train("cut", steps, [&, signal = signal, folder = folder] {
      std::error_code error;
      if (sent || std::filesystem::is_empty(folder_ / folder, error) || error) return 0;
      sent = true;
      return signal;
    });
    EXPECT_EQ(result.exit_code, signal == SIGKILL ? -1 : 1) << result.err;
    EXPECT_TRUE(sent);
    EXPECT_GE(results("cut")["rows"].size(), 1u) << "what was done is kept";
  }
  const ChildResult last = train("cut", steps);
  EXPECT_EQ(last.exit_code, 0) << last.err;
  EXPECT_THAT(last.out, HasSubstr("done before"));
  EXPECT_EQ(results("cut"), results("whole"));
  EXPECT_EQ(read_text(folder_ / "cut/separate_downsampling/seed1/model.safetensors"),
            read_text(folder_ / "whole/separate_downsampling/seed1/model.safetensors"));
}

TEST_F(RoadmapProgram, SaysBeforehandWhatWillBeTrained) {
  const ChildResult result = run({"--train", "data", "--config", "modern.toml", "--width-divisor", "16", "--threads",
                                  "1", "--steps", "width,stage_ratio", "--seeds", "3", "--dry-run", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json rows = json::parse(result.out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["step"], "stage_ratio") << "in the order of the track";
  EXPECT_EQ(rows[0]["steps"], 4);
  EXPECT_EQ(rows[0]["pictures"], 32);
  EXPECT_EQ(rows[0]["seeds"], 3);
  EXPECT_GT(rows[0]["estimated_seconds"].get<double>(), 0);
  EXPECT_GT(rows[1]["params"].get<int>(), rows[0]["params"].get<int>());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "stage_ratio"));
}

// The pictures to evaluate on may lie elsewhere, in a folder of parts or as the part itself.
TEST_F(RoadmapProgram, EvaluatesOnPicturesOfAnotherFolder) {
  std::filesystem::create_directories(folder_ / "elsewhere");
  std::filesystem::rename(folder_ / "data/val", folder_ / "elsewhere/val");
  const std::vector<std::string> steps = {"--steps", "width", "--epochs", "1"};
  for (const std::string folder : {"elsewhere", "elsewhere/val"}) {
    std::vector<std::string> arguments = steps;
    arguments.insert(arguments.end(), {"--val", folder});
    const std::string output = folder == "elsewhere" ? "one" : "two";
    const ChildResult result = train(output, arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_EQ(results("one"), results("two"));
}

}  // namespace
}  // namespace convnext
