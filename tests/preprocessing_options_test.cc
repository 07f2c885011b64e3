// The options that say otherwise than a card how pictures are prepared and what classes are called, through the
// program.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "child_process.h"
#include "convnext/model.h"
#include "expect_error.h"
#include "golden.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "model/published.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class PreprocessingOptions : public testing::Test {
 protected:
  ChildResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    return run_child(arguments, {.folder = folder_.path(), .environment = {}});
  }

  json run_json(std::vector<std::string> arguments, const std::vector<std::string>& more = {}) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.emplace_back("--json");
    const ChildResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::string& text) {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(text));
  }

  void SetUp() override { write_picture(picture_, image_); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
  std::string model_ = write_tiny_model(folder_ / "tiny.safetensors").string();
  Image image_ = formula_picture(40, 30, 1);
  std::string picture_ = path("picture.png");
};

struct Override {
  std::vector<std::string> arguments;
  void (*apply)(Preprocessing&);
};

const Override kOverrides[] = {
    {{"--resolution", "24"}, [](Preprocessing& p) { p.resolution = 24; }},
    {{"--crop-fraction", "0.5"}, [](Preprocessing& p) { p.crop_fraction = 0.5; }},
    {{"--crop-mode", "squash"}, [](Preprocessing& p) { p.crop_mode = CropMode::kSquash; }},
    {{"--interpolation", "lanczos"}, [](Preprocessing& p) { p.interpolation = Interpolation::kLanczos; }},
    {{"--pipeline", "torchvision"}, [](Preprocessing& p) { p.pipeline = PixelPipeline::kTorchvision; }},
    {{"--pipeline", "dinov3", "--interpolation", "bilinear"},
     [](Preprocessing& p) {
       p.pipeline = PixelPipeline::kDinov3;
       p.interpolation = Interpolation::kBilinear;
     }},
    {{"--pipeline", "transformers"}, [](Preprocessing& p) { p.pipeline = PixelPipeline::kTransformers; }},
    {{"--mean", "0.1,0.2,0.3"},
     [](Preprocessing& p) {
       p.mean = {0.1f, 0.2f, 0.3f};
     }},
    {{"--mean", "0.4"},
     [](Preprocessing& p) {
       p.mean = {0.4f, 0.4f, 0.4f};
     }},
    {{"--std", "0.25"},
     [](Preprocessing& p) {
       p.std = {0.25f, 0.25f, 0.25f};
     }},
};

// Each option alone gives the tensor that a card with that value would have given, and another than without it.
TEST_F(PreprocessingOptions, EachReplacesItsValueAndNoOther) {
  const Preprocessing own = tiny_card().preprocessing;
  const Tensor plain = preprocess(image_, own);
  for (const Override& one : kOverrides) {
    SCOPED_TRACE(one.arguments[0]);
    Preprocessing changed = own;
    one.apply(changed);
    run_json({"preprocess", picture_, "--model", model_, "--output", path("out.npy")}, one.arguments);
    const Tensor got = read_npy(path("out.npy"));
    const Tensor want = preprocess(image_, changed);
    EXPECT_THAT(got.values<float>(), testing::ElementsAreArray(want.values<float>()));
    EXPECT_FALSE(std::ranges::equal(got.values<float>(), plain.values<float>()));
  }
}

TEST_F(PreprocessingOptions, AResizeOfFloatsHasOneFilterAndNoBytes) {
  expect_failure({"preprocess", picture_, "--model", model_, "--output", path("out.npy"), "--pipeline", "dinov3"}, 2,
                 "bilinear");
  expect_failure({"preprocess", picture_, "--model", model_, "--output", path("out.npy"), "--pipeline", "dinov3",
                  "--interpolation", "bilinear", "--resized", path("resized.npy")},
                 2, "--resized");
}

// classify, embed and convert take the same options; a converted model needs them no more.
TEST_F(PreprocessingOptions, AConvertedModelKeepsWhatTheyDidToClassify) {
  folder_.write("labels.txt", "one\ntwo\nthree\nfour\n");
  const std::vector<std::string> options = {"--resolution", "24",          "--crop-fraction", "0.5",
                                            "--crop-mode",  "squash",      "--mean",          "0.3",
                                            "--std",        "0.2,0.3,0.4", "--interpolation", "box"};
  std::vector<std::string> with_labels = options;
  with_labels.insert(with_labels.end(), {"--labels", path("labels.txt")});
  const json plain = run_json({"classify", picture_, "--model", model_});
  const json changed = run_json({"classify", picture_, "--model", model_}, with_labels);
  EXPECT_NE(plain[0]["predictions"][0]["probability"], changed[0]["predictions"][0]["probability"]);
  EXPECT_THAT((std::set<std::string>{"one", "two", "three", "four"}),
              testing::Contains(changed[0]["predictions"][0]["label"].get<std::string>()));

  run_json({"convert", model_, path("new.safetensors")}, with_labels);
  EXPECT_EQ(run_json({"classify", picture_, "--model", path("new.safetensors")}), changed);
  EXPECT_EQ(run_json({"verify", path("new.safetensors")})["passed"], true);
  const Card card = read_checkpoint(path("new.safetensors")).card;
  EXPECT_THAT(card.labels, ElementsAre("one", "two", "three", "four"));
  EXPECT_THAT(card.preprocessing.std, ElementsAre(0.2f, 0.3f, 0.4f));
  EXPECT_EQ(card.preprocessing.resolution, 24);

  const auto features = [&](const std::string& file, const std::vector<std::string>& more) {
    run_json({"embed", picture_, "--model", file, "--output", path("features.npy")}, more);
    const Tensor array = read_npy(path("features.npy"));
    const auto values = array.values<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  EXPECT_EQ(features(path("new.safetensors"), {}), features(model_, options));
  EXPECT_NE(features(path("new.safetensors"), {}), features(model_, {}));
}

TEST_F(PreprocessingOptions, EvalMatchesFoldersWithTheLabelsOfTheFile) {
  fs::create_directories(folder_ / "data/three");
  write_picture(folder_ / "data/three/1.png", image_);
  folder_.write("labels.txt", "one\ntwo\nthree\nfour\n");
  expect_failure({"eval", path("data"), "--model", model_}, 1, "three");
  const json result = run_json({"eval", path("data"), "--model", model_, "--labels", path("labels.txt")});
  EXPECT_EQ(result["pictures"], 1);
  const double loss = result["loss"];
  EXPECT_NE(
      run_json({"eval", path("data"), "--model", model_, "--labels", path("labels.txt"), "--mean", "0.1"})["loss"],
      loss);
}

TEST_F(PreprocessingOptions, WhatCannotBeIsRefusedWithTheOptionOrTheFile) {
  const std::vector<std::string> command = {"classify", picture_, "--model", model_};
  const auto refuses = [&](const std::vector<std::string>& more, int exit_code, const std::string& text) {
    SCOPED_TRACE(more[1]);
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_failure(arguments, exit_code, text);
  };
  refuses({"--crop-mode", "sideways"}, 2, "squash");
  refuses({"--interpolation", "cubic"}, 2, "bicubic");
  refuses({"--pipeline", "opencv"}, 2, "torchvision");
  refuses({"--pipeline", "torchvision", "--interpolation", "box"}, 2, "not box");
  refuses({"--interpolation", "hamming", "--pipeline", "transformers"}, 2, "not hamming");
  refuses({"--max-pixels", "0"}, 2, "'0' is no number of pixels: a whole number above 0");
  refuses({"--max-pixels", "-5"}, 2, "number of pixels");
  refuses({"--max-pixels", "99999999999999999999"}, 2, "number of pixels");
  for (const char* fraction : {"0.005", "0", "2", "nan", "", "0.9x"}) {
    refuses({"--crop-fraction", fraction}, 2, "--crop-fraction: expected a fraction of 0.01 to 1, not");
  }
  for (const char* mean : {"0.1,0.2", "0.1,0.2,0.3,0.4", "inf", ""}) {
    refuses({"--mean", mean}, 2, "--mean: expected one number, or three");
  }
  refuses({"--std", "0"}, 2, "--std: expected numbers above 0");
  refuses({"--std", "0.2,-0.2,0.2"}, 2, "--std: expected numbers above 0");
  refuses({"--std", "a"}, 2, "--std: expected one number");
  refuses({"--std", ""}, 2, "--std: expected one number");
  refuses({"--resolution", "0"}, 2, "--resolution");
  refuses({"--labels", path("nothing.txt")}, 1, "nothing.txt");
  folder_.write("three.txt", "one\ntwo\nthree\n");
  refuses({"--labels", path("three.txt")}, 1, "3 labels for 4 classes");
}

// The library's own way: another model over the same weights, and the first one as it was.
TEST_F(PreprocessingOptions, AModelIsNotChangedByTheOneMadeFromIt) {
  const Model model = Model::load(model_);
  Preprocessing changed = model.preprocessing();
  changed.mean = {0.1f, 0.2f, 0.3f};
  const Model other = model.with_preprocessing(changed).with_labels({"one", "two", "three", "four"});
  EXPECT_EQ(other.preprocessing(), changed);
  EXPECT_EQ(model.preprocessing(), tiny_card().preprocessing);
  EXPECT_THAT(model.labels(), ElementsAre("cat", "dog", "ship", "truck"));
  EXPECT_NE(model.embed(image_), other.embed(image_));
  EXPECT_THAT(model.with_labels({}).labels(), testing::IsEmpty());
  changed.std = {0.0f, 1.0f, 1.0f};
  expect_error(ErrorCode::kInvalidArgument, {"deviations"}, [&] { model.with_preprocessing(changed); });
  expect_error(ErrorCode::kMismatch, {"1 labels for 4 classes"}, [&] { model.with_labels({"one"}); });
}

TEST_F(PreprocessingOptions, ListAndInfoShowWhatIsPublished) {
  const json all = run_json({"list", "--published"});
  EXPECT_EQ(all.size(), published_weights().size());
  const json some = run_json({"list", "--published", "convnext_tiny.fb_in1k"});
  ASSERT_EQ(some.size(), 2u) << "with and without the moving average";
  EXPECT_EQ(some[0]["published_top1"], 82.1);
  EXPECT_EQ(some[0]["url"], "https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth");
  EXPECT_EQ(some[0]["repository"], "facebook/convnext-tiny-224");
  EXPECT_EQ(run({"list", "--published", "nothing"}).exit_code, 1);
  EXPECT_EQ(run({"list", "--markdown"}).exit_code, 2);
  EXPECT_EQ(run({"list", "--published", "--markdown", "--json"}).exit_code, 2);
  EXPECT_THAT(run_json({"info", "convnext_tiny"})["published"], testing::Contains("convnext_tiny.in12k_ft_in1k_384"));
  EXPECT_THAT(run({"info", "convnext_tiny"}).out, HasSubstr("convnext_tiny.in12k_ft_in1k_384"));
}

Image pixels_of(const Tensor& array) {
  const auto values = array.values<std::uint8_t>();
  return {.width = static_cast<int>(array.shape()[1]),
          .height = static_cast<int>(array.shape()[0]),
          .pixels = {values.begin(), values.end()}};
}

TEST_F(PreprocessingOptions, PreprocessWritesWhatEachStepMakes) {
  const ChildResult result = run({"preprocess", picture_, "--model", model_, "--output", path("x.npy"), "--decoded",
                                  path("decoded.npy"), "--resized", path("resized.npy")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(pixels_of(read_npy(path("decoded.npy"))).pixels, image_.pixels);
  const Preprocessing preprocessing = Model::load(model_).preprocessing();
  EXPECT_EQ(pixels_of(read_npy(path("resized.npy"))).pixels, resize_and_crop(image_, preprocessing).pixels);
}

TEST_F(PreprocessingOptions, OneFileForTwoOutputsIsRefused) {
  for (const char* option : {"--decoded", "--resized"}) {
    expect_failure({"preprocess", picture_, "--model", model_, "--output", path("x.npy"), option, path("./x.npy")}, 2,
                   "two outputs");
  }
  expect_failure({"preprocess", picture_, "--model", model_, "--output", path("x.npy"), "--decoded", path("y.npy"),
                  "--resized", path("y.npy")},
                 2, "two outputs");
  EXPECT_FALSE(fs::exists(folder_ / "x.npy"));
}

TEST_F(PreprocessingOptions, PicturesAreTurnedOnlyOnRequest) {
  const std::string turned = golden_path("pictures/orientation/6.jpg").string();
  const auto decoded = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"preprocess", turned,        "--model",   model_,
                                          "--output",   path("x.npy"), "--decoded", path("decoded.npy")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return pixels_of(read_npy(path("decoded.npy")));
  };
  EXPECT_EQ(decoded({}).pixels, Image::open(turned).pixels);
  const Image upright = decoded({"--exif-orientation"});
  EXPECT_EQ(upright.pixels, Image::open(turned, {.exif_orientation = true}).pixels);
  EXPECT_NE(upright.pixels, Image::open(turned).pixels);
}

TEST_F(PreprocessingOptions, LargePicturesAreRefusedByTheLimitGiven) {
  for (const char* command : {"classify", "embed"}) {
    std::vector<std::string> arguments = {command, picture_, "--model", model_};
    if (command == std::string_view("embed")) arguments.insert(arguments.end(), {"--output", path("features.npy")});
    arguments.insert(arguments.end(), {"--max-pixels", "1199"});
    expect_failure(arguments, 1, "1199");
    arguments.back() = "1200";
    EXPECT_EQ(run(arguments).exit_code, 0) << command;
  }
}

}  // namespace
}  // namespace convnext
