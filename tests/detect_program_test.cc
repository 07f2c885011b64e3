// `convnext detect`, and `convnext eval` of a detector, from outside.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "metrics/coco_file.h"
#include "model/formula.h"
#include "tests/child_process.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_detector.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int kPictures = 4;

class DetectProgram : public testing::Test {
 protected:
  DetectProgram() {
    write_tiny_detector(folder_ / "run/model.safetensors");
    for (int i = 0; i < kPictures; ++i) {
      write_picture(folder_ / ("pictures/" + name_of(i)),
                    formula_picture(width_of(i), 80, static_cast<std::uint64_t>(i)));
    }
  }

  static std::string name_of(int i) { return std::to_string(i) + ".png"; }
  static int width_of(int i) { return 100 + 20 * i; }

  ChildResult run(std::vector<std::string> arguments, const std::string& program = CONVNEXT_PROGRAM) const {
    arguments.insert(arguments.begin(), program);
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    EXPECT_NE(result.exit_code, -1) << "ended by a signal: " << result.err;
    return result;
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code,
                      const std::vector<std::string>& texts) const {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }

  json read_json(const std::string& name) const { return json::parse(read_text(folder_ / name)); }

  // A ground truth whose objects are what the detector finds.
  json write_truth(const std::string& name) {
    const ChildResult result = run({"detect", "pictures", "--model", "run", "--json", "found.json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    json truth = {{"images", json::array()}, {"annotations", json::array()}, {"categories", json::array()}};
    for (int i = 0; i < kPictures; ++i) {
      truth["images"].push_back(
          {{"id", 10 * i + 7}, {"file_name", name_of(i)}, {"width", width_of(i)}, {"height", 80}});
    }
    const std::vector<std::string> labels = tiny_detector_card().labels;
    for (std::size_t c = 0; c < labels.size(); ++c) {
      truth["categories"].push_back({{"id", 2 * c + 1}, {"name", labels[c]}});
    }
    for (const json& found : read_json("found.json")) {
      const json& box = found["bbox"];
      truth["annotations"].push_back({{"id", truth["annotations"].size() + 1},
                                      {"image_id", 10 * (found["image_id"].get<int>() - 1) + 7},
                                      {"category_id", 2 * found["category_id"].get<int>() - 1},
                                      {"bbox", box},
                                      {"area", box[2].get<double>() * box[3].get<double>()},
                                      {"iscrowd", 0},
                                      {"segmentation", found["segmentation"]}});
    }
    folder_.write(name, truth.dump());
    return truth;
  }

  TemporaryFolder folder_;
};

TEST_F(DetectProgram, PrintsATableForEachPicture) {
  const ChildResult result =
      run({"detect", "pictures/1.png", "pictures/0.png", "--model", "run/model.safetensors", "--score", "0.1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_THAT(result.out, AllOf(HasSubstr("pictures/1.png  120x80, "), HasSubstr("pictures/0.png  100x80, "),
                                HasSubstr("score  left  top"), HasSubstr("pixels")));
  EXPECT_LT(result.out.find("1.png"), result.out.find("0.png"));
  const ChildResult none = run({"detect", "pictures/1.png", "--model", "run", "--score", "1"});
  EXPECT_THAT(none.out, HasSubstr("no object scores 1 or more"));
}

TEST_F(DetectProgram, WritesResultsInCocosFormat) {
  const ChildResult result = run({"detect", "pictures", "--model", "run", "--json", "results.json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const json results = read_json("results.json");
  ASSERT_GT(results.size(), 8u);
  for (const json& one : results) {
    const int id = one["image_id"];
    EXPECT_EQ(one["file_name"], name_of(id - 1));
    EXPECT_GE(one["category_id"], 1);
    EXPECT_LE(one["category_id"], 5);
    EXPECT_EQ(one["segmentation"]["size"], json({80, width_of(id - 1)}));
    EXPECT_GT(one["score"], 0.05);
  }
  // The model's own threshold, unless another is asked for.
  std::vector<double> scores;
  for (const json& one : results) scores.push_back(one["score"]);
  std::ranges::sort(scores);
  const double median = scores[scores.size() / 2];
  const ChildResult some =
      run({"detect", "pictures", "--model", "run", "--json", "-", "--score", fmt::format("{}", median)});
  EXPECT_EQ(some.exit_code, 0) << some.err;
  const json high = json::parse(some.out);
  EXPECT_LT(high.size(), scores.size());
  EXPECT_GE(high.size(), scores.size() / 2);
  for (const json& one : high) EXPECT_GE(one["score"], median);
  // Nothing found is a document, too.
  EXPECT_EQ(run({"detect", "pictures/0.png", "--model", "run", "--json", "-", "--score", "1"}).out, "[]\n");
}

TEST_F(DetectProgram, TakesIdsFromAnnotations) {
  write_truth("truth.json");
  const ChildResult result =
      run({"detect", "pictures", "--model", "run", "--json", "results.json", "--annotations", "truth.json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const CocoDataset truth = read_coco_dataset(folder_ / "truth.json", CocoFields::for_masks());
  const CocoResults results = read_coco_results(folder_ / "results.json", truth, /*masks=*/true);
  EXPECT_THAT(results.warnings, IsEmpty());
  EXPECT_EQ(results.detections.size(), read_json("found.json").size());
  for (const std::string type : {"bbox", "segm"}) {
    const ChildResult judged = run({"coco-eval", "truth.json", "results.json", "--type", type, "--json"});
    ASSERT_EQ(judged.exit_code, 0) << judged.err;
    // Nothing overlaps a mask without a pixel, which a box at the border may have.
    EXPECT_NEAR(json::parse(judged.out)["stats"][0].get<double>(), 1, type == "bbox" ? 1e-9 : 0.2);
  }
  // Pictures that the file does not name are reported, and the others are done.
  write_picture(folder_ / "pictures/other.png", formula_picture(30, 30, 1));
  const ChildResult other =
      run({"detect", "pictures", "--model", "run", "--json", "results.json", "--annotations", "truth.json"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, AllOf(HasSubstr("other.png"), HasSubstr("truth.json"), HasSubstr("1 of 5 pictures")));
  EXPECT_EQ(read_json("results.json").size(), results.detections.size());
}

// The same name twice: one of the pictures would be without detections, for no reason that anybody sees.
TEST_F(DetectProgram, SaysWhichPicturesHaveOneName) {
  json truth = write_truth("truth.json");
  json twin = truth["images"][1];
  for (const int id : {500, 501}) {
    twin["id"] = id;
    truth["images"].push_back(twin);
  }
  folder_.write("truth.json", truth.dump());
  const ChildResult result =
      run({"detect", "pictures", "--model", "run", "--json", "results.json", "--annotations", "truth.json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("truth.json"), HasSubstr("pictures 17 and 500 are both called '1.png'"),
                                HasSubstr("1 more")));
  for (const json& one : read_json("results.json")) EXPECT_LT(one["image_id"], 500);
}

// Of the file itself, of a file of names, of the annotations where nothing else says them.
TEST_F(DetectProgram, CallsClassesWhatItIsTold) {
  DetectorCard card = tiny_detector_card();
  card.labels.clear();
  write_tiny_detector(folder_ / "nameless.safetensors", card);
  folder_.write("names.txt", "one\ntwo\nthree\nfour\nfive\n");
  folder_.write("few.txt", "one\ntwo\n");
  write_truth("truth.json");
  const auto told = [this](const std::string& model, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"detect", "pictures", "--score", "0.1", "--model", model};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments).out;
  };
  const auto some_of = [](const std::vector<std::string>& names) {
    return testing::ContainsRegex(fmt::format("\n *({}) +0\\.", fmt::join(names, "|")));
  };
  const std::vector<std::string> numbers = {"class 0", "class 1", "class 2", "class 3", "class 4"};
  const std::vector<std::string> names = {"one", "two", "three", "four", "five"};
  EXPECT_THAT(told("nameless.safetensors", {}), some_of(numbers));
  EXPECT_THAT(told("nameless.safetensors", {"--labels", "names.txt"}), some_of(names));
  EXPECT_THAT(told("nameless.safetensors", {"--annotations", "truth.json"}), some_of(tiny_detector_card().labels));
  EXPECT_THAT(told("run", {}), some_of(tiny_detector_card().labels));
  EXPECT_THAT(told("run", {"--labels", "names.txt"}), some_of(names));
  expect_failure({"detect", "pictures", "--model", "run", "--labels", "few.txt"}, 1, {"2 labels", "5 classes"});
  // The names of categories are those of the classes, or the file is another data set's.
  expect_failure({"detect", "pictures", "--model", "run", "--labels", "names.txt", "--annotations", "truth.json"}, 1,
                 {"'one'", "'cat'", "--labels"});
}

TEST_F(DetectProgram, SeesPicturesInTheSizeItIsTold) {
  const auto found = [this](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"detect", "pictures", "--json", "-", "--model"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  };
  DetectorCard card = tiny_detector_card();
  card.short_side = 40;
  card.long_side = 50;
  write_tiny_detector(folder_ / "sized.safetensors", card);
  const json sized = found({"sized.safetensors"});
  EXPECT_EQ(found({"run", "--short-side", "40", "--long-side", "50"}), sized);
  EXPECT_NE(found({"run"}), sized);
  EXPECT_EQ(found({"sized.safetensors", "--short-side", "64", "--long-side", "96"}), found({"run"}));
  expect_failure({"detect", "pictures", "--model", "run", "--short-side", "97"}, 2, {"97", "96", "--long-side"});
  expect_failure({"detect", "pictures", "--model", "run", "--short-side", "0"}, 2, {"--short-side"});

  write_truth("truth.json");
  const auto judged = [this](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"eval", "truth.json", "--pictures", "pictures", "--json", "--model"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return json::parse(run(arguments).out)["bbox"]["stats"];
  };
  EXPECT_EQ(judged({"run", "--short-side", "40", "--long-side", "50"}), judged({"sized.safetensors"}));
  EXPECT_NE(judged({"run"}), judged({"sized.safetensors"}));
  write_tiny_model(folder_ / "classifier.safetensors");
  expect_failure({"eval", "pictures", "--model", "classifier.safetensors", "--long-side", "96"}, 2, {"a detector"});
}

TEST_F(DetectProgram, DrawsWhatItFinds) {
  write_picture(folder_ / "more/1.png", formula_picture(50, 60, 9));
  const ChildResult result =
      run({"detect", "pictures", "more", "--model", "run", "--draw", "drawn/here", "--score", "0.1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("more/1.png"), HasSubstr("1-2.png")));
  for (int i = 0; i < kPictures; ++i) {
    const Image picture = Image::open(folder_ / ("pictures/" + name_of(i)));
    const Image drawn = Image::open(folder_ / ("drawn/here/" + name_of(i)));
    EXPECT_EQ(drawn.width, picture.width);
    EXPECT_EQ(drawn.height, picture.height);
    EXPECT_NE(drawn.pixels, picture.pixels);
  }
  EXPECT_EQ(Image::open(folder_ / "drawn/here/1-2.png").width, 50);
  // The pictures themselves stay what they are.
  expect_failure({"detect", "pictures", "--model", "run", "--draw", "pictures"}, 2, {"pictures", "another"});
}

TEST_F(DetectProgram, SaysWhereTimeGoes) {
  const ChildResult result = run({"detect", "pictures", "--model", "run", "--profile", "--draw", "drawn"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part :
       {"decode, resize", "backbone", "pyramid", "proposals", "boxes", "masks", "paste masks", "draw"}) {
    EXPECT_THAT(result.out, HasSubstr(part));
  }
  expect_failure({"detect", "pictures", "--model", "run", "--profile", "--json", "-"}, 2, {"--profile"});
}

// The rest goes on, and the exit code tells.
TEST_F(DetectProgram, SkipsPicturesThatCannotBeRead) {
  folder_.write("pictures/1.png", "no picture");
  folder_.write("pictures/2.png", png_that_promises(30000, 30000));
  const ChildResult result =
      run({"detect", "pictures", "nowhere.jpg", "--model", "run", "--json", "results.json", "--draw", "drawn"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("1.png"), HasSubstr("2.png"), HasSubstr("nowhere.jpg"),
                                HasSubstr("3 of 5 pictures were skipped")));
  for (const json& one : read_json("results.json")) EXPECT_TRUE(one["image_id"] == 1 || one["image_id"] == 4);
  EXPECT_TRUE(fs::exists(folder_ / "drawn/0.png"));
  EXPECT_FALSE(fs::exists(folder_ / "drawn/1.png"));
  EXPECT_EQ(run({"detect", "pictures/0.png", "--model", "run", "--max-pixels", "100"}).exit_code, 1);
}

TEST_F(DetectProgram, TakesTheLimitsOfFiles) {
  const std::vector<std::string> texts = {"model.safetensors': with '", "it holds 4 tensors, more than the limit of 3"};
  expect_failure({"detect", "pictures", "--model", "run", "--max-tensors", "3"}, 1, texts);
  write_truth("truth.json");
  expect_failure({"eval", "truth.json", "--pictures", "pictures", "--model", "run", "--max-tensors", "3"}, 1, texts);
  EXPECT_THAT(run({"detect", "--help"}).out, HasSubstr("Limits of files"));
}

TEST_F(DetectProgram, RefusesWhatItCannotDo) {
  write_tiny_model(folder_ / "classifier.safetensors");
  folder_.write("nonsense.safetensors", "no weights");
  fs::create_directories(folder_ / "empty");
  folder_.write("file", "");
  expect_failure({"detect", "pictures"}, 2, {"--model"});
  expect_failure({"detect", "--model", "run"}, 2, {"PICTURE"});
  expect_failure({"detect", "pictures", "--model", "run", "--score", "2"}, 2, {"--score"});
  expect_failure({"detect", "pictures", "--model", "run", "--device", "gpu"}, 2, {"gpu"});
  expect_failure({"detect", "pictures", "--model", "nowhere.safetensors"}, 1, {"nowhere.safetensors"});
  expect_failure({"detect", "pictures", "--model", "nonsense.safetensors"}, 1, {"nonsense.safetensors"});
  expect_failure({"detect", "pictures", "--model", "classifier.safetensors"}, 1,
                 {"classifier.safetensors", "holds no detector"});
  expect_failure({"detect", "empty", "--model", "run"}, 1, {"empty", "no pictures"});
  expect_failure({"detect", "pictures", "--model", "run", "--json", "nowhere/results.json"}, 1, {"nowhere"});
  expect_failure({"detect", "pictures", "--model", "run", "--draw", "file"}, 1, {"file"});
  expect_failure({"detect", "pictures", "--model", "run", "--annotations", "nowhere.json", "--json", "-"}, 1,
                 {"nowhere.json"});
  expect_failure({"classify", "pictures", "--model", "run"}, 1, {"is a detector", "classifier"});
  EXPECT_THAT(run({"detect", "--help"}).out, HasSubstr("Example: convnext detect"));
}

// ---- eval

TEST_F(DetectProgram, EvalPrintsTheFiguresOfBoxesAndMasks) {
  write_truth("truth.json");
  const ChildResult result = run({"eval", "truth.json", "--pictures", "pictures", "--model", "run", "--per-category"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("mask_rcnn_convnext_atto on truth.json: 4 pictures"), HasSubstr("AP50"),
                                HasSubstr("ARl"), HasSubstr("boxes  masks"), HasSubstr("zebra")));
}

TEST_F(DetectProgram, EvalWritesJsonAndResults) {
  write_truth("truth.json");
  const ChildResult result = run({"eval", "truth.json", "--pictures", "pictures", "--model", "run/model.safetensors",
                                  "--json", "--results", "results.json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const json document = json::parse(result.out);
  EXPECT_EQ(document["pictures"], kPictures);
  EXPECT_EQ(document["failed"], 0);
  EXPECT_EQ(document["bbox"]["stats"].size(), 12u);
  EXPECT_NEAR(document["bbox"]["stats"][0].get<double>(), 1, 1e-9);
  EXPECT_EQ(document["segm"]["per_category"].size(), 5u);
  EXPECT_NEAR(document["segm"]["stats"][0].get<double>(), 1, 0.2);
  EXPECT_EQ(document["detections"], read_json("results.json").size());
  // The judge of files says the same.
  const ChildResult judged = run({"coco-eval", "truth.json", "results.json", "--json"});
  EXPECT_EQ(json::parse(judged.out)["stats"], document["bbox"]["stats"]);
  EXPECT_EQ(json::parse(judged.out)["per_category"], document["bbox"]["per_category"]);
}

TEST_F(DetectProgram, EvalCountsPicturesThatFail) {
  json truth = write_truth("truth.json");
  fs::remove(folder_ / "pictures/0.png");
  folder_.write("pictures/1.png", "no picture");
  write_picture(folder_ / "pictures/2.png", formula_picture(33, 44, 1));
  const ChildResult result = run({"eval", "truth.json", "--pictures", "pictures", "--model", "run", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("0.png"), HasSubstr("1.png"), HasSubstr("33x44"), HasSubstr("140x80"),
                                HasSubstr("3 of 4 pictures")));
  const json document = json::parse(result.out);
  EXPECT_EQ(document["failed"], 3);
  EXPECT_LT(document["bbox"]["stats"][8], 0.5);
  fs::create_directories(folder_ / "empty");
  expect_failure({"eval", "truth.json", "--pictures", "empty", "--model", "run"}, 1, {"none of the 4 pictures"});
}

TEST_F(DetectProgram, EvalRefusesWhatDoesNotBelongTogether) {
  json truth = write_truth("truth.json");
  write_tiny_model(folder_ / "classifier.safetensors");
  const std::vector<std::string> eval = {"eval", "truth.json", "--pictures", "pictures", "--model", "run"};
  const auto with = [&eval](std::initializer_list<std::string> more) {
    std::vector<std::string> arguments = eval;
    arguments.insert(arguments.end(), more);
    return arguments;
  };
  expect_failure({"eval", "truth.json", "--pictures", "pictures", "--model", "classifier.safetensors"}, 1,
                 {"holds no detector", "truth.json"});
  expect_failure({"eval", "pictures", "--model", "run"}, 1, {"is a detector", "--pictures"});
  expect_failure({"eval", "truth.json", "--model", "run"}, 2, {"--pictures"});
  expect_failure({"eval", "truth.json", "--pictures", "pictures"}, 2, {"--model"});
  expect_failure({"eval", "pictures", "--pictures", "pictures", "--model", "run"}, 2, {"JSON"});
  expect_failure({"eval", "truth.json", "--pictures", "nowhere", "--model", "run"}, 1, {"nowhere"});
  expect_failure({"eval", "nowhere.json", "--pictures", "pictures", "--model", "run"}, 1, {"nowhere.json"});
  expect_failure({"eval", "truth.json", "--pictures", "pictures", "--model", "nowhere.safetensors"}, 1,
                 {"nowhere.safetensors"});
  expect_failure(with({"--results", "nowhere/results.json"}), 1, {"nowhere"});
  expect_failure(with({"--confusion", "confusion.csv"}), 2, {"--confusion", "classifier"});
  expect_failure(with({"--precision", "bf16"}), 2, {"--precision", "classifier"});
  expect_failure({"eval", "pictures", "--model", "classifier.safetensors", "--per-category"}, 2, {"--per-category"});
  truth["categories"].erase(truth["categories"].begin());
  folder_.write("truth.json", truth.dump());
  expect_failure(eval, 1, {"5 classes", "4 categories"});
}

}  // namespace
}  // namespace convnext
