// `convnext compare` from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/child_process.h"
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

class Compare : public testing::Test {
 protected:
  ChildResult run(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), {CONVNEXT_PROGRAM, "compare"});
    return run_child(arguments, {.folder = folder_.path(), .environment = environment});
  }

  json run_json(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const ChildResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.out, IsEmpty());
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
  }

  TemporaryFolder folder_;
  std::string model_ = write_tiny_model(folder_ / "tiny.safetensors").string();
};

TEST_F(Compare, WithoutTimingHasARowANetworkWithTheSameKeys) {
  const json rows = run_json({"convnext_tiny", "convnext_xlarge", model_, "--seconds", "0"});
  ASSERT_EQ(rows.size(), 3u);
  for (const json& row : rows) {
    for (const char* key : {"model",
                            "architecture",
                            "family",
                            "resolution",
                            "params",
                            "gmac",
                            "gmac_attention",
                            "published_top1",
                            "published_top1_22k",
                            "paper",
                            "backend",
                            "device",
                            "precision",
                            "threads",
                            "batch",
                            "pictures_per_second",
                            "pictures_per_second_best",
                            "spread",
                            "samples",
                            "rival",
                            "speed_ratio",
                            "paper_speed_ratio",
                            "memory_bytes"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
    EXPECT_TRUE(row["backend"].is_null());
    EXPECT_TRUE(row["pictures_per_second"].is_null());
  }
  EXPECT_EQ(rows[0]["params"], 28'589'128);
  EXPECT_EQ(rows[0]["published_top1"], 82.1);
  EXPECT_EQ(rows[0]["paper"]["a100_pictures_per_second"], 1943.5);
  EXPECT_TRUE(rows[1]["published_top1"].is_null());
  EXPECT_EQ(rows[1]["published_top1_22k"], 87.0);
  EXPECT_EQ(rows[2]["model"], model_);
  EXPECT_EQ(rows[2]["architecture"], "test_convnext2");
  EXPECT_EQ(rows[2]["resolution"], 32);
  EXPECT_TRUE(rows[2]["published_top1"].is_null()) << "the file's network is not the registered one";
}

TEST_F(Compare, ResolutionIsThatOfTheOption) {
  const json rows = run_json({"convnext_base", "--seconds", "0", "--resolution", "384"});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["resolution"], 384);
  EXPECT_NEAR(rows[0]["gmac"].get<double>(), 45.1, 0.05);
  EXPECT_EQ(rows[0]["published_top1"], 85.1);
}

TEST_F(Compare, MeasuresAConvNextByBothBackends) {
  const json rows =
      run_json({"convnext_atto", model_, "--resolution", "32", "--batch", "2", "--threads", "1", "--seconds", "0.05"});
  ASSERT_EQ(rows.size(), 4u);
  const std::vector<std::string> backends = {"libtorch", "engine", "libtorch", "engine"};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const json& row = rows[i];
    EXPECT_EQ(row["backend"], backends[i]);
    EXPECT_EQ(row["model"], i < 2 ? "convnext_atto" : model_);
    EXPECT_EQ(row["batch"], 2);
    EXPECT_EQ(row["threads"], 1);
    EXPECT_EQ(row["precision"], "fp32");
    EXPECT_EQ(row["device"], "cpu");
    EXPECT_GT(row["pictures_per_second"], 0.0);
    EXPECT_GE(row["pictures_per_second_best"], row["pictures_per_second"]);
    EXPECT_GE(row["spread"], 0.0);
    EXPECT_GE(row["samples"], 3);
    EXPECT_TRUE(row["memory_bytes"].is_null() || row["memory_bytes"] >= 4 * row["params"].get<std::int64_t>());
  }
}

// Weights and maps: the first map of 16 pictures at 224 alone is 40 x 56 x 56 floats a picture. By libtorch a block has
// several of its width and one of four times as many at once.
TEST_F(Compare, MemoryGrowsWithTheBatch) {
  const auto memory_at = [this](const char* batch) {
    const json rows = run_json({"convnext_atto", "--batch", batch, "--threads", "1", "--seconds", "0.01"});
    std::vector<std::int64_t> memory;
    for (const json& row : rows)
      memory.push_back(row["memory_bytes"].is_null() ? 0 : row["memory_bytes"].get<std::int64_t>());
    return memory;
  };
  const std::vector<std::int64_t> one = memory_at("1"), sixteen = memory_at("16");
  ASSERT_EQ(one.size(), 2u);
  if (one[0] == 0) GTEST_SKIP() << "the system does not tell";
  constexpr std::int64_t kMap = std::int64_t{40} * 56 * 56 * 4;
  EXPECT_GT(sixteen[0] - one[0], 15 * 4 * kMap) << "libtorch";
  EXPECT_GT(sixteen[1] - one[1], 15 * kMap) << "engine";
}

TEST_F(Compare, RunsInHalfPrecision) {
  const json rows = run_json({model_, "--precision", "bf16", "--threads", "1", "--seconds", "0.01"});
  ASSERT_EQ(rows.size(), 2u);
  for (const json& row : rows) EXPECT_EQ(row["precision"], "bf16");
}

TEST_F(Compare, PrintsATableAndTheRatiosOfThePaper) {
  const ChildResult result = run({"--preset", "table12", "--seconds", "0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("1943.5"), HasSubstr("convnext_tiny"), HasSubstr("A100"), HasSubstr("1.47"),
                                HasSubstr("swin_tiny_patch4_window7_224")));
  EXPECT_THAT(result.out, Not(HasSubstr("pictures/s")));
}

TEST_F(Compare, EachNetworkIsThereOnce) {
  const json rows = run_json({"convnext_tiny", "convnext_tiny", "--preset", "table12", "--seconds", "0"});
  EXPECT_EQ(rows.size(), 14u);
}

TEST_F(Compare, DrawsWithoutTiming) {
  for (const char* file : {"a.svg", "a.png"}) {
    const ChildResult result = run({"--preset", "table2", "--seconds", "0", "--plot", file});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_THAT(read_text(folder_ / "a.svg"), AllOf(StartsWith("<?xml"), HasSubstr("</svg>")));
  EXPECT_THAT(read_text(folder_ / "a.png"), StartsWith("\x89PNG"));
}

TEST_F(Compare, RefusesWhatItCannotDrawBeforeItMeasures) {
  expect_failure({"convnext_tiny", "--plot", "a.pdf"}, 2, {"a.pdf", ".svg"});
  expect_failure({model_, "--plot", "a.svg"}, 2, {"published accuracy"});
  const ChildResult result = run({"convnext_tiny", "--plot", "a.svg"}, {{"PATH", folder_.path().string()}});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("gnuplot"));
}

TEST_F(Compare, RefusesWithWhatThereIs) {
  expect_failure({}, 2, {"--preset", "table1"});
  expect_failure({"--preset", "table3"}, 2, {"table3", "table12"});
  expect_failure({"convnext_tinny"}, 2, {"convnext_tinny", "convnext_tiny"});
  expect_failure({"convnext_tiny", "--seconds", "-1"}, 2, {"--seconds"});
  expect_failure({"convnext_tiny", "--batch", "0"}, 2, {"--batch"});
  expect_failure({"convnext_tiny", "--precision", "int8"}, 2, {"fp32", "bf16", "tf32"});
  expect_failure({"convnext_tiny", "--device", "tpu"}, 2, {"tpu", "cuda"});
  expect_failure({model_, "--precision", "tf32"}, 1, {"GPU"});
  expect_failure({"convnext_tiny", "--resolution", "16", "--seconds", "0"}, 1, {"16"});
}

TEST_F(Compare, SaysWhenThereIsNoGpu) {
  if (std::filesystem::exists("/dev/nvidia0")) GTEST_SKIP() << "there is a GPU here";
  expect_failure({model_, "--device", "cuda"}, 1, {"--device cuda"});
}

// More than any machine has: said before anything is allocated.
TEST_F(Compare, RefusesABatchThatDoesNotFit) {
  expect_failure({"convnext_xlarge", "--resolution", "4096", "--batch", "4096"}, 1, {"--batch"});
}

}  // namespace
}  // namespace convnext
