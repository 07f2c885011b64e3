// The commands that make, change and look at files of weights.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "apps_fixture.h"
#include "child_process.h"
#include "io/npy.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "io/zip_archive.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Limits of files.

TEST_F(Apps, LimitsOfFilesHoldForEveryCommandThatReadsAModel) {
  const std::string file = model(), cat = picture("data/cat/1.png");
  write_npy(folder_ / "x.npy", formula_input("x", {1, 3, 32, 32}, 1).view());
  const std::size_t tensors = SafetensorsFile::open(file).tensors().size();
  const std::vector<std::vector<std::string>> commands = {
      {"info", file},
      {"inspect", file},
      {"verify", file},
      {"convert", file, path("converted.safetensors")},
      {"quantize", file, path("int8.safetensors"), "--calibrate", path("data"), "--max-drop", "100"},
      {"classify", cat, "--model", file},
      {"embed", cat, "--model", file, "--output", path("features.npy")},
      {"eval", path("data"), "--model", file},
      {"preprocess", cat, "--model", file, "--output", path("input.npy")},
      {"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy")},
      {"bench", "--model", file, "--seconds", "0.01"}};
  for (std::vector<std::string> command : commands) {
    SCOPED_TRACE(command.front());
    EXPECT_THAT(run({command.front(), "--help"}).out, HasSubstr("Limits of files"));
    command.insert(command.end(), {"--max-tensors", std::to_string(tensors - 1)});
    const ChildResult refused = run(command);
    EXPECT_EQ(refused.exit_code, 1);
    // What is wrong with a file is what inspect is asked for.
    EXPECT_THAT(command.front() == "inspect" ? refused.out : refused.err,
                AllOf(HasSubstr("tiny.safetensors': with '"), HasSubstr(fmt::format("it holds {} tensors", tensors)),
                      HasSubstr(fmt::format("more than the limit of {} (--max-tensors)", tensors - 1))));
    command.back() = std::to_string(tensors);
    const ChildResult read = run(command);
    EXPECT_EQ(read.exit_code, 0) << read.err;
  }
}

TEST_F(Apps, EachLimitOfFilesHasAnOption) {
  const std::string file = model();
  const Tensor tensor = Tensor::zeros({2, 3});
  write_pytorch(folder_ / "one.pth", std::vector<std::pair<std::string, ConstTensorView>>{{"a", tensor.view()}});
  expect_failure({"info", file, "--max-header-bytes", "100"}, 1,
                 {"tiny.safetensors': the header is ", "more than the limit of 100 (--max-header-bytes)"});
  expect_failure(
      {"info", file, "--max-nesting", "1"}, 1,
      {"the card of '", "tiny.safetensors' at byte ", "nested 2 deep, more than the limit of 1 (--max-nesting)"});
  expect_failure({"info", path("one.pth"), "--max-memo", "10"}, 1,
                 {"one.pth', 'archive/data.pkl' at byte ", "it has made 11 values", "limit of 10 (--max-memo)"});
  // A member that says of itself that it is deflated, and unpacks to a thousand times its bytes.
  std::string zip;
  const ByteSink sink = [&zip](std::span<const std::byte> part) {
    zip.append(reinterpret_cast<const char*>(part.data()), part.size());
  };
  ZipWriter writer(sink);
  writer.add("a/data.pkl", std::string(4000, 'x'));
  writer.finish();
  const std::size_t entry = zip.find("PK\x01\x02");
  zip[entry + 10] = '\x08';
  zip.replace(entry + 24, 4, std::string("\0\x09\x3d\0", 4));  // to 4,000,000
  folder_.write("bomb.pth", zip);
  expect_failure({"info", path("bomb.pth")}, 1,
                 {"bomb.pth', 'a/data.pkl': with it the archive of ", "unpacks to 4,000,000",
                  "more than the limit of 100 (--max-zip-ratio)"});
  expect_failure({"info", path("bomb.pth"), "--max-zip-ratio", "1032"}, 1, {"bomb.pth' is not a whole zip archive"});
}

TEST_F(Apps, LimitsOfFilesHaveARange) {
  const std::string file = model();
  expect_failure({"info", file, "--max-header-bytes", "0"}, 2, {"--max-header-bytes", "1 to 10000000000"});
  expect_failure({"info", file, "--max-nesting", "2001"}, 2, {"--max-nesting", "1 to 2000"});
  expect_failure({"info", file, "--max-tensors", "-1"}, 2, {"--max-tensors"});
  expect_failure({"info", file, "--max-memo", "many"}, 2, {"--max-memo", "many"});
  expect_failure({"info", file, "--max-zip-ratio", "1033"}, 2, {"--max-zip-ratio", "1 to 1032"});
}

// list and info.

TEST_F(Apps, InitWritesAModelThatVerifies) {
  for (const char* kind : {"formula", "random"}) {
    const json made = run_json({"init", "test_convnext2", "--weights", kind, "--seed", "3", "--dims", "8,16,24,32",
                                "--classes", "5", "--resolution", "64", "--output", path("made.safetensors")});
    EXPECT_EQ(made["architecture"], "test_convnext2");
    const json checked = run_json({"verify", path("made.safetensors")});
    EXPECT_EQ(checked["passed"], true) << kind;
    EXPECT_LT(checked["relative_error"], 1e-6);
    EXPECT_EQ(checked["architecture"], "test_convnext2");
    EXPECT_EQ(checked["file"], path("made.safetensors"));
    EXPECT_EQ(run_json({"info", path("made.safetensors")})["dims"], json({8, 16, 24, 32}));
  }
  const Checkpoint checkpoint = read_checkpoint(folder_ / "made.safetensors");
  EXPECT_EQ(checkpoint.weights.floats("stem.0.weight"),
            random_weights(checkpoint.card.network, 3).floats("stem.0.weight"));
}

TEST_F(Apps, InitIsReproducible) {
  for (const char* name : {"a.safetensors", "b.safetensors"}) {
    EXPECT_EQ(run({"init", "test_convnext", "--weights", "formula", "--seed", "1", "--output", path(name)}).exit_code,
              0);
  }
  EXPECT_EQ(text_of("a.safetensors"), text_of("b.safetensors"));
}

TEST_F(Apps, VerifyTellsAChangedFile) {
  std::string bytes = text_of(fs::path(model()).filename().string());
  bytes[bytes.size() - 1] = static_cast<char>(bytes.back() ^ 0x01);  // the exponent of the last weight
  write_bytes(folder_ / "changed.safetensors", bytes);
  const json result = run_json({"verify", path("changed.safetensors")}, 1);
  EXPECT_EQ(result["passed"], false);
  EXPECT_GT(result["relative_error"], 5e-5);
  EXPECT_THAT(run({"verify", path("changed.safetensors")}).err, HasSubstr("changed.safetensors"));
}

TEST_F(Apps, ConvertKeepsTheModelAndRenewsTheVector) {
  const std::string source = model();
  for (const auto& [dtype, precision] :
       {std::pair("bf16", "bf16"), std::pair("f16", "fp16"), std::pair("f32", "fp32")}) {
    const json made = run_json({"convert", source, "--dtype", dtype, path("out.safetensors")});
    EXPECT_EQ(made["precision"], precision);
    EXPECT_EQ(run_json({"verify", path("out.safetensors")})["passed"], true) << dtype;
    const Checkpoint back = read_checkpoint(folder_ / "out.safetensors");
    EXPECT_EQ(back.card.labels, tiny_card().labels);
    EXPECT_EQ(precision_name(back.weights.at("stem.0.weight").dtype), precision);
  }
  EXPECT_TRUE(text_of("out.safetensors") == text_of("tiny.safetensors")) << "there and back is the same file";
}

// Neither a safetensors file, whose check vector would show it, nor a PyTorch file, which has none.
TEST_F(Apps, ConvertRefusesWeightsThatAreNotFinite) {
  const auto write = [&](const char* name, float value) {
    const Card card = tiny_card();
    WeightStore weights = formula_weights(card.network, 1);
    Tensor bias = Tensor::zeros(weights.at("stem.0.bias").shape);
    bias.values<float>()[1] = value;
    weights.add("stem.0.bias", std::move(bias));
    write_checkpoint(folder_ / name, card, weights);
    return path(name);
  };
  const std::string large = write("large.safetensors", 70000.0f);
  const std::string nan = write("nan.safetensors", std::numeric_limits<float>::quiet_NaN());
  for (const char* output : {"x.safetensors", "x/", "x.pth", "x.pt", "x.bin"}) {
    expect_failure({"convert", large, "--dtype", "f16", path(output)}, 1, {"'stem.0.bias'", "70000", "fp16"});
    for (const char* dtype : {"f32", "f16", "bf16"}) {
      expect_failure({"convert", nan, "--dtype", dtype, path(output)}, 1, {"'stem.0.bias'", "NaN"});
    }
  }
}

TEST_F(Apps, ConvertChangesWhatTheCardSays) {
  run_json({"convert", model(), path("out.safetensors"), "--license", "Apache-2.0", "--crop-mode", "squash"});
  const Card card = read_checkpoint(folder_ / "out.safetensors").card;
  EXPECT_EQ(card.license, "Apache-2.0");
  EXPECT_EQ(card.preprocessing.crop_mode, CropMode::kSquash);
  EXPECT_EQ(run_json({"verify", path("out.safetensors")})["passed"], true);
}

// A PyTorch file holds no card: what only a card could hold is refused, not dropped.
TEST_F(Apps, ConvertToPyTorchRefusesWhatOnlyACardHolds) {
  folder_.write("labels.txt", "a\nb\nc\nd\n");
  const std::string source = path("source.safetensors");
  run_json({"init", "convnext_tiny", "--weights", "formula", "--depths", "1,1,1,1", "--dims", "8,12,16,20", "--classes",
            "4", "--resolution", "64", "--output", source});
  const std::vector<std::string> options[] = {{"--labels", path("labels.txt")},
                                              {"--license", "MIT"},
                                              {"--mean", "0.5"},
                                              {"--std", "0.5"},
                                              {"--resolution", "96"},
                                              {"--crop-fraction", "0.9"},
                                              {"--crop-mode", "squash"},
                                              {"--interpolation", "lanczos"},
                                              {"--pipeline", "torchvision"}};
  for (const std::vector<std::string>& option : options) {
    for (const char* name : {"x.pth", "x.pt", "x.bin"}) {
      std::vector<std::string> command = {"convert", source, path(name)};
      command.insert(command.end(), option.begin(), option.end());
      expect_failure(command, 2, {name, "no card"});
      EXPECT_FALSE(fs::exists(folder_ / name));
    }
  }
  run_json({"convert", source, path("x.pth")});
  expect_failure({"verify", path("x.pth")}, 1, {"x.pth", "holds no card; convert it to safetensors"});
}

TEST_F(Apps, ConvertGivesABareFileItsCard) {
  const WeightStore weights = formula_weights(architecture("test_convnext").network, 1);
  write_safetensors(folder_ / "bare.safetensors", {weights.all().begin(), weights.all().end()}, {});
  EXPECT_EQ(run_json({"convert", path("bare.safetensors"), path("out.safetensors")})["architecture"], "test_convnext");
  EXPECT_EQ(run_json({"verify", path("out.safetensors")})["passed"], true);
  expect_failure({"convert", path("bare.safetensors"), "--architecture", "test_convnext2", path("x.safetensors")}, 1,
                 {"stem.0.weight", "(24, 3, 4, 4)", "(32, 3, 4, 4)"});
  EXPECT_FALSE(fs::exists(folder_ / "x.safetensors"));
}

TEST_F(Apps, ConvertWritesOtherLayoutsAndReadsThemBack) {
  const std::string source = path("source.safetensors");
  run_json({"init", "convnext_tiny", "--weights", "formula", "--depths", "1,1,1,1", "--dims", "8,12,16,20", "--classes",
            "4", "--resolution", "64", "--output", source});
  for (const char* layout : {"own", "timm", "fb", "torchvision", "hf"}) {
    const std::string folder = path(layout) + "/";
    EXPECT_EQ(run_json({"convert", source, folder, "--layout", layout})["layout"], layout);
    EXPECT_EQ(run_json({"verify", folder})["passed"], true) << layout;
    run_json({"convert", folder, path("back.safetensors")});
    EXPECT_TRUE(text_of("back.safetensors") == text_of("source.safetensors")) << layout;
  }
  expect_failure({"convert", model(), path("fb.pth"), "--layout", "fb"}, 1, {"fb", "eps"});
  // The bias of the classifier is that of the moving average, or zeros.
  const std::string training = CONVNEXT_SOURCE_DIR "/tests/goldens/layouts/timm_norm_first.pth.tar";
  for (const bool average : {true, false}) {
    std::vector<std::string> command = {"convert", training, path("out.safetensors")};
    if (!average) command.emplace_back("--no-ema");
    run_json(command);
    EXPECT_EQ(read_checkpoint(folder_ / "out.safetensors").weights.floats("head.fc.bias")[0] == 0.0f, !average);
  }
  expect_failure({"convert", source, path("x.pth"), "--layout", "keras"}, 2, {"keras"});
  EXPECT_FALSE(fs::exists(folder_ / "fb.pth"));
}

// The folder's JSON says how its library prepares pictures, and the card how we do.
TEST_F(Apps, ConvertSaysWhereAFoldersLibraryPreparesPicturesOtherwise) {
  const std::string source = path("source.safetensors");
  run_json({"init", "convnext_tiny", "--depths", "1,1,1,1", "--dims", "8,12,16,20", "--output", source});
  const auto said = [&](const char* layout, const char* pipeline, std::string output) {
    const ChildResult result = run({"convert", source, path(output), "--layout", layout, "--pipeline", pipeline});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  EXPECT_THAT(said("hf", "timm", "hf/"), HasSubstr("with --pipeline transformers they are the same"));
  EXPECT_THAT(said("hf", "transformers", "hf/"), Not(HasSubstr("--pipeline")));
  EXPECT_EQ(read_checkpoint(folder_ / "hf").card.preprocessing.pipeline, PixelPipeline::kTransformers);
  EXPECT_THAT(said("timm", "torchvision", "timm/"), HasSubstr("with --pipeline timm they are the same"));
  EXPECT_THAT(said("timm", "timm", "timm/"), Not(HasSubstr("--pipeline")));
  EXPECT_THAT(said("hf", "timm", "one.safetensors"), Not(HasSubstr("--pipeline")));
}

// Every command that reads a file of weights has it: the two differ in the bias of the classifier.
TEST_F(Apps, NoEmaTakesTheWeightsInEveryCommand) {
  const std::string training = CONVNEXT_SOURCE_DIR "/tests/goldens/layouts/timm_norm_first.pth.tar";
  const std::string picture = CONVNEXT_SOURCE_DIR "/examples/pictures/chelsea.png";
  const std::vector<std::string> commands[] = {{"inspect", training},
                                               {"convert", training, path("out.safetensors")},
                                               {"classify", picture, "--model", training},
                                               {"embed", picture, "--model", training, "--output", path("x.npy")}};
  for (std::vector<std::string> command : commands) {
    const ChildResult average = run(command);
    EXPECT_THAT(average.out + average.err, HasSubstr("took 'state_dict_ema'")) << command[0];
    command.emplace_back("--no-ema");
    const ChildResult weights = run(command);
    EXPECT_EQ(weights.exit_code, 0) << command[0] << ": " << weights.err;
    EXPECT_THAT(weights.out + weights.err, HasSubstr("took 'state_dict' of")) << command[0];
  }
  for (const char* command : {"info", "verify", "quantize", "eval", "run", "bench", "preprocess"}) {
    EXPECT_THAT(run({command, "--help"}).out, HasSubstr("--no-ema")) << command;
  }
  // They differ in the bias of the classifier.
  const auto probability = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {"classify", picture, "--model", training};
    command.insert(command.end(), more.begin(), more.end());
    return run_json(command)[0]["predictions"][0]["probability"].get<double>();
  };
  EXPECT_NE(probability({}), probability({"--no-ema"}));
}

// inspect.

TEST_F(Apps, InspectSaysWhatIsInAFile) {
  const json whole = run_json({"inspect", model(), "--tensors"});
  EXPECT_EQ(whole["whole"], true);
  EXPECT_EQ(whole["kind"], "safetensors");
  EXPECT_EQ(whole["layout"], "timm");
  EXPECT_EQ(whole["architecture"], "test_convnext2");
  EXPECT_EQ(whole["has_card"], true);
  EXPECT_EQ(whole["types"]["F32"]["tensors"], whole["tensors"]);
  EXPECT_EQ(whole["tensor_list"].size(), whole["tensors"]);
  for (const char* list : {"missing", "misshaped", "unexpected", "not_finite", "problems"}) {
    EXPECT_TRUE(whole[list].empty()) << list;
  }
  const auto shown = run({"inspect", model()});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_THAT(shown.out, testing::AllOf(HasSubstr("test_convnext2"), HasSubstr("the card in the file"),
                                        HasSubstr("a whole model")));
}

TEST_F(Apps, InspectEndsWithOneForWhatIsNoWholeModel) {
  WeightStore weights = formula_weights(architecture("test_convnext").network, 1);
  weights.add("head.norm.bias", Tensor::zeros({3}));
  Tensor spoilt = Tensor::zeros({24});
  spoilt.values<float>()[0] = std::numeric_limits<float>::infinity();
  weights.add("stem.0.bias", std::move(spoilt));
  write_safetensors(folder_ / "bare.safetensors", {weights.all().begin(), weights.all().end()}, {});
  const json broken = run_json({"inspect", path("bare.safetensors")}, 1);
  EXPECT_EQ(broken["whole"], false);
  EXPECT_EQ(broken["misshaped"][0]["key"], "head.norm.bias");
  EXPECT_EQ(broken["misshaped"][0]["found"], json({3}));
  EXPECT_EQ(broken["misshaped"][0]["expected"], json({64}));
  EXPECT_EQ(broken["not_finite"][0]["key"], "stem.0.bias");
  EXPECT_EQ(broken["not_finite"][0]["infinities"], 1);
  write_bytes(folder_ / "letter.pth", "Dear reader,");
  const json letter = run_json({"inspect", path("letter.pth")}, 1);
  EXPECT_THAT(letter["problems"][0].get<std::string>(), HasSubstr("letter.pth"));
  EXPECT_EQ(letter["kind"], nullptr);
}

TEST_F(Apps, ValuesThatHalfPrecisionCannotHoldAreNotWritten) {
  Card card = tiny_card();
  WeightStore weights = formula_weights(card.network, 1);
  Tensor bias = Tensor::zeros({4});
  bias.values<float>()[0] = 1e6f;
  weights.add("head.fc.bias", std::move(bias));
  write_checkpoint(folder_ / "large.safetensors", card, weights);
  expect_failure({"convert", path("large.safetensors"), "--dtype", "f16", path("x.safetensors")}, 1,
                 {"fp16", "infinity", "head.fc.bias"});
}

// classify, embed, eval.

}  // namespace
}  // namespace convnext
