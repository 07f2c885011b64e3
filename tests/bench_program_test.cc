// `convnext bench` from outside.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/backend.h"
#include "tests/child_process.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Bench : public testing::Test {
 protected:
  // `convnext bench` with as little time as it takes.
  ChildResult run(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), {CONVNEXT_PROGRAM, "bench", "--seconds", "0"});
    return run_child(arguments, {.folder = folder_.path(), .environment = environment});
  }

  json run_json(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.emplace_back("--json");
    const ChildResult result = run(std::move(arguments), environment);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::string& text) {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  }

  TemporaryFolder folder_;
  std::string model_ = write_tiny_model(folder_ / "tiny.safetensors").string();
};

TEST_F(Bench, EveryCombinationIsARow) {
  const json rows = run_json(
      {"--model", model_, "--batch", "1,3", "--resolution", "32,48", "--threads", "1,2", "--precision", "fp32"});
  ASSERT_EQ(rows.size(), 8u);
  std::set<std::vector<int>> combinations;
  for (const json& row : rows) {
    combinations.insert(
        std::vector<int>{row["batch"].get<int>(), row["resolution"].get<int>(), row["threads"].get<int>()});
    EXPECT_EQ(row["model"], model_);
    EXPECT_EQ(row["architecture"], "test_convnext2");
    EXPECT_EQ(row["weights"], "file");
    EXPECT_EQ(row["precision"], "fp32");
    EXPECT_EQ(row["isa"], available_isas().front());
    EXPECT_GT(row["pictures_per_second"], 0.0);
    EXPECT_GE(row["pictures_per_second_best"], row["pictures_per_second"]);
    EXPECT_GE(row["spread"], 0.0);
    EXPECT_LE(row["latency_ms"]["p50"], row["latency_ms"]["p95"]);
    EXPECT_LE(row["latency_ms"]["p95"], row["latency_ms"]["p99"]);
    const double pictures = row["batch"].get<double>() * 1e3 / row["latency_ms"]["p50"].get<double>();
    EXPECT_NEAR(row["pictures_per_second"].get<double>(), pictures, 1e-6 * pictures);
    EXPECT_NEAR(row["gflops"].get<double>(), 2 * row["gmac"].get<double>() * pictures, 1e-6 * pictures);
    EXPECT_GT(row["weight_bytes"], 0);
    EXPECT_GT(row["peak_memory_bytes"], row["weight_bytes"]);
    EXPECT_GE(row["runs"], 3);
    EXPECT_FALSE(row.contains("profile"));
  }
  EXPECT_EQ(combinations.size(), 8u);
}

// Whoever waits sees what is measured so far, and what was measured when something ends it.
TEST_F(Bench, EachRowIsShownAsItIsMeasured) {
  const ChildResult cut = run({"--model", model_, "--resolution", "32,4", "--threads", "1"});
  EXPECT_EQ(cut.exit_code, 1);
  EXPECT_THAT(cut.err, HasSubstr("small"));
  EXPECT_THAT(cut.out, HasSubstr("\n    32  fp32"));
  EXPECT_THAT(run({"--model", model_, "--resolution", "32,4", "--threads", "1", "--json"}).out, IsEmpty());

  const ChildResult whole = run({"--model", model_, "--batch", "1,12", "--threads", "1"});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  std::istringstream lines(whole.out);
  std::string about, titles, first, second, rest;
  std::getline(lines, about);
  std::getline(lines, titles);
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_THAT(about, HasSubstr("tiny.safetensors on "));
  const std::size_t batch = titles.find("batch") + std::string("batch").size();
  EXPECT_EQ(first.substr(batch - 2, 2), " 1");
  EXPECT_EQ(second.substr(batch - 2, 2), "12");
  // As far as what the rows hold is known; what is measured may be wider than anybody expects.
  EXPECT_EQ(first.find("fp32"), titles.find("precision"));
  EXPECT_EQ(second.find("fp32"), titles.find("precision"));
  EXPECT_FALSE(std::getline(lines, rest)) << rest;
}

TEST_F(Bench, ARegisteredNameRunsOnFormulaWeightsAndSaysSo) {
  const ChildResult result = run({"--model", "convnext_atto", "--depths", "1,1,1,1", "--classes", "7", "--resolution",
                                  "64", "--threads", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("formula"));
  const json row = json::parse(result.out).at(0);
  EXPECT_EQ(row["weights"], "formula");
  EXPECT_EQ(row["architecture"], "convnext_atto");
}

TEST_F(Bench, TheForcedInstructionSetIsTheOneMeasured) {
  const json row = run_json({"--model", model_, "--threads", "1", "--profile"}, {{"CONVNEXT_ISA", "scalar"}}).at(0);
  EXPECT_EQ(row["isa"], "scalar");
  EXPECT_TRUE(row["peak_gflops"].is_null());
  EXPECT_TRUE(row["roofline_fraction"].is_null());
  EXPECT_TRUE(row["vector_roofline_fraction"].is_null());
  EXPECT_THAT(row["profile"], IsEmpty());
  for (const std::string& isa : available_isas()) {
    if (isa == "scalar") continue;
    const json fast = run_json({"--model", model_, "--threads", "1"}, {{"CONVNEXT_ISA", isa}}).at(0);
    EXPECT_EQ(fast["isa"], isa);
    EXPECT_GT(fast["peak_gflops"], 0.0);
    EXPECT_GT(fast["roofline_fraction"], 0.0);
    EXPECT_EQ(fast["vector_roofline_fraction"], fast["roofline_fraction"]) << "of float32";
  }
}

// Of the tiles' roof a network of narrow numbers is a small fraction, whatever is done; so there is the vectors' too.
TEST_F(Bench, TilesAreHeldAgainstVectorsToo) {
  for (const std::string& isa : available_isas()) {
    if (isa == "scalar") continue;
    const std::map<std::string, std::string> force = {{"CONVNEXT_ISA", isa}};
    const std::vector<std::string> int8 = {"--model", model_, "--threads", "1", "--precision", "int8"};
    const json row = run_json(int8, force).at(0);
    EXPECT_EQ(row["vector_roofline_fraction"] > row["roofline_fraction"], isa == "amx") << isa;
    EXPECT_EQ(row["vector_peak_gflops"] < row["peak_gflops"], isa == "amx") << isa;
    EXPECT_EQ(run(int8, force).out.find("of vectors") != std::string::npos, isa == "amx") << isa;
  }
}

TEST_F(Bench, ATableWithATotalOfWhatTheProfileShares) {
  if (available_isas().front() == "scalar") GTEST_SKIP() << "the scalar reference keeps no profile";
  const ChildResult text = run({"--model", model_, "--threads", "1", "--profile"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  for (const char* title : {"pictures/s", "p50", "of roof", "stage 1", "depthwise", "###", "waiting"}) {
    EXPECT_THAT(text.out, HasSubstr(title));
  }
  const json row = run_json({"--model", model_, "--threads", "2", "--profile"}).at(0);
  double shares = 0.0;
  for (const json& part : row["profile"]) {
    EXPECT_GE(part["share"], 0.0) << part;  // waiting is what the others leave
    shares += part["share"].get<double>();
  }
  EXPECT_NEAR(shares, 1.0, 1e-6);
}

TEST_F(Bench, FromFilesGivesTheTimeOfEachStep) {
  for (int i = 0; i < 2; ++i) {
    write_picture(folder_ / "pictures" / (std::to_string(i) + ".png"),
                  formula_picture(90, 60, static_cast<std::uint64_t>(i)));
  }
  const std::string pictures = (folder_ / "pictures").string();
  const json row = run_json({"--model", model_, "--from-files", pictures, "--batch", "2", "--threads", "2"}).at(0);
  const double sum =
      row["decode_seconds"].get<double>() + row["resize_seconds"].get<double>() + row["network_seconds"].get<double>();
  EXPECT_LE(sum, row["seconds"]);
  EXPECT_GT(row["pictures_per_second"], 0.0);
  const ChildResult text = run({"--model", model_, "--from-files", pictures});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("decode"));
}

TEST_F(Bench, WhatCannotBeMeasuredIsRefused) {
  expect_failure({"--model", model_, "--batch", "0"}, 2, "--batch");
  expect_failure({"--model", model_, "--batch", "1,two"}, 2, "--batch");
  expect_failure({"--model", model_, "--resolution", "5000"}, 2, "--resolution");
  expect_failure({"--model", model_, "--precision", "fp64"}, 2, "fp64");
  expect_failure({"--model", model_, "--threads", "none"}, 2, "none");
  expect_failure({"--model", model_, "--depths", "1,1"}, 2, "--depths");
  expect_failure({"--model", "convnext_tinny"}, 2, "convnext_tiny");
  expect_failure({"--model", model_, "--resolution", "4"}, 1, "small");
  expect_failure({"--model", model_, "--from-files", folder_.path().string()}, 1, "no pictures");
  expect_failure({"--model", model_, "--from-files", "x", "--profile"}, 2, "--profile");
  write_picture(folder_ / "pictures" / "one.png", formula_picture(90, 60, 1));
  expect_failure({"--model", "convnext_atto", "--classes", "0", "--from-files", (folder_ / "pictures").string()}, 1,
                 "no classifier");
}

}  // namespace
}  // namespace convnext
