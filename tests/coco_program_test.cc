// `convnext coco-eval` from outside.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/file.h"
#include "tests/child_process.h"
#include "tests/golden.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class CocoEval : public testing::Test {
 protected:
  CocoEval() {
    const json goldens = json::parse(read_text(golden_path("coco/evaluations.json")));
    for (const json& golden : goldens["cases"]) {
      if (golden["name"] != "masks with boxes") continue;
      golden_ = golden;
      folder_.write("truth.json", golden["truth"].dump());
      folder_.write("results.json", golden["results"].dump());
    }
  }

  ChildResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {CONVNEXT_PROGRAM, "coco-eval"});
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    return result;
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::string& text) const {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_THAT(result.out, IsEmpty());
  }

  TemporaryFolder folder_;
  json golden_;
};

TEST_F(CocoEval, PrintsTheFiguresOfPycocotools) {
  for (const std::string type : {"bbox", "segm"}) {
    const ChildResult result = run({"truth.json", "results.json", "--type", type});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, IsEmpty());
    std::string lines;
    for (const json& line : golden_["expected"][type]["printed"]) lines += line.get<std::string>() + "\n";
    EXPECT_THAT(result.out, HasSubstr(lines));
    EXPECT_THAT(result.out, Not(HasSubstr("kind 8")));
    EXPECT_THAT(run({"truth.json", "results.json", "--type", type, "--per-category"}).out, HasSubstr("kind 8"));
  }
}

TEST_F(CocoEval, WritesOneJsonDocument) {
  for (const std::string threads : {"1", "2"}) {
    const ChildResult result = run({"truth.json", "results.json", "--json", "--threads", threads});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json document = json::parse(result.out);
    EXPECT_EQ(document["type"], "bbox");
    EXPECT_EQ(document["images"], golden_["truth"]["images"].size());
    EXPECT_EQ(document["detections"], golden_["results"].size());
    ASSERT_EQ(document["stats"].size(), 12u);
    for (std::size_t i = 0; i < 12; ++i) {
      EXPECT_NEAR(document["stats"][i].get<double>(), golden_["expected"]["bbox"]["stats"][i].get<double>(), 1e-9);
    }
    ASSERT_EQ(document["per_category"].size(), 3u);
    EXPECT_EQ(document["per_category"][0]["id"], 2);
    EXPECT_EQ(document["per_category"][0]["name"], "kind 2");
    double sum = 0.0;
    for (const json& row : document["per_category"]) sum += row["ap"].get<double>();
    EXPECT_NEAR(sum / 3, document["stats"][0].get<double>(), 1e-9);
  }
}

TEST_F(CocoEval, WarnsAndGoesOn) {
  json results = golden_["results"];
  results[0]["category_id"] = 4711;
  folder_.write("results.json", results.dump());
  const ChildResult result = run({"truth.json", "results.json", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("results[0] is of category 4711"));
  EXPECT_EQ(json::parse(result.out)["detections"], results.size() - 1);
}

// The text with one piece of it replaced, which must be there.
std::string with(std::string_view text, std::string_view old, std::string_view replacement) {
  std::string changed(text);
  const std::size_t at = changed.find(old);
  if (at == std::string::npos) throw std::logic_error("'" + std::string(old) + "' is not there");
  return changed.replace(at, old.size(), replacement);
}

// Two pictures, one without annotations.
constexpr std::string_view kTruth = R"({
  "images": [{"id": 5, "width": 30, "height": 20}, {"id": 2, "width": 30, "height": 20}],
  "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
  "annotations": [
    {"id": 7, "image_id": 5, "category_id": 1, "bbox": [1, 2, 8, 9], "area": 64.5, "iscrowd": 0,
     "segmentation": [[1, 2, 9, 2, 9, 10, 1, 10]]},
    {"id": 8, "image_id": 5, "category_id": 3, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0,
     "segmentation": {"size": [20, 30], "counts": [0, 4, 596]}}]})";
constexpr std::string_view kResults = R"([
  {"image_id": 5, "category_id": 1, "score": 0.5, "bbox": [1, 2, 8, 7],
   "segmentation": {"size": [20, 30], "counts": [22, 8, 570]}}])";

TEST_F(CocoEval, RefusesBadEntriesWithTheirPlace) {
  struct Bad {
    std::string_view old;
    std::string_view replacement;
    std::string text;
  };
  const Bad truths[] = {{"64.5", "NaN", "NaN and Infinity"},
                        {"64.5", "1e999", "1e999"},
                        {"[1, 2, 9, 2, 9, 10, 1, 10]", "[1, 2, 9, 2]", "2 points"},
                        {"[0, 4, 596]", "[0, 4, 597]", "601"},
                        {"\"size\": [20, 30]", "\"size\": [30, 20]", "20 x 30"},
                        {"\"width\": 30", "\"width\": 0", "width"},
                        {"\"width\": 30", "\"width\": -30", "width"},
                        {"\"id\": 8", "\"id\": 7", "two annotations"},
                        {"\"id\": 2", "\"id\": 5", "two pictures"},
                        {"\"id\": 3", "\"id\": 1", "two categories"}};
  folder_.write("results.json", kResults);
  for (const Bad& bad : truths) {
    SCOPED_TRACE(std::string(bad.replacement));
    folder_.write("bad.json", with(kTruth, bad.old, bad.replacement));
    expect_failure({"bad.json", "results.json", "--type", "segm"}, 1, bad.text);
    expect_failure({"bad.json", "results.json", "--type", "segm"}, 1, "bad.json");
  }
  const Bad results[] = {{"\"image_id\": 5", "\"image_id\": 9", "picture 9"},
                         {"0.5", "NaN", "NaN"},
                         {"0.5", "1e999", "1e999"},
                         {"[22, 8, 570]", "[22, 8, 569]", "599"},
                         {"\"size\": [20, 30]", "\"size\": [30, 20]", "30 x 20"},
                         {"{\"size\": [20, 30], \"counts\": [22, 8, 570]}", "[[1, 1, 2, 2]]", "2 points"}};
  folder_.write("truth.json", kTruth);
  for (const Bad& bad : results) {
    SCOPED_TRACE(std::string(bad.replacement));
    folder_.write("bad.json", with(kResults, bad.old, bad.replacement));
    expect_failure({"truth.json", "bad.json", "--type", "segm"}, 1, bad.text);
    expect_failure({"truth.json", "bad.json", "--type", "segm"}, 1, "results[0]");
  }
}

TEST_F(CocoEval, CountsOddEntriesAndGoesOn) {
  const auto warns = [this](std::string_view truth, std::string_view results, const std::string& text) {
    SCOPED_TRACE(text);
    folder_.write("truth.json", truth);
    folder_.write("results.json", results);
    for (const std::string type : {"bbox", "segm"}) {
      const ChildResult result = run({"truth.json", "results.json", "--type", type, "--json"});
      EXPECT_EQ(result.exit_code, 0) << result.err;
      EXPECT_THAT(result.err, HasSubstr(text));
      EXPECT_EQ(json::parse(result.out)["stats"].size(), 12u);
    }
  };
  const auto odd_truth = [&](std::string_view old, std::string_view replacement, const std::string& text) {
    warns(with(kTruth, old, replacement), kResults, text);
  };
  const auto odd_results = [&](std::string_view old, std::string_view replacement, const std::string& text) {
    warns(kTruth, with(kResults, old, replacement), text);
  };
  odd_truth("[1, 2, 8, 9]", "[100, 2, 8, 9]", "outside");
  odd_truth("[1, 2, 8, 9]", "[1, 2, 0, 9]", "0 x 9");
  odd_truth("[1, 2, 8, 9]", "[1, 2, 8, -9]", "8 x -9");
  odd_truth("\"category_id\": 1", "\"category_id\": 4", "annotation 7 is of category 4");
  odd_truth("\"image_id\": 5", "\"image_id\": 6", "annotation 7 is of picture 6");
  odd_results("[1, 2, 8, 7]", "[100, 2, 8, 7]", "outside");
  odd_results("[1, 2, 8, 7]", "[1, 2, 8, -7]", "8 x -7");
  odd_results("\"category_id\": 1", "\"category_id\": 4", "results[0] is of category 4");

  folder_.write("truth.json", kTruth);
  folder_.write("results.json", kResults);
  EXPECT_THAT(run({"truth.json", "results.json"}).err, IsEmpty()) << "a picture without annotations is nothing odd";
}

TEST_F(CocoEval, RefusesWhatItCannotDo) {
  expect_failure({"truth.json"}, 2, "RESULTS");
  expect_failure({"truth.json", "results.json", "--type", "keypoints"}, 2, "bbox");
  expect_failure({"truth.json", "results.json", "--threads", "-1"}, 2, "threads");
  expect_failure({"truth.json", "nowhere.json"}, 1, "nowhere.json");
  expect_failure({"results.json", "truth.json"}, 1, "it is a list");
  folder_.write("broken.json", "[{\"image_id\": NaN");
  expect_failure({"truth.json", "broken.json", "--json"}, 1, "broken.json");
  EXPECT_THAT(run({"--help"}).out, HasSubstr("Example: convnext coco-eval"));
}

}  // namespace
}  // namespace convnext
