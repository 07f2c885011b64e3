// The program `convnext` from outside: help, names, and commands on pictures, with their output, JSON and exit codes.
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps_fixture.h"
#include "child_process.h"
#include "convnext/model.h"
#include "core/progress.h"
#include "io/npy.h"
#include "model/detector_registry.h"
#include "pictures.h"
#include "tensor_compare.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

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

}  // namespace
}  // namespace convnext
