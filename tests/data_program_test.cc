// `convnext pack` and the two `eval` from outside: shards are as good as folders, and both programs tell the same.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/tar.h"
#include "tests/child_process.h"
#include "tests/drawn_pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class DataPrograms : public testing::Test {
 protected:
  DataPrograms() {
    draw_pictures(folder_ / "data/train", 8, 0);
    draw_pictures(folder_ / "data/val", 6, 1000);
    Card card = tiny_card();
    card.labels = {"cross", "moon", "square", "sun"};
    write_tiny_model(folder_ / "tiny.safetensors", card);
  }

  ChildResult run(std::vector<std::string> arguments, const std::string& program = CONVNEXT_PROGRAM) {
    arguments.insert(arguments.begin(), program);
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = {}});
    EXPECT_FALSE(result.timed_out);
    return result;
  }

  json run_json(std::vector<std::string> arguments, int exit_code = 0, const std::string& program = CONVNEXT_PROGRAM) {
    arguments.push_back("--json");
    const ChildResult result = run(std::move(arguments), program);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  json evaluate(const std::string& data, int exit_code = 0, const std::string& program = CONVNEXT_PROGRAM,
                const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"eval", data, "--model", "tiny.safetensors", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_json(arguments, exit_code, program);
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }

  // All figures but the time and the name of the data.
  static json figures(json result) {
    for (const char* field : {"seconds", "pictures_per_second", "data"}) {
      EXPECT_TRUE(result.contains(field)) << field;
      result.erase(field);
    }
    return result;
  }

  TemporaryFolder folder_;
};

TEST_F(DataPrograms, PackMakesAFolderOfShardsOfEachSplit) {
  const json packed = run_json({"pack", "data", "--output", "made/shards/", "--pictures-a-shard", "5"});
  EXPECT_EQ(packed["output"], "made/shards");
  EXPECT_EQ(packed["pictures"], 28);
  EXPECT_EQ(packed["failed"], 0);
  ASSERT_EQ(packed["splits"].size(), 2u);
  EXPECT_EQ(packed["splits"][0]["split"], "train");
  EXPECT_EQ(packed["splits"][0]["shards"], 4);
  EXPECT_EQ(packed["splits"][1]["folder"], "made/shards/val");
  EXPECT_TRUE(fs::exists(folder_ / "made/shards/train/train-000003.tar"));
  EXPECT_TRUE(fs::exists(folder_ / "made/shards/val/classes.txt"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "made"), {}), 1) << "nothing else is left";

  const json again = run_json({"pack", "data", "--output", "again", "--pictures-a-shard", "5"});
  EXPECT_EQ(again["pictures"], 28);
  EXPECT_TRUE(read_text(folder_ / "again/train/train-000001.tar") ==
              read_text(folder_ / "made/shards/train/train-000001.tar"));
  EXPECT_THAT(run({"pack", "data/val", "--output", "val"}).out, AllOf(HasSubstr("val"), HasSubstr("12")));
  EXPECT_TRUE(fs::exists(folder_ / "val/val-000000.tar"));
}

TEST_F(DataPrograms, PackRefusesWhatItCannotDo) {
  write_bytes(folder_ / "taken/file", "");
  expect_failure({"pack", "data", "--output", "taken"}, 1, {"taken", "new folder"});
  expect_failure({"pack", "nowhere", "--output", "shards"}, 1, {"nowhere"});
  expect_failure({"pack", "data"}, 2, {"--output"});
  expect_failure({"pack", "data", "--output", "shards", "--shard-size", "many"}, 2, {"many"});
  expect_failure({"pack", "data", "--output", "shards", "--shard-size", "1M", "--pictures-a-shard", "3"}, 2,
                 {"--pictures-a-shard"});
  expect_failure({"pack", "data", "--output", "taken/file/shards"}, 1, {"taken/file/shards"});
  fs::rename(folder_ / "data/val/cross", folder_ / "data/val/circle");
  expect_failure({"pack", "data", "--output", "shards"}, 1, {"circle"});
}

TEST_F(DataPrograms, PackLeavesOutBrokenPicturesAndFails) {
  write_bytes(folder_ / "data/val/cross/bad.png", "no");
  const json packed = run_json({"pack", "data", "--output", "shards"}, 1);
  EXPECT_EQ(packed["failed"], 1);
  EXPECT_EQ(packed["pictures"], 28);
}

TEST_F(DataPrograms, BothProgramsTellTheSameOfFoldersAndShards) {
  ASSERT_EQ(run({"pack", "data", "--output", "shards", "--shard-size", "20k"}).exit_code, 0);
  const json folders = figures(evaluate("data"));
  EXPECT_EQ(folders["pictures"], 12);
  const json shards = figures(evaluate("shards"));
  EXPECT_EQ(shards["confusion"], folders["confusion"]);
  EXPECT_EQ(shards["per_class"], folders["per_class"]);
  EXPECT_EQ(evaluate("shards/val/val-000000.tar")["failed"], 0);
  for (const std::string data : {"data", "shards", "data/val"}) {
    const json trainer = figures(evaluate(data, 0, CONVNEXT_TRAIN_PROGRAM, {"--batch-size", "5"}));
    for (const char* field :
         {"architecture", "top1", "top5", "pictures", "failed", "per_class", "confusion", "labels"}) {
      EXPECT_EQ(trainer[field], folders[field]) << field;
    }
    EXPECT_EQ(trainer.size(), folders.size());
    EXPECT_NEAR(trainer["loss"].get<double>(), folders["loss"].get<double>(), 1e-5);
    EXPECT_NEAR(trainer["calibration_error"].get<double>(), folders["calibration_error"].get<double>(), 1e-3);
  }
}

TEST_F(DataPrograms, EvaluationTellsTheWholeStory) {
  const json result = evaluate("data");
  const json& confusion = result["confusion"];
  ASSERT_EQ(confusion.size(), 4u);
  EXPECT_EQ(result["labels"], json({"cross", "moon", "square", "sun"}));
  std::int64_t pictures = 0, correct = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    for (const json& count : confusion[i]) pictures += count.get<std::int64_t>();
    correct += confusion[i][i].get<std::int64_t>();
  }
  EXPECT_EQ(pictures, 12);
  EXPECT_NEAR(result["top1"].get<double>(), 100.0 * static_cast<double>(correct) / 12, 1e-9);
  EXPECT_EQ(result["reliability"].size(), 15u);
  EXPECT_GT(result["pictures_per_second"], 0.0);
  EXPECT_EQ(result["per_class"][0]["recall"], result["per_class"][0]["top1"]);

  const std::string text = run({"eval", "data", "--model", "tiny.safetensors", "--confusion", "matrix.csv"}).out;
  EXPECT_THAT(text, AllOf(HasSubstr("calibration error"), HasSubstr("taken for"), HasSubstr("precision")));
  std::string csv = "class,cross,moon,square,sun\n";
  for (std::size_t i = 0; i < 4; ++i) {
    csv += result["labels"][i].get<std::string>();
    for (const json& count : confusion[i]) csv.append(1, ',').append(count.dump());
    csv += "\n";
  }
  EXPECT_EQ(read_text(folder_ / "matrix.csv"), csv);
  expect_failure({"eval", "data", "--model", "tiny.safetensors", "--confusion", "no/matrix.csv"}, 1, {"no/matrix.csv"});
}

TEST_F(DataPrograms, BothCountAndSkipBrokenPictures) {
  write_bytes(folder_ / "data/val/cross/bad.png", "no");
  fs::resize_file(folder_ / "data/val/square/0003.png", 60);
  for (const char* program : {CONVNEXT_PROGRAM, CONVNEXT_TRAIN_PROGRAM}) {
    const json result = evaluate("data", 1, program);
    EXPECT_EQ(result["failed"], 2) << program;
    EXPECT_EQ(result["pictures"], 11) << program;
    const ChildResult text = run({"eval", "data", "--model", "tiny.safetensors"}, program);
    EXPECT_THAT(text.err, AllOf(HasSubstr("bad.png"), HasSubstr("0003.png"), HasSubstr("2 of 13")));
  }
}

TEST_F(DataPrograms, BothMatchClassesAlike) {
  fs::rename(folder_ / "data/val/cross", folder_ / "data/val/plus");
  write_file_atomically(folder_ / "map.txt", "plus cross\n");
  for (const char* program : {CONVNEXT_PROGRAM, CONVNEXT_TRAIN_PROGRAM}) {
    const ChildResult unmatched = run({"eval", "data", "--model", "tiny.safetensors"}, program);
    EXPECT_EQ(unmatched.exit_code, 1);
    EXPECT_THAT(unmatched.err, HasSubstr("plus"));
    EXPECT_EQ(evaluate("data", 0, program, {"--class-map", "map.txt"})["per_class"][0]["label"], "cross");
    EXPECT_EQ(
        run({"eval", "data", "--model", "tiny.safetensors", "--class-map", "map.txt", "--by-index"}, program).exit_code,
        2);
    EXPECT_THAT(run({"eval", "data", "--model", "tiny.safetensors", "--by-index"}, program).err,
                HasSubstr("2 class folders"));
  }
}

// Shards from elsewhere that number their classes, and are matched by the number only when that is said.
TEST_F(DataPrograms, NumberedShardsNeedByIndex) {
  const std::string picture = read_text(folder_ / "data/val/cross/0000.png");
  fs::create_directories(folder_ / "numbered");
  const auto write = [&](const std::string& label) {
    write_file_atomically(folder_ / "numbered/x-val-0.tar", [&](const ByteSink& sink) {
      TarWriter writer(sink);
      writer.add("a.png", picture);
      writer.add("a.cls", label);
      writer.finish();
    });
  };
  write("1");
  expect_failure({"eval", "numbered", "--model", "tiny.safetensors"}, 1, {"--by-index", "classes.txt"});
  EXPECT_EQ(evaluate("numbered", 0, CONVNEXT_PROGRAM, {"--by-index"})["per_class"][0]["label"], "moon");
  write("4");
  expect_failure({"eval", "numbered", "--model", "tiny.safetensors", "--by-index"}, 1, {"class 4", "4 classes"});
}

TEST_F(DataPrograms, DamagedShardsAreNamedWithTheirPlace) {
  ASSERT_EQ(run({"pack", "data/val", "--output", "shards"}).exit_code, 0);
  fs::resize_file(folder_ / "shards/val-000000.tar", 3000);
  expect_failure({"eval", "shards", "--model", "tiny.safetensors"}, 1, {"shards/val-000000.tar", "byte ", "cut off"});
}

}  // namespace
}  // namespace convnext
