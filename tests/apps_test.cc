// The program `convnext` from outside: output, JSON, exit codes, and what bad input does to it.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "child_process.h"
#include "convnext/model.h"
#include "core/progress.h"
#include "engine/backend.h"
#include "io/npy.h"
#include "io/pytorch.h"
#include "io/safetensors.h"
#include "io/zip_archive.h"
#include "model/detector_registry.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tensor_compare.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Apps : public testing::Test {
 protected:
  // `convnext` with these arguments, in the test's own folder. Whatever is asked for ends in time.
  ChildResult run(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) {
    arguments.insert(arguments.begin(), program_);
    environment.emplace("CONVNEXT_MODELS", (folder_ / "no-models").string());
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = environment});
    EXPECT_FALSE(result.timed_out);
    EXPECT_NE(result.exit_code, -1) << "ended by a signal: " << result.err;
    return result;
  }

  // Must succeed; standard output must be one JSON document.
  json run_json(std::vector<std::string> arguments, int exit_code = 0) {
    arguments.push_back("--json");
    const ChildResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_TRUE(json::accept(result.out)) << result.out;
    return json::parse(result.out, nullptr, false);
  }

  // Fails with this exit code, a message that has all texts, nothing on standard output, and no new file.
  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, StartsWith("convnext: "));
    for (const std::string& text : texts) EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_LT(result.err.size(), 2000u);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }

  // The tiny model under this name.
  std::string model(std::string_view name = "tiny.safetensors", const Card& card = tiny_card()) {
    return write_tiny_model(folder_ / name, card).string();
  }

  // A picture under this name, of which no two seeds are equal.
  std::string picture(std::string_view name, std::uint64_t seed = 1) {
    write_picture(folder_ / name, formula_picture(40, 30, seed));
    return path(name);
  }

  std::string text_of(std::string_view name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  TemporaryFolder folder_;
  std::string program_ = CONVNEXT_PROGRAM;
};

// Help, version, usage.

TEST_F(Apps, HelpListsTheCommandsAndNoneThatIsNotThere) {
  const ChildResult help = run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command : {"list", "info", "init", "verify", "convert", "inspect", "classify", "embed", "eval",
                              "coco-eval", "preprocess", "run", "bench", "quantize"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
    const ChildResult own = run({command, "--help"});
    EXPECT_EQ(own.exit_code, 0);
    const std::string example = std::string(": convnext ") + command;
    EXPECT_THAT(own.out, testing::AnyOf(HasSubstr("Example" + example), HasSubstr("Examples" + example))) << command;
  }
  for (const char* later : {"serve", "explain", "segment"}) {
    EXPECT_THAT(help.out, Not(HasSubstr(later)));
  }
}

TEST_F(Apps, VersionIsTheProjects) {
  const ChildResult version = run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out, "convnext " CONVNEXT_VERSION "\n");
}

TEST_F(Apps, WrongUsageIsExitCodeTwo) {
  expect_failure({}, 2, {"subcommand"});
  expect_failure({"clasify"}, 2, {"clasify"});
  expect_failure({"info"}, 2, {"MODEL"});
  expect_failure({"info", "convnext_tiny", "--resolutoin", "3"}, 2, {"--resolutoin"});
  expect_failure({"info", "convnext_tiny", "--resolution", "many"}, 2, {"many"});
  expect_failure({"info", "convnext_tiny", "--resolution", "0"}, 2, {"--resolution"});
  expect_failure({"init", "convnext_atto"}, 2, {"--output"});
  expect_failure({"init", "convnext_atto", "--weights", "lucky", "--output", "x.safetensors"}, 2, {"lucky"});
  expect_failure({"classify"}, 2, {"PICTURE"});
  expect_failure({"classify", "x.png", "--top-k", "0"}, 2, {"--top-k"});
  expect_failure({"classify", "x.png", "--threads", "0"}, 2, {"--threads"});
  expect_failure({"classify", "x.png", "--device", "tpu"}, 2, {"tpu"});
}

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

TEST_F(Apps, InfoCountsADetectorAsPapersDo) {
  const json info = run_json({"info", "mask_rcnn_convnext_tiny", "--resolution", "1280x800"});
  EXPECT_NEAR(info["gmac"].get<double>(), 261.9, 0.05);
  EXPECT_NEAR(info["params"].get<double>() / 1e6, 48.10, 0.005);
  EXPECT_EQ(info["width"], 1280);
  EXPECT_EQ(info["height"], 800);
  EXPECT_EQ(info["backbone"], "convnext_tiny");
  EXPECT_EQ(info["parts"].size(), 5u);
  EXPECT_EQ(info["detector"]["box_head"], "linears");
  EXPECT_EQ(run_json({"info", "mask_rcnn_convnext_tiny"}), info);
  EXPECT_THAT(run({"info", "cascade_mask_rcnn_convnext_tiny"}).out, AllOf(HasSubstr("740."), HasSubstr("50.4")));

  const json other = run_json({"info", "mask_rcnn_convnext_tiny", "--resolution", "640x480", "--classes", "6"});
  EXPECT_LT(other["gmac"], 200);
  EXPECT_EQ(other["params"].get<std::int64_t>(), info["params"].get<std::int64_t>() - 74 * (5 * 1025 + 257));
  expect_failure({"info", "mask_rcnn_convnext_tiny", "--classes", "0"}, 2, {"classes", "0"});
  expect_failure({"info", "mask_rcnn_convnext_tiny", "--depths", "1,1,1,1"}, 2, {"--classes"});
  expect_failure({"info", "mask_rcnn_convnext_tiny", "--resolution", "1280x"}, 2, {"1280x", "WIDTHxHEIGHT"});
  expect_failure({"info", "convnext_tiny", "--resolution", "1280x800"}, 2, {"square"});
}

TEST_F(Apps, ListGivesEveryNetworkAndFilters) {
  const json all = run_json({"list"});
  ASSERT_TRUE(all.is_array());
  EXPECT_EQ(all.size(), registry().size() + detectors().size());
  EXPECT_EQ(all[0]["name"], registry()[0].name);
  for (const char* field : {"family", "params", "gmac", "resolution", "classes"}) EXPECT_TRUE(all[0].contains(field));

  const json isotropic = run_json({"list", "isotropic"});
  EXPECT_EQ(isotropic.size(), 3u);
  EXPECT_EQ(run_json({"list", "convnextv2_*"}).size(), 9u);
  EXPECT_THAT(run({"list", "convnext_tiny"}).out, AllOf(HasSubstr("28,589,128"), HasSubstr("4.456")));
  const ChildResult none = run({"list", "alexnet"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("alexnet"));

  std::size_t listed = 0;
  for (const char* family : {"convnext", "convnextv2", "convnext_isotropic", "dinov3_convnext", "resnet", "regnet",
                             "efficientnet", "vision_transformer", "swin", "roadmap"}) {
    const json rows = run_json({"list", "--family", family});
    for (const json& row : rows) EXPECT_EQ(row["family"], family);
    listed += rows.size();
  }
  EXPECT_EQ(listed, registry().size());
  const json some = run_json({"list", "cascade", "--family", "detector"});
  EXPECT_EQ(some.size(), 9u);
  for (const json& row : some) EXPECT_GT(row["gmac"], 700) << row["name"];
  EXPECT_EQ(run_json({"list", "tiny", "--family", "swin"}).size(), 1u);
  EXPECT_THAT(run({"list", "atto", "--family", "swin"}).err, HasSubstr("family swin"));
  expect_failure({"list", "--family", "mlp"}, 2, {"mlp", "vision_transformer"});
  for (const json& row : run_json({"list", "--published", "--family", "swin"})) {
    EXPECT_THAT(row["name"].get<std::string>(), HasSubstr("swin_"));
  }
}

// The counts are those of other tests; here they are where one looks for them.
TEST_F(Apps, InfoOfTheOtherFamilies) {
  struct Expected {
    const char* name;
    std::int64_t params;
    std::vector<const char*> own_fields;
    std::size_t stages;
    bool has_attention;
  };
  const Expected networks[] = {
      {"resnet50", 25'557'032, {"depths", "dims", "stem", "block", "groups", "norm"}, 4, false},
      {"regnety_040", 20'646'656, {"depths", "dims", "group_width", "se_ratio"}, 4, false},
      {"efficientnet_b0", 5'288'548, {"blocks", "kernel_sizes", "same_padding", "norm_eps"}, 7, false},
      {"deit_small_patch16_224", 22'050'664, {"depth", "dim", "heads", "grid_height", "distilled"}, 1, true},
      {"swin_tiny_patch4_window7_224", 28'288'354, {"depths", "dims", "heads", "windows"}, 4, true}};
  for (const Expected& network : networks) {
    SCOPED_TRACE(network.name);
    const json info = run_json({"info", network.name});
    EXPECT_EQ(info["params"], network.params);
    for (const char* field : network.own_fields) EXPECT_TRUE(info.contains(field)) << field;
    for (const char* field : {"layer_scale", "grn", "head_norm_eps"}) EXPECT_FALSE(info.contains(field)) << field;
    for (const char* field :
         {"gmac", "gmac_with_norms", "resolution", "classes", "input_channels", "head_params", "head_gmac",
          "weight_bytes", "peak_activation_bytes", "preprocessing", "published_top1"}) {
      EXPECT_TRUE(info.contains(field)) << field;
    }
    EXPECT_EQ(info["stages"].size(), network.stages);
    EXPECT_EQ(info.contains("gmac_attention"), network.has_attention);
    EXPECT_EQ(info["weight_bytes"], 4 * info["params"].get<std::int64_t>());
    EXPECT_EQ(info["published_top1"], *architecture(network.name).top1);
    const std::string text = run({"info", network.name}).out;
    EXPECT_THAT(text, AllOf(HasSubstr(format_count(network.params)), HasSubstr("head, 1000 classes")));
    EXPECT_EQ(text.find("products of attention") != std::string::npos, network.has_attention);
  }
  EXPECT_EQ(run_json({"info", "resnet50", "--classes", "10"})["params"], 25'557'032 - 990 * 2049);
  EXPECT_EQ(run_json({"info", "resnet50", "--depths", "1,1,1,1"})["depths"], json({1, 1, 1, 1}));
  expect_failure({"info", "swin_tiny_patch4_window7_224", "--kernel-size", "5"}, 2, {"kernel"});
}

TEST_F(Apps, InfoOfARegisteredName) {
  const json info = run_json({"info", "convnext_tiny"});
  EXPECT_EQ(info["name"], "convnext_tiny");
  EXPECT_EQ(info["family"], "convnext");
  EXPECT_EQ(info["params"], 28589128);
  EXPECT_NEAR(info["gmac"], 4.455531264, 1e-9);
  EXPECT_NEAR(info["gmac_with_norms"], 4.470399744, 1e-9);
  EXPECT_EQ(info["resolution"], 224);
  EXPECT_EQ(info["classes"], 1000);
  EXPECT_EQ(info["input_channels"], 3);
  EXPECT_EQ(info["depths"], json({3, 3, 9, 3}));
  EXPECT_EQ(info["dims"], json({96, 192, 384, 768}));
  ASSERT_EQ(info["stages"].size(), 4u);
  EXPECT_EQ(info["stages"][2]["depth"], 9);
  EXPECT_EQ(info["stages"][2]["dim"], 384);
  EXPECT_EQ(info["stages"][2]["height"], 14);
  EXPECT_EQ(info["stages"][2]["width"], 14);
  EXPECT_TRUE(info["stages"][2].contains("params"));
  EXPECT_TRUE(info["stages"][2].contains("gmac"));
  EXPECT_EQ(info["weight_bytes"], 4 * 28589128);
  EXPECT_GT(info["peak_activation_bytes"], 0);
  EXPECT_EQ(info["published_top1"], 82.066);
  EXPECT_EQ(info["published_weights"], "fb_in1k");
  EXPECT_EQ(info["preprocessing"]["crop_fraction"], 0.875);
  EXPECT_THAT(run({"info", "convnext_tiny"}).out, AllOf(HasSubstr("28,589,128"), HasSubstr("14x14")));
}

TEST_F(Apps, InfoFollowsResolutionClassesAndFreeNetworks) {
  EXPECT_NEAR(run_json({"info", "convnext_tiny", "--resolution", "384"})["gmac"], 13.092, 5e-4);
  EXPECT_EQ(run_json({"info", "convnext_tiny", "--classes", "21841"})["params"], 44615857);
  const json free =
      run_json({"info", "convnext_atto", "--depths", "2,4,2,1", "--dims", "64,128,256,256", "--kernel-size", "5",
                "--patch-size", "2", "--classes", "10", "--input-channels", "1", "--resolution", "32"});
  EXPECT_EQ(free["depths"], json({2, 4, 2, 1}));
  EXPECT_EQ(free["kernel_sizes"], json({5, 5, 5, 5}));
  EXPECT_EQ(free["stages"][0]["height"], 16);
  EXPECT_EQ(free["input_channels"], 1);
  EXPECT_FALSE(free.contains("published_top1"));  // of another network
  // An alias is the network's name.
  EXPECT_EQ(run_json({"info", "convnext_iso_small"})["name"], "convnext_isotropic_small");
}

TEST_F(Apps, InfoOfAFile) {
  const json info = run_json({"info", model()});
  EXPECT_EQ(info["name"], "test_convnext2");
  EXPECT_EQ(info["classes"], 4);
  EXPECT_EQ(info["resolution"], 32);
  EXPECT_EQ(info["labels"], json({"cat", "dog", "ship", "truck"}));
  EXPECT_EQ(info["weight_bytes"], 4 * info["params"].get<int>());
  EXPECT_EQ(info["has_check_vector"], true);
  EXPECT_THAT(run({"info", path("tiny.safetensors")}).out, HasSubstr("cat, dog, ship, truck"));
  expect_failure({"info", path("tiny.safetensors"), "--depths", "1,1"}, 2, {"tiny.safetensors", "--depths"});
}

TEST_F(Apps, UnknownNamesOfferTheNearest) {
  expect_failure({"info", "convnext_tinny"}, 2, {"convnext_tinny", "convnext_tiny"});
  expect_failure({"init", "convnxt_atto", "--output", path("x.safetensors")}, 2, {"convnext_atto"});
  const std::string file = picture("cat.png");
  expect_failure({"classify", file, "--model", "convnext_tinny"}, 2, {"convnext_tinny", "convnext_tiny", "no-models"});
  expect_failure({"classify", file, "--model", model(), "--architecture", "convnext_tinny"}, 2, {"convnext_tiny"});
  expect_failure({"preprocess", file, "--model", "convnext_tinny", "--output", path("x.npy")}, 2, {"convnext_tiny"});
}

TEST_F(Apps, AnArchitectureIsNoModelWhereWeightsAreNeeded) {
  const std::string file = picture("cat.png");
  expect_failure({"classify", file, "--model", "convnext_tiny"}, 2, {"architecture", "convnext_tiny.fb_in1k"});
  expect_failure({"verify", "convnext_tiny"}, 2, {"architecture"});
  expect_failure({"convert", "convnext_tiny", path("x.safetensors")}, 2, {"architecture"});
}

TEST_F(Apps, NetworksThatCannotBeAreWrongUsage) {
  expect_failure({"info", "convnext_tiny", "--depths", "3,3"}, 2, {"dims", "2 stages"});
  expect_failure({"info", "convnext_tiny", "--depths", "3,x,9,3"}, 2, {"--depths", "3,x,9,3"});
  expect_failure({"info", "convnext_tiny", "--depths", "3,3,9,"}, 2, {"--depths"});
  expect_failure({"info", "convnext_tiny", "--dims", "99999999999,1,1,1"}, 2, {"--dims"});
  expect_failure({"info", "convnext_tiny", "--kernel-size", "6"}, 2, {"kernel"});
  expect_failure({"info", "convnext_tiny", "--classes", "-1"}, 2, {"class"});
  expect_failure({"info", "convnext_nano_ols", "--patch-size", "2"}, 2, {"patch"});
  expect_failure({"info", "convnext_tiny", "--resolution", "16"}, 1, {"16x16", "too small"});
}

// init, verify, convert.

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

TEST_F(Apps, ClassifyGivesAListOfPredictions) {
  const std::string file = picture("cat.png");
  const json list = run_json({"classify", file, "--model", model(), "--top-k", "3"});
  ASSERT_TRUE(list.is_array());
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["file"], file);
  ASSERT_EQ(list[0]["predictions"].size(), 3u);
  const auto expected = Model::load(path("tiny.safetensors")).classify(Image::open(file), 3);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(list[0]["predictions"][i]["label"], expected[i].label);
    EXPECT_EQ(list[0]["predictions"][i]["index"], expected[i].index);
    EXPECT_NEAR(list[0]["predictions"][i]["probability"], expected[i].probability, 1e-6);
  }
  const ChildResult text = run({"classify", file, "--model", path("tiny.safetensors")});
  EXPECT_THAT(text.out, AllOf(HasSubstr("cat.png"), HasSubstr(expected[0].label), HasSubstr("%")));
  EXPECT_THAT(text.out, Not(HasSubstr("\x1b")));  // no colours where there is no terminal
  EXPECT_THAT(text.err, IsEmpty());
}

// Pictures of a folder and its folders, in the order of names; a bad one is skipped, counted, and shows at the end.
TEST_F(Apps, ClassifyWalksFoldersAndSkipsWhatIsBad) {
  for (int i = 0; i < 20; ++i) picture("in/b/" + std::to_string(10 + i) + ".png", static_cast<std::uint64_t>(i));
  picture("in/a.png");
  write_bytes(folder_ / "in/b/bad.jpg", "this is no picture");
  const json list = run_json({"classify", path("in"), "--model", model()}, 1);
  ASSERT_EQ(list.size(), 22u);
  EXPECT_EQ(list[0]["file"], path("in/a.png"));
  EXPECT_EQ(list[21]["file"], path("in/b/bad.jpg"));
  EXPECT_THAT(list[21]["error"].get<std::string>(), HasSubstr("bad.jpg"));
  EXPECT_FALSE(list[21].contains("predictions"));
  for (int i = 0; i < 21; ++i) EXPECT_TRUE(list[i].contains("predictions"));
  // What is in the batch does not matter.
  const json alone = run_json({"classify", path("in/b/15.png"), "--model", path("tiny.safetensors")});
  EXPECT_EQ(alone[0]["predictions"][0]["label"], list[6]["predictions"][0]["label"]);

  const ChildResult text = run({"classify", path("in"), "--model", path("tiny.safetensors")});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.err, AllOf(HasSubstr("bad.jpg"), HasSubstr("1 of 22 pictures")));
  EXPECT_THAT(text.out, HasSubstr("29.png"));
}

TEST_F(Apps, LabelsAndNamesOfAnyBytesMakeValidJson) {
  Card card = tiny_card();
  card.labels = {"\"quoted\"", "new\nline", "Wäsche", "tab\t"};
  const std::string file = picture("\xff\xfe.png");
  EXPECT_EQ(run_json({"classify", file, "--model", model("odd.safetensors", card)})[0]["predictions"].size(), 4u);
}

TEST_F(Apps, WithoutAModelTheShippedOneIsUsedAndSaid) {
  model("shelf/convnext_cifar10.safetensors");
  const std::string file = picture("cat.png");
  const ChildResult result = run({"classify", file}, {{"CONVNEXT_MODELS", path("shelf")}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("convnext_cifar10"));
  EXPECT_THAT(result.out, HasSubstr("cat.png"));
  // By name, and then nothing is said.
  const ChildResult named =
      run({"classify", file, "--model", "convnext_cifar10"}, {{"CONVNEXT_MODELS", path("shelf")}});
  EXPECT_EQ(named.out, result.out);
  EXPECT_THAT(named.err, IsEmpty());
  expect_failure({"classify", file, "--architecture", "convnext_tiny"}, 2, {"--architecture", "--model"});
}

TEST_F(Apps, EmbedWritesRowsAndTheirNames) {
  picture("in/1.png", 1);
  picture("in/2.png", 2);
  write_bytes(folder_ / "in/3.png", "");
  picture("in/4.png", 4);
  const json summary = run_json({"embed", path("in"), "--model", model(), "--output", path("f.npy")}, 1);
  EXPECT_EQ(summary["pictures"], 3);
  EXPECT_EQ(summary["failed"], 1);
  EXPECT_EQ(summary["channels"], 16);
  EXPECT_EQ(text_of("f.txt"), path("in/1.png") + "\n" + path("in/2.png") + "\n" + path("in/4.png") + "\n");

  const Tensor rows = read_npy(folder_ / "f.npy");
  ASSERT_EQ(rows.shape(), (Shape{3, 16}));
  const Model loaded = Model::load(path("tiny.safetensors"));
  EXPECT_TRUE(tensors_close(rows.values<float>().subspan(32, 16), loaded.embed(Image::open(path("in/4.png"))),
                            {.relative = 1e-6, .largest = 1e-6}));

  EXPECT_EQ(run({"embed", path("in/1.png"), "--model", path("tiny.safetensors"), "--l2", "--output", path("l2.npy")})
                .exit_code,
            0);
  double norm = 0.0;
  const Tensor unit = read_npy(folder_ / "l2.npy");
  for (const float value : unit.values<float>()) norm += double{value} * value;
  EXPECT_NEAR(norm, 1.0, 1e-6);
}

TEST_F(Apps, EmbedOfNothingWritesNothing) {
  const std::string file = model();
  write_bytes(folder_ / "bad.jpg", "no");
  expect_failure({"embed", path("bad.jpg"), "--model", file, "--output", path("f.npy")}, 1, {"bad.jpg", "none of"});
  expect_failure({"embed", path("bad.jpg"), "--model", file, "--output", path("f.txt")}, 2, {".npy"});
}

// Two pictures of a class whose folder is right and one whose folder is not.
TEST_F(Apps, EvalMeasuresWhatTheModelSays) {
  const std::string file = model();
  const Model loaded = Model::load(file);
  std::map<std::string, std::vector<std::uint64_t>> seeds_of;  // by what the model takes the picture for
  for (std::uint64_t seed = 1; seed < 40; ++seed) {
    seeds_of[loaded.classify(formula_picture(40, 30, seed), 1)[0].label].push_back(seed);
  }
  const auto& [label, seeds] =
      *std::ranges::max_element(seeds_of, {}, [](const auto& one) { return one.second.size(); });
  ASSERT_GE(seeds.size(), 3u);
  const std::string other = label == "cat" ? "dog" : "cat";
  picture("data/val/" + label + "/1.png", seeds[0]);
  picture("data/val/" + label + "/2.png", seeds[1]);
  picture("data/val/" + other + "/3.png", seeds[2]);
  picture("data/test/nonsense/x.png");  // val comes first

  const json result = run_json({"eval", path("data"), "--model", file});
  EXPECT_NEAR(result["top1"], 200.0 / 3, 1e-9);
  EXPECT_EQ(result["top5"], 100.0);  // of four classes
  EXPECT_EQ(result["pictures"], 3);
  EXPECT_EQ(result["failed"], 0);
  EXPECT_GT(result["loss"], 0.0);
  ASSERT_EQ(result["per_class"].size(), 2u);
  for (const json& row : result["per_class"]) {
    EXPECT_EQ(row["pictures"], row["label"] == label ? 2 : 1);
    EXPECT_EQ(row["correct"], row["label"] == label ? 2 : 0);
    EXPECT_EQ(row["top1"], row["label"] == label ? 100.0 : 0.0);
  }
  // Neither the batch nor the threads change anything.
  const json again = run_json({"eval", path("data/val"), "--model", file, "--batch-size", "1", "--threads", "1"});
  EXPECT_EQ(again["top1"], result["top1"]);
  EXPECT_NEAR(again["loss"], result["loss"], 1e-6);
  EXPECT_THAT(run({"eval", path("data"), "--model", file}).out, AllOf(HasSubstr("66.67 %"), HasSubstr(label)));

  // Against itself nothing differs, and int8 is near.
  const json same = run_json({"eval", path("data"), "--model", file, "--against", "fp32"})["against"];
  EXPECT_EQ(same["top1"], result["top1"]);
  EXPECT_EQ(same["agreement"], 100.0);
  EXPECT_NEAR(same["cosine"], 1.0, 1e-12);
  if (available_isas().front() != "scalar") {
    const json int8 = run_json({"eval", path("data"), "--model", file, "--against", "int8"})["against"];
    EXPECT_EQ(int8["precision"], "int8");
    EXPECT_GT(int8["cosine"], 0.99);
    EXPECT_LT(int8["cosine"], 1.0 - 1e-9);
  }

  write_bytes(folder_ / "data/val/cat/bad.png", "no");
  const json with_bad = run_json({"eval", path("data"), "--model", file}, 1);
  EXPECT_EQ(with_bad["failed"], 1);
  EXPECT_EQ(with_bad["pictures"], 3);
}

TEST_F(Apps, EvalMatchesClassesByMapAndByIndex) {
  const std::string file = model();
  picture("data/kitten/1.png", 1);
  picture("data/puppy/2.png", 2);
  expect_failure({"eval", path("data"), "--model", file}, 1, {"kitten", "'cat'", "--class-map"});
  write_bytes(folder_ / "map.txt", "kitten cat\npuppy 1\n");
  const json mapped = run_json({"eval", path("data"), "--model", file, "--class-map", path("map.txt")});
  EXPECT_EQ(mapped["per_class"][0]["label"], "cat");
  EXPECT_EQ(mapped["per_class"][1]["label"], "dog");
  expect_failure({"eval", path("data"), "--model", file, "--class-map", path("map.txt"), "--by-index"}, 2,
                 {"--by-index", "--class-map"});
  expect_failure({"eval", path("data"), "--model", file, "--by-index"}, 1, {"2 class folders", "4 classes"});
  picture("data/x/3.png", 3);
  picture("data/y/4.png", 4);
  EXPECT_EQ(run_json({"eval", path("data"), "--model", file, "--by-index"})["per_class"].size(), 4u);
}

TEST_F(Apps, EvalNeedsPicturesInEveryClass) {
  const std::string file = model();
  expect_failure({"eval", path("missing"), "--model", file}, 1, {"missing"});
  picture("data/cat/1.png");
  fs::create_directory(folder_ / "data/dog");
  expect_failure({"eval", path("data"), "--model", file}, 1, {"data/dog", "no pictures"});
  fs::create_directory(folder_ / "empty");
  expect_failure({"eval", path("empty"), "--model", file}, 1, {"empty", "no class folders"});
  write_bytes(folder_ / "broken/cat/1.png", "no");
  expect_failure({"eval", path("broken"), "--model", file}, 1, {"1.png", "none of the 1 pictures"});
}

// preprocess and run: the two by which others check us.

TEST_F(Apps, PreprocessAndRunAreTheStepsOfClassify) {
  const std::string file = model(), cat = picture("cat.png");
  EXPECT_EQ(run({"preprocess", cat, "--model", file, "--output", path("x.npy")}).exit_code, 0);
  const Tensor x = read_npy(folder_ / "x.npy");
  ASSERT_EQ(x.shape(), (Shape{1, 3, 32, 32}));
  const Model loaded = Model::load(file);
  const Tensor expected = loaded.preprocess(Image::open(cat));
  EXPECT_TRUE(std::ranges::equal(x.values<float>(), expected.values<float>()));

  const json summary = run_json(
      {"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy"), "--features", path("maps")});
  EXPECT_EQ(summary["shape"], json({1, 4}));
  const Tensor y = read_npy(folder_ / "y.npy");
  EXPECT_EQ(loaded.predictions(y.values<float>(), 1)[0].label, loaded.classify(Image::open(cat), 1)[0].label);
  const std::vector<Tensor> features = loaded.features(Image::open(cat));
  for (std::size_t i = 0; i < 2; ++i) {
    const Tensor map = read_npy(folder_ / ("maps.stage" + std::to_string(i) + ".npy"));
    EXPECT_EQ(map.shape(), features[i].shape());
    EXPECT_TRUE(tensors_close(map.values<float>(), features[i].values<float>()));
  }
  EXPECT_FALSE(fs::exists(folder_ / "maps.stage2.npy"));
}

TEST_F(Apps, PreprocessTakesARegisteredName) {
  const std::string cat = picture("cat.png");
  EXPECT_EQ(run({"preprocess", cat, "--model", "convnext_tiny", "--output", path("x.npy")}).exit_code, 0);
  const Tensor x = read_npy(folder_ / "x.npy");
  const Tensor expected = preprocess(Image::open(cat), architecture("convnext_tiny").preprocessing);
  EXPECT_TRUE(std::ranges::equal(x.values<float>(), expected.values<float>()));
}

TEST_F(Apps, RunWithoutAClassifierGivesThePooledFeatures) {
  Card card = tiny_card();
  card.labels.clear();
  set_class_count(card.network, 0);
  const std::string file = model("features.safetensors", card);
  write_npy(folder_ / "x.npy", formula_input("x", {2, 3, 32, 32}, 1).view());
  EXPECT_EQ(run({"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy")}).exit_code, 0);
  EXPECT_EQ(read_npy(folder_ / "y.npy").shape(), (Shape{2, 16}));
  expect_failure({"classify", picture("cat.png"), "--model", file}, 1, {"no classifier", "embed"});
}

TEST_F(Apps, RunRefusesTensorsThatDoNotFit) {
  const std::string file = model();
  const auto refused = [&](const Tensor& tensor, const std::vector<std::string>& texts) {
    write_npy(folder_ / "x.npy", tensor.view());
    expect_failure({"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy")}, 1, texts);
  };
  refused(Tensor::zeros({1, 3, 32, 32}, DType::kF64), {"x.npy", "F64", "float32"});
  refused(Tensor::zeros({3, 32, 32}), {"x.npy", "(3, 32, 32)"});
  refused(Tensor::zeros({1, 1, 32, 32}), {"1 channels", "takes 3"});
  refused(Tensor::zeros({1, 3, 4, 4}), {"4 x 4"});
  write_bytes(folder_ / "x.npy", "not an array");
  expect_failure({"run", "--model", file, "--input", path("x.npy"), "--output", path("y.npy")}, 1, {"x.npy"});
  expect_failure({"run", "--input", path("x.npy"), "--output", path("y.npy")}, 2, {"--model"});
}

TEST_F(Apps, AModelOfOtherChannelsTakesNoPictures) {
  Card card = tiny_card();
  card.network = with_overrides(
      card.network,
      {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = {}, .classes = {}, .input_channels = 5});
  const std::string file = model("five.safetensors", card), cat = picture("cat.png");
  expect_failure({"classify", cat, "--model", file}, 1, {"takes 5"});
  expect_failure({"embed", cat, "--model", file, "--output", path("f.npy")}, 1, {"takes 5"});
  expect_failure({"preprocess", cat, "--model", file, "--output", path("x.npy")}, 1, {"5 channels"});
}

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
