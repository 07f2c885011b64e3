// What the program hands over to convnext-train, and what bad input does to it.
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps_fixture.h"
#include "child_process.h"
#include "io/npy.h"
#include "pictures.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// Handing over to convnext-train.

class HandOver : public Apps {
 protected:
  // A copy of the program, alone in a folder.
  void SetUp() override {
    fs::create_directories(folder_ / "bin");
    fs::create_directories(folder_ / "elsewhere");
    fs::copy_file(program_, folder_ / "bin/convnext");
    program_ = path("bin/convnext");
  }
  void write_trainer(std::string_view folder, std::string_view says) {
    const fs::path file = folder_ / folder / "convnext-train";
    write_bytes(file, "#!/bin/sh\necho " + std::string(says) + " \"$@\"\nexit 7\n");
    fs::permissions(file, fs::perms::owner_all);
  }
};

TEST_F(HandOver, CommandsOfTheTrainerGoToItWithTheirArguments) {
  write_trainer("elsewhere", "from PATH");
  const std::map<std::string, std::string> environment = {{"PATH", path("elsewhere") + ":/usr/bin:/bin"}};
  for (const char* command : {"train", "pack", "roadmap", "compare", "detect", "segment"}) {
    const ChildResult result = run({command, "--help", "a b", ""}, environment);
    EXPECT_EQ(result.out, std::string("from PATH ") + command + " --help a b \n");
    EXPECT_EQ(result.exit_code, 7);
  }
  write_trainer("bin", "from beside");
  EXPECT_THAT(run({"train"}, environment).out, StartsWith("from beside train"));
}

TEST_F(HandOver, WithoutATrainerItIsSaidHowToGetIt) {
  const ChildResult result = run({"train", "data"}, {{"PATH", path("elsewhere")}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, AllOf(HasSubstr("'train'"), HasSubstr("convnext-train"), HasSubstr("CONVNEXT_TRAIN=ON")));
  EXPECT_THAT(result.out, IsEmpty());
}

// A model that the engine does not run, and the commands that would run it.
class HandOverOfAModel : public HandOver {
 protected:
  void SetUp() override {
    HandOver::SetUp();
    Card card;
    card.architecture = "resnet50";
    card.network = with_overrides(
        architecture("resnet50").network,
        {.depths = std::vector{1, 1}, .dims = std::vector{8, 16}, .kernel_sizes = {}, .patch_size = {}, .classes = 4});
    // Nobody computes it before the model is handed over.
    card.check = {.width = 40, .height = 32, .seed = 1, .logits = {0, 0, 0, 0}};
    write_checkpoint(folder_ / "resnet.safetensors", card, formula_weights(card.network, 1));
    const std::string cat = picture("data/cat/1.png"), model = path("resnet.safetensors");
    write_npy(folder_ / "x.npy", formula_input("x", {1, 3, 32, 32}, 1).view());
    commands_ = {{"classify", cat, "--model", model},
                 {"classify", cat, "--model", model, "--json"},
                 {"embed", cat, "--model", model, "--output", path("f.npy")},
                 {"eval", path("data"), "--model", model, "--json"},
                 {"run", "--model", model, "--input", path("x.npy"), "--output", path("y.npy")},
                 {"verify", model},
                 {"bench", "--model", model, "--seconds", "0"},
                 {"bench", "--model", "resnet50", "--json"},
                 {"init", "resnet50", "--output", path("new.safetensors")},
                 {"convert", model, path("converted.safetensors")}};
  }
  std::vector<std::vector<std::string>> commands_;
};

TEST_F(HandOverOfAModel, TheTrainerGetsTheSameArguments) {
  write_trainer("bin", "handed over:");
  for (const std::vector<std::string>& command : commands_) {
    const ChildResult result = run(command);
    std::string expected = "handed over:";
    for (const std::string& argument : command) expected += " " + argument;
    EXPECT_EQ(result.out, expected + "\n");
    EXPECT_EQ(result.exit_code, 7);
    EXPECT_THAT(result.err, IsEmpty());
  }
}

TEST_F(HandOverOfAModel, WithoutATrainerItIsSaidBeforeAnythingIsWritten) {
  for (const std::vector<std::string>& command : commands_) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(command, {{"PATH", path("elsewhere")}});
    EXPECT_EQ(result.exit_code, 3) << command.front() << ": " << result.err;
    EXPECT_THAT(result.err, AllOf(StartsWith("convnext: "), HasSubstr("'resnet50'"), HasSubstr("convnext-train"),
                                  HasSubstr("CONVNEXT_TRAIN=ON")));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }
}

// What needs no network to run is the program's own for every family.
TEST_F(HandOverOfAModel, FilesAreLookedAtWithoutATrainer) {
  const std::string model = path("resnet.safetensors");
  const std::map<std::string, std::string> environment = {{"PATH", path("elsewhere")}};
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"info", model},
        {"inspect", model},
        {"preprocess", path("data/cat/1.png"), "--model", model, "--output", path("p.npy")}}) {
    const ChildResult result = run(command, environment);
    EXPECT_EQ(result.exit_code, 0) << command.front() << ": " << result.err;
  }
}

// Devices that are not there are never replaced silently.
TEST_F(Apps, CudaIsAnErrorInABuildWithoutIt) {
  const std::string file = model(), cat = picture("data/cat/1.png");
  write_npy(folder_ / "x.npy", formula_input("x", {1, 3, 32, 32}, 1).view());
  const std::vector<std::vector<std::string>> commands = {{"classify", cat},
                                                          {"embed", cat, "--output", path("f.npy")},
                                                          {"eval", path("data")},
                                                          {"run", "--input", path("x.npy"), "--output", path("y.npy")}};
  for (const char* device : {"cuda", "cuda:1"}) {
    for (std::vector<std::string> command : commands) {
      command.insert(command.end(), {"--model", file, "--device", device});
      expect_failure(command, 1, {device, "no CUDA"});
    }
  }
  EXPECT_EQ(run({"classify", cat, "--model", file, "--device", "cpu"}).exit_code, 0);
}

// Bad pictures.

struct BadPicture {
  const char* name;
  std::string bytes;
};

class BadPictureTest : public Apps, public testing::WithParamInterface<BadPicture> {};

TEST_P(BadPictureTest, IsReportedByEveryCommandThatTakesPictures) {
  const std::string file = model();
  const std::string name = std::string(GetParam().name) + ".jpg";
  write_bytes(folder_ / name, GetParam().bytes);
  expect_failure({"classify", path(name), "--model", file}, 1, {name});
  expect_failure({"embed", path(name), "--model", file, "--output", path("f.npy")}, 1, {name});
  expect_failure({"preprocess", path(name), "--model", file, "--output", path("x.npy")}, 1, {name});
}

std::string first_half(const std::string& bytes) { return bytes.substr(0, bytes.size() / 2); }

INSTANTIATE_TEST_SUITE_P(Each, BadPictureTest,
                         testing::Values(BadPicture{"empty", ""},
                                         BadPicture{"text", "Dear reader, this is a letter.\n"},
                                         BadPicture{"truncated_jpeg", small_jpeg().substr(0, 160)},
                                         BadPicture{"half_a_jpeg", first_half(small_jpeg())},
                                         BadPicture{"half_a_png", first_half(encode_png(formula_picture(40, 30, 1)))},
                                         BadPicture{"half_a_signature", "\x89PN"},
                                         BadPicture{"png_of_no_width", png_that_promises(0, 30)},
                                         BadPicture{"png_of_no_height", png_that_promises(30, 0)},
                                         BadPicture{"png_of_60000_x_60000", png_that_promises(60000, 60000)}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(Apps, MissingPicturesAndFoldersAreReported) {
  const std::string file = model();
  expect_failure({"classify", path("missing.jpg"), "--model", file}, 1, {"missing.jpg"});
  expect_failure({"preprocess", path("missing.jpg"), "--model", file, "--output", path("x.npy")}, 1, {"missing.jpg"});
  fs::create_directory(folder_ / "empty");
  expect_failure({"classify", path("empty"), "--model", file}, 1, {"empty", "no pictures"});
  expect_failure({"embed", path("empty"), "--model", file, "--output", path("f.npy")}, 1, {"empty", "no pictures"});
  expect_failure({"preprocess", path("empty"), "--model", file, "--output", path("x.npy")}, 1, {"empty", "folder"});
}

TEST_F(Apps, APictureOfOnePixelIsAPicture) {
  write_picture(folder_ / "pixel.png", formula_picture(1, 1, 1));
  write_picture(folder_ / "line.png", formula_picture(300, 1, 1));
  EXPECT_EQ(run_json({"classify", path("pixel.png"), path("line.png"), "--model", model()}).size(), 2u);
}

// Bad models.

struct BadModel {
  const char* name;
  std::string bytes;
};

std::string safetensors(std::string_view header, std::string_view data = "") {
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes.append(header).append(data);
}

class BadModelTest : public Apps, public testing::WithParamInterface<BadModel> {};

TEST_P(BadModelTest, IsRefusedByEveryCommandThatTakesModels) {
  write_bytes(folder_ / "bad.safetensors", GetParam().bytes);
  const std::string file = path("bad.safetensors"), cat = picture("data/cat/1.png");
  write_npy(folder_ / "x.npy", formula_input("x", {1, 3, 32, 32}, 1).view());
  const std::vector<std::vector<std::string>> commands = {
      {"info", file, "--architecture", "test_convnext"},
      {"verify", file},
      {"convert", file, "--architecture", "test_convnext", path("out.safetensors")},
      {"classify", cat, "--model", file, "--architecture", "test_convnext"},
      {"embed", cat, "--model", file, "--output", path("f.npy")},
      {"eval", path("data"), "--model", file},
      {"preprocess", cat, "--model", file, "--output", path("p.npy")},
      {"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy")}};
  for (const auto& command : commands) expect_failure(command, 1, {"bad.safetensors"});
}

INSTANTIATE_TEST_SUITE_P(
    Each, BadModelTest,
    testing::Values(
        BadModel{"empty", ""}, BadModel{"text", "This is a letter and not a model, dear reader.\n"},
        BadModel{"header_of_2_to_the_63", std::string("\0\0\0\0\0\0\0\x80{}", 10)},
        BadModel{"header_longer_than_the_file", std::string("\xff\0\0\0\0\0\0\0{}", 10)},
        BadModel{"nested_deeply", safetensors(std::string(100'000, '['))},
        BadModel{"nested_deeply_in_objects", safetensors([] {
                   std::string text;
                   for (int i = 0; i < 50'000; ++i) text += "{\"a\":";
                   return text;
                 }())},
        BadModel{"sizes_that_lie",
                 safetensors(R"({"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4]}})", "1234")},
        BadModel{"offsets_beyond_the_end",
                 safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234")},
        BadModel{"overlapping", safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                                            "123456")},
        BadModel{"duplicate", safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                          R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                          "12345678")},
        BadModel{"unknown_type", safetensors(R"({"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}})", "1234")},
        BadModel{"no_tensors", safetensors("{}")},
        BadModel{"integers_only",
                 safetensors(R"({"stem.0.weight":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", "12345678")},
        BadModel{"card_of_nonsense", safetensors(R"({"__metadata__":{"convnext_card_v1":"[1,2"}})")}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(Apps, MissingModelsAndFoldersForModelsAreRefused) {
  const std::string cat = picture("cat.png");
  expect_failure({"classify", cat, "--model", path("missing.safetensors")}, 1, {"missing.safetensors"});
  expect_failure({"verify", path("missing.safetensors")}, 1, {"missing.safetensors"});
  expect_failure({"info", "./missing"}, 1, {"missing"});
  fs::create_directory(folder_ / "folder");
  expect_failure({"classify", cat, "--model", path("folder")}, 1, {"folder", "model.safetensors"});
  expect_failure({"classify", cat, "--model", model(), "--architecture", "convnext_tiny"}, 1,
                 {"test_convnext2", "convnext_tiny"});
  // A run folder stands for its model.
  model("run/model.safetensors");
  EXPECT_EQ(run({"classify", cat, "--model", path("run")}).exit_code, 0);
}

TEST_F(Apps, OutputsThatCannotBeWrittenAreRefused) {
  const std::string file = model(), cat = picture("cat.png");
  write_npy(folder_ / "x.npy", formula_input("x", {1, 3, 32, 32}, 1).view());
  fs::create_directory(folder_ / "taken.npy");
  for (const std::string& output : {path("missing/out.npy"), path("taken.npy"), path("cat.png/out.npy")}) {
    const std::string part = fs::path(output).filename().string();
    expect_failure({"init", "test_convnext", "--output", output}, 1, {part});
    // A folder is a place for convert to write to.
    if (part != "taken.npy") expect_failure({"convert", file, output}, 1, {part});
    expect_failure({"embed", cat, "--model", file, "--output", output}, 1, {part.substr(0, 3)});
    expect_failure({"preprocess", cat, "--model", file, "--output", output}, 1, {part});
    expect_failure({"run", "--model", file, "--input", path("x.npy"), "--output", output}, 1, {part});
    expect_failure(
        {"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy"), "--features", path("missing/f")},
        1, {"missing/f.stage0.npy"});
  }
}

TEST_F(Apps, AFullDiskUnderStandardOutputIsAFailure) {
  const std::string cat = picture("cat.png"), file = model();
  for (const std::string& command : {std::string("list --json"), "classify --json " + cat + " --model " + file}) {
    const ChildResult result = run_child({"/bin/sh", "-c", program_ + " " + command + " >/dev/full"},
                                         {.folder = folder_.path(), .environment = {}});
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_THAT(result.err, HasSubstr("standard output"));
  }
}

// An output that was there before is whole, old or new.
TEST_F(Apps, AFailedCommandLeavesTheOldOutput) {
  const std::string file = model();
  write_bytes(folder_ / "f.npy", "old");
  write_bytes(folder_ / "f.txt", "old");
  write_bytes(folder_ / "bad.jpg", "no");
  EXPECT_EQ(run({"embed", path("bad.jpg"), "--model", file, "--output", path("f.npy")}).exit_code, 1);
  EXPECT_EQ(text_of("f.npy"), "old");
  EXPECT_EQ(text_of("f.txt"), "old");
}

}  // namespace
}  // namespace convnext
