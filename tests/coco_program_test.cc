// `convnext coco-eval` from outside.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

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
