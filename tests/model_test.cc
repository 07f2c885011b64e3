// Configs, cards, formula weights and model files.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/safetensors.h"
#include "model/card.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/formula.h"
#include "model/tensors.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Config.

ConvNextConfig with(const NetworkOverrides& overrides) {
  return std::get<ConvNextConfig>(with_overrides(architecture("convnext_tiny").network, overrides));
}

TEST(Config, OverridesReplaceAndKeepTheRest) {
  const ConvNextConfig config = with({.depths = std::vector<int>{2, 4},
                                      .dims = std::vector<int>{64, 128},
                                      .kernel_sizes = std::vector<int>{5},
                                      .patch_size = 2,
                                      .classes = 10,
                                      .input_channels = 1});
  EXPECT_THAT(config.depths, testing::ElementsAre(2, 4));
  EXPECT_THAT(config.dims, testing::ElementsAre(64, 128));
  EXPECT_THAT(config.kernel_sizes, testing::ElementsAre(5, 5));
  EXPECT_EQ(config.patch_size, 2);
  EXPECT_EQ(config.classes, 10);
  EXPECT_EQ(config.input_channels, 1);
  EXPECT_TRUE(config.layer_scale);
  // Fewer stages keep the kernel.
  EXPECT_THAT(with({.depths = std::vector<int>{2},
                    .dims = std::vector<int>{64},
                    .kernel_sizes = {},
                    .patch_size = {},
                    .classes = {},
                    .input_channels = {}})
                  .kernel_sizes,
              testing::ElementsAre(7));
}

TEST(Config, WhatNoNetworkCanHaveIsRefused) {
  const auto refused = [](const auto& change) {
    ConvNextConfig config = std::get<ConvNextConfig>(architecture("convnext_tiny").network);
    change(config);
    EXPECT_THROW(validate(config), Error);
  };
  refused([](auto& c) { c.depths = {}; });
  refused([](auto& c) { c.depths = {3, 3, 9}; });
  refused([](auto& c) { c.depths[1] = 0; });
  refused([](auto& c) { c.depths[1] = -3; });
  refused([](auto& c) { c.depths[1] = 257; });
  refused([](auto& c) { c.depths = c.dims = c.kernel_sizes = {1, 1, 1, 1, 1}; });
  refused([](auto& c) { c.dims[0] = 0; });
  refused([](auto& c) { c.dims[0] = 16385; });
  refused([](auto& c) { c.kernel_sizes[3] = 6; });
  refused([](auto& c) { c.kernel_sizes[3] = 33; });
  refused([](auto& c) { c.kernel_sizes[3] = -1; });
  refused([](auto& c) { c.patch_size = 0; });
  refused([](auto& c) { c.patch_size = 65; });
  refused([](auto& c) { c.classes = -1; });
  refused([](auto& c) { c.classes = 1'000'001; });
  refused([](auto& c) { c.input_channels = 0; });
  refused([](auto& c) { c.input_channels = 65; });
  refused([](auto& c) { c.norm_eps = -1.0; });
  refused([](auto& c) { c.norm_eps = 1e-50; });  // nothing in float32
  refused([](auto& c) { c.norm_eps = std::numeric_limits<double>::quiet_NaN(); });
  refused([](auto& c) { c.head_norm_eps = -1.0; });
  refused([](auto& c) { c.head = Head::kMlp; });  // without head_hidden
}

TEST(Config, ARefusalNamesFieldAndValue) {
  expect_error(ErrorCode::kInvalidArgument, {"kernel", "6"}, [] {
    with({.depths = {},
          .dims = {},
          .kernel_sizes = std::vector<int>{6},
          .patch_size = {},
          .classes = {},
          .input_channels = {}});
  });
  expect_error(ErrorCode::kInvalidArgument, {"patch", "overlap"}, [] {
    with_overrides(
        architecture("convnext_nano_ols").network,
        {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = 2, .classes = {}, .input_channels = {}});
  });
}

// timm's make_divisible(width / 2, 8), which never loses more than a tenth.
TEST(Config, WidthInsideATieredStem) {
  const auto middle = [](const char* name) { return stem_width(std::get<ConvNextConfig>(architecture(name).network)); };
  EXPECT_EQ(middle("convnext_atto_ols"), 24);
  EXPECT_EQ(middle("convnext_femto_ols"), 24);
  EXPECT_EQ(middle("convnext_pico_ols"), 32);
  EXPECT_EQ(middle("convnext_nano_ols"), 80);
}

// Card.

Card full_card() {
  Card card = tiny_card();
  card.preprocessing = {.resolution = 48,
                        .mean = {0.1f, 0.2f, 0.3f},
                        .std = {0.4f, 0.5f, 0.6f},
                        .interpolation = Interpolation::kLanczos,
                        .crop_fraction = 0.9,
                        .crop_mode = CropMode::kBorder,
                        .pipeline = PixelPipeline::kTransformers};
  card.labels = {"tabby, \"tiger\"", "Hündin", "", "\n"};
  card.precision = "bf16";
  card.license = "Apache-2.0";
  card.training = R"({"epochs":12,"data":"CIFAR-10"})";
  card.check = CheckVector{.width = 60, .height = 48, .seed = ~std::uint64_t{0}, .logits = {1.5f, -0.1f, 3e-39f}};
  return card;
}

TEST(Card, ComesBackAsItWas) {
  const Card card = full_card();
  const Card back = card_from_json(card_to_json(card), "test");
  EXPECT_EQ(back.architecture, card.architecture);
  EXPECT_EQ(back.network, card.network);
  EXPECT_EQ(back.preprocessing, card.preprocessing);
  EXPECT_EQ(back.labels, card.labels);
  EXPECT_EQ(back.precision, card.precision);
  EXPECT_EQ(back.license, card.license);
  EXPECT_EQ(Json::parse(back.training), Json::parse(card.training));
  EXPECT_EQ(back.check, card.check);
  EXPECT_EQ(card_to_json(back), card_to_json(card));
}

TEST(Card, OfEveryRegisteredNetworkComesBack) {
  for (const RegistryEntry& entry : registry()) {
    Card card;
    card.architecture = entry.name;
    card.network = entry.network;
    card.preprocessing = entry.preprocessing;
    EXPECT_TRUE(Json::parse(card_to_json(card))["network"].empty()) << entry.name;
    const Card back = card_from_json(card_to_json(card), "test");
    EXPECT_EQ(back.network, entry.network) << entry.name;
    EXPECT_EQ(back.preprocessing, entry.preprocessing) << entry.name;
  }
}

// Every field of a network other than the registered one travels.
TEST(Card, EveryFieldOfAFreeNetworkComesBack) {
  Card card;
  card.architecture = "convnext_tiny";
  card.network = ConvNextConfig{.depths = {1},
                                .dims = {16},
                                .kernel_sizes = {3},
                                .patch_size = 2,
                                .input_channels = 5,
                                .classes = 7,
                                .stem = Stem::kOverlapTiered,
                                .stem_norm = false,
                                .norm = Norm::kRmsNorm,
                                .norm_eps = 1e-3,
                                .head_norm_eps = 1e-12,
                                .activation = Activation::kSilu,
                                .conv_mlp = true,
                                .layer_scale = false,
                                .grn = true,
                                .head = Head::kMlp,
                                .head_hidden = 9};
  EXPECT_EQ(card_from_json(card_to_json(card), "test").network, card.network);
}

struct WrongCard {
  const char* name;
  const char* pointer;  // RFC 6901: which value is replaced
  const char* value;
  ErrorCode code;
  const char* message;
};

class WrongCardTest : public testing::TestWithParam<WrongCard> {};

TEST_P(WrongCardTest, IsRefusedWithThePlace) {
  Json json = Json::parse(card_to_json(full_card()));
  json[Json::json_pointer(GetParam().pointer)] = Json::parse(GetParam().value);
  expect_error(GetParam().code, {"'file'", GetParam().message}, [&] { card_from_json(json.dump(), "file"); });
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongCardTest,
    testing::Values(
        WrongCard{"UnknownMember", "/extra", "1", ErrorCode::kDamaged, "extra"},
        WrongCard{"UnknownNetworkMember", "/network/depht", "[1]", ErrorCode::kDamaged, "depht"},
        WrongCard{"DepthsOfText", "/network/depths", "[\"3\"]", ErrorCode::kDamaged, "depths"},
        WrongCard{"DepthsTooLarge", "/network/depths", "[4294967297, 1]", ErrorCode::kDamaged, "depths"},
        WrongCard{"ClassesOfAFraction", "/network/classes", "2.5", ErrorCode::kDamaged, "classes"},
        WrongCard{"FlagOfANumber", "/network/grn", "1", ErrorCode::kDamaged, "grn"},
        WrongCard{"UnknownNorm", "/network/norm", "\"batch_norm\"", ErrorCode::kUnsupported, "batch_norm"},
        WrongCard{"NetworkOfAList", "/network", "[]", ErrorCode::kDamaged, "network"},
        WrongCard{"ResolutionOfZero", "/preprocessing/resolution", "0", ErrorCode::kDamaged, "resolution"},
        WrongCard{"ResolutionOfAMillion", "/preprocessing/resolution", "1000000", ErrorCode::kDamaged, "resolution"},
        WrongCard{"TwoMeans", "/preprocessing/mean", "[0.5, 0.5]", ErrorCode::kDamaged, "mean"},
        WrongCard{"DeviationOfZero", "/preprocessing/std", "[0.2, 0, 0.2]", ErrorCode::kDamaged, "deviation"},
        WrongCard{"CropFractionOfTwo", "/preprocessing/crop_fraction", "2", ErrorCode::kDamaged, "crop fraction"},
        WrongCard{"LabelsOfNumbers", "/labels", "[1, 2, 3, 4]", ErrorCode::kDamaged, "labels"},
        WrongCard{"TooFewLabels", "/labels", "[\"cat\"]", ErrorCode::kMismatch, "1 labels for 4 classes"},
        WrongCard{"CheckWithoutLogits", "/check/logits", "[]", ErrorCode::kDamaged, "check"},
        WrongCard{"CheckOfAHugePicture", "/check/width", "60000", ErrorCode::kDamaged, "check"},
        WrongCard{"CheckOfANegativeSeed", "/check/seed", "-1", ErrorCode::kDamaged, "seed"}),
    [](const auto& info) { return info.param.name; });

TEST(Card, WhatIsNoCardIsRefused) {
  for (const char* text :
       {"", "{", "[]", "null", "\"convnext_tiny\"", "{\"architecture\": 3}", "{\"x\": 1e999}", "{}"}) {
    expect_error(ErrorCode::kDamaged, {"'file'"}, [&] { card_from_json(text, "file"); });
  }
  expect_error(ErrorCode::kNotFound, {"convnext_huge"},
               [] { card_from_json(R"({"architecture": "convnext_huge"})", "file"); });
  expect_error(ErrorCode::kInvalidArgument, {"depth"}, [] {
    card_from_json(R"({"architecture": "convnext_tiny", "network": {"depths": [0, 1, 1, 1]}})", "f");
  });
}

// Formula.

TEST(Formula, ValuesDependOnNameAndSeedAndNothingElse) {
  const TensorSpec spec = {"stem.0.weight", {8, 3, 4, 4}, TensorRole::kWeight};
  TensorSpec renamed = spec;
  renamed.name = "stem.1.weight";
  const auto bytes = [](const Tensor& tensor) { return std::vector(tensor.bytes().begin(), tensor.bytes().end()); };
  const Tensor tensor = formula_tensor(spec, 1);
  EXPECT_EQ(bytes(tensor), bytes(formula_tensor(spec, 1)));
  EXPECT_NE(bytes(tensor), bytes(formula_tensor(spec, 2)));
  EXPECT_NE(bytes(tensor), bytes(formula_tensor(renamed, 1)));
}

TEST(Formula, RangesOfTheRoles) {
  const auto range = [](TensorRole role, Shape shape) {
    const Tensor tensor = formula_tensor({"x", std::move(shape), role}, 1);
    const auto [low, high] = std::ranges::minmax(tensor.values<float>());
    return std::pair(low, high);
  };
  const auto near = [](std::pair<float, float> values, float low, float high) {
    const float tolerance = 0.01f * (high - low);
    EXPECT_GE(values.first, low);
    EXPECT_LE(values.first, low + tolerance);
    EXPECT_LE(values.second, high);
    EXPECT_GE(values.second, high - tolerance);
  };
  near(range(TensorRole::kWeight, {100, 48}), -0.25f, 0.25f);  // sqrt(3 / 48)
  near(range(TensorRole::kBias, {4000}), -0.25f, 0.25f);
  near(range(TensorRole::kNormWeight, {4000}), 0.75f, 1.25f);
  near(range(TensorRole::kNormBias, {4000}), -0.25f, 0.25f);
  near(range(TensorRole::kLayerScale, {4000}), 0.25f, 0.75f);
  near(range(TensorRole::kGrnWeight, {4000}), -0.5f, 0.5f);
}

void expect_random_weights(WeightInit init, double (*deviation_of)(const Shape&)) {
  const NetworkConfig config = tiny_card().network;
  const WeightStore weights = random_weights(config, 7, {.weights = init, .layer_scale = 1e-6f, .head_scale = 0.5f});
  check_weights(weights, config, "random");
  for (const TensorSpec& spec : tensor_specs(config)) {
    const std::vector<float> values = weights.floats(spec.name);
    if (spec.role == TensorRole::kWeight) {
      double sum = 0.0, squares = 0.0;
      for (const float value : values) sum += value, squares += double{value} * value;
      const double n = static_cast<double>(values.size());
      const double deviation = deviation_of(spec.shape) * (spec.name == "head.fc.weight" ? 0.5 : 1.0);
      EXPECT_NEAR(sum / n, 0.0, 5 * deviation / std::sqrt(n)) << spec.name;
      EXPECT_NEAR(std::sqrt(squares / n), deviation, 5 * deviation / std::sqrt(2 * n)) << spec.name;
    } else {
      const float expected = spec.role == TensorRole::kNormWeight   ? 1.0f
                             : spec.role == TensorRole::kLayerScale ? 1e-6f
                                                                    : 0.0f;
      EXPECT_THAT(values, testing::Each(expected)) << spec.name;
    }
  }
}

TEST(RandomWeights, AreThePublishedInitialisation) {
  expect_random_weights(WeightInit::kPublished, [](const Shape&) { return 0.02; });
}

TEST(RandomWeights, KeepTheSizeOfASignalWhenScaledByTheirInputs) {
  expect_random_weights(WeightInit::kFanIn, [](const Shape& shape) {
    double inputs = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) inputs *= static_cast<double>(shape[i]);
    return 1 / std::sqrt(inputs);
  });
}

TEST(FormulaPicture, HasTheDocumentedPixels) {
  const Image picture = formula_picture(40, 24, 1);
  EXPECT_EQ(picture.width, 40);
  EXPECT_EQ(picture.height, 24);
  ASSERT_EQ(picture.pixels.size(), std::size_t{40 * 24 * 3});
  EXPECT_EQ(picture.pixels, formula_picture(40, 24, 1).pixels);
  EXPECT_NE(picture.pixels, formula_picture(40, 24, 2).pixels);
}

// Model files.

class CheckpointTest : public testing::Test {
 protected:
  // A file without our card, as timm writes it.
  fs::path write_bare(const WeightStore& weights) {
    std::map<std::string, ConstTensorView> tensors(weights.all().begin(), weights.all().end());
    write_safetensors(folder_ / "bare.safetensors", tensors, {{"format", "pt"}});
    return folder_ / "bare.safetensors";
  }

  TemporaryFolder folder_;
};

TEST_F(CheckpointTest, OneFileIsAWholeModel) {
  const fs::path file = write_tiny_model(folder_ / "model.safetensors");
  const Checkpoint checkpoint = read_checkpoint(file);
  EXPECT_TRUE(checkpoint.has_card);
  EXPECT_EQ(checkpoint.path, file);
  EXPECT_EQ(checkpoint.card.network, tiny_card().network);
  EXPECT_EQ(checkpoint.card.labels, tiny_card().labels);
  ASSERT_TRUE(checkpoint.card.check);
  const WeightStore expected = formula_weights(tiny_card().network, 1);
  for (const auto& [name, view] : expected.all()) EXPECT_EQ(checkpoint.weights.floats(name), expected.floats(name));
  // A folder means its model.safetensors, and a matching --architecture is no contradiction.
  EXPECT_EQ(read_checkpoint(folder_.path(), "test_convnext2").path, file);
}

TEST_F(CheckpointTest, EqualModelsAreEqualBytes) {
  write_tiny_model(folder_ / "a.safetensors");
  write_tiny_model(folder_ / "b.safetensors");
  const auto bytes = [](const fs::path& path) {
    const MappedFile file = MappedFile::open(path);
    return std::vector(file.bytes().begin(), file.bytes().end());
  };
  EXPECT_EQ(bytes(folder_ / "a.safetensors"), bytes(folder_ / "b.safetensors"));
}

// Without it transformers refuses a file.
TEST_F(CheckpointTest, MetadataSayThatTheFormatIsPyTorchs) {
  const SafetensorsFile file = SafetensorsFile::open(write_tiny_model(folder_ / "model.safetensors"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().size(), 2u);
}

TEST_F(CheckpointTest, ACardThatContradictsTheArchitectureIsAnError) {
  const fs::path file = write_tiny_model(folder_ / "model.safetensors");
  expect_error(ErrorCode::kMismatch, {"test_convnext2", "leave the name convnext_tiny out"},
               [&] { read_checkpoint(file, "convnext_tiny"); });
}

TEST_F(CheckpointTest, AFolderWithoutAModelIsNamed) {
  expect_error(ErrorCode::kNotFound, {folder_.path().string(), "model.safetensors"},
               [&] { read_checkpoint(folder_.path()); });
}

TEST_F(CheckpointTest, TimmsFileTakesItsClassesAndChannelsFromTheTensors) {
  NetworkConfig config = architecture("test_convnext").network;
  config = with_overrides(
      config, {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = {}, .classes = 37, .input_channels = 5});
  WeightStore weights = formula_weights(config, 1);
  weights.add("bn.num_batches_tracked", Tensor::zeros({1}, DType::kI64));  // an integer buffer is no weight
  const fs::path file = write_bare(weights);
  for (const char* name : {"", "test_convnext"}) {
    const Checkpoint checkpoint = read_checkpoint(file, name);
    EXPECT_FALSE(checkpoint.has_card);
    EXPECT_EQ(checkpoint.card.architecture, "test_convnext");
    EXPECT_EQ(class_count(checkpoint.card.network), 37);
    EXPECT_EQ(input_channels(checkpoint.card.network), 5);
    EXPECT_EQ(checkpoint.card.preprocessing, architecture("test_convnext").preprocessing);
    EXPECT_EQ(checkpoint.weights.all().size(), tensor_specs(config).size());
  }
}

TEST_F(CheckpointTest, WithoutAClassifierThereAreNoClasses) {
  NetworkConfig config = architecture("test_convnext").network;
  set_class_count(config, 0);
  const Checkpoint checkpoint = read_checkpoint(write_bare(formula_weights(config, 1)), "test_convnext");
  EXPECT_EQ(class_count(checkpoint.card.network), 0);
}

TEST_F(CheckpointTest, TheFirstTensorThatDoesNotFitIsNamedWithBothShapes) {
  const fs::path file = write_bare(formula_weights(architecture("test_convnext").network, 1));
  expect_error(ErrorCode::kMismatch,
               {"bare.safetensors", "stem.0.weight", "(24, 3, 4, 4)", "(32, 3, 4, 4)", "its dims are 24,32,48,64",
                "the nearest is test_convnext: try --architecture test_convnext, or none"},
               [&] { read_checkpoint(file, "test_convnext2"); });
}

TEST_F(CheckpointTest, AMissingOrForeignTensorIsNamed) {
  const NetworkConfig config = architecture("test_convnext").network;
  WeightStore all = formula_weights(config, 1), fewer;
  for (const auto& [name, view] : all.all()) {
    if (name != "stages.1.blocks.0.norm.bias") fewer.add(name, view, nullptr);
  }
  expect_error(ErrorCode::kMismatch, {"stages.1.blocks.0.norm.bias", "(32,)"},
               [&] { read_checkpoint(write_bare(fewer), "test_convnext"); });
  all.add("head.extra.weight", Tensor::zeros({2, 3}));
  expect_error(ErrorCode::kMismatch, {"head.extra.weight", "(2, 3)"},
               [&] { read_checkpoint(write_bare(all), "test_convnext"); });
}

TEST_F(CheckpointTest, AHeadOfAnyShapeIsRefusedOrRead) {
  for (const Shape& shape : {Shape{}, Shape{0, 64}, Shape{2'000'000, 0}, Shape{5}, Shape{5, 64, 1}}) {
    WeightStore weights = formula_weights(architecture("test_convnext").network, 1);
    weights.add("head.fc.weight", Tensor::zeros(shape));
    EXPECT_THROW(read_checkpoint(write_bare(weights), "test_convnext"), Error) << to_string(shape);
  }
}

TEST_F(CheckpointTest, ACardThatIsDamagedNamesTheFile) {
  const WeightStore weights = formula_weights(tiny_card().network, 1);
  std::map<std::string, ConstTensorView> tensors(weights.all().begin(), weights.all().end());
  write_safetensors(folder_ / "bad.safetensors", tensors, {{std::string(kCardKey), "{]"}});
  expect_error(ErrorCode::kDamaged, {"bad.safetensors", "card"}, [&] { read_checkpoint(folder_ / "bad.safetensors"); });
}

TEST_F(CheckpointTest, WeightsOfAnotherNetworkAreNotWritten) {
  Card card = tiny_card();
  const WeightStore weights = formula_weights(card.network, 1);
  set_class_count(card.network, 5);
  EXPECT_THROW(write_checkpoint(folder_ / "model.safetensors", card, weights), Error);
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(CheckpointTest, HalfPrecisionKeepsNamesAndShapesAndRounds) {
  const Card card = tiny_card();
  const WeightStore weights = formula_weights(card.network, 1);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const WeightStore half = converted(weights, dtype);
    check_weights(half, card.network, "half");
    EXPECT_EQ(half.bytes() * 2, weights.bytes());
    const double bound = dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;  // half a unit in the last place
    for (const auto& [name, view] : weights.all()) {
      const std::vector<float> exact = weights.floats(name), rounded = half.floats(name);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        ASSERT_NEAR(rounded[i], exact[i], bound * std::abs(exact[i]) + 1e-7) << name;
      }
    }
  }
  EXPECT_THROW(converted(weights, DType::kI8), Error);
}

TEST_F(CheckpointTest, WeightsThatWouldBecomeInfinitiesAreNotConverted) {
  const auto with = [](float value) {
    WeightStore weights = formula_weights(tiny_card().network, 1);
    Tensor bias = Tensor::zeros(weights.at("stem.0.bias").shape);
    bias.values<float>()[1] = value;
    weights.add("stem.0.bias", std::move(bias));
    return weights;
  };
  const auto refused = [&](ErrorCode code, float value, DType dtype, const std::string& text) {
    expect_error(code, {"'stem.0.bias'", text}, [&] { converted(with(value), dtype); });
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    refused(ErrorCode::kDamaged, std::numeric_limits<float>::quiet_NaN(), dtype, "NaN");
    refused(ErrorCode::kDamaged, -kInfinity, dtype, "infinity");
    EXPECT_NO_THROW(converted(with(65504.0f), dtype));
  }
  refused(ErrorCode::kUnsupported, -70000.0f, DType::kF16, "-70000");
  refused(ErrorCode::kUnsupported, 65520.0f, DType::kF16, "65520");  // rounds to an infinity; 65519 to 65504
  EXPECT_NO_THROW(converted(with(65519.0f), DType::kF16));
  EXPECT_NO_THROW(converted(with(70000.0f), DType::kBF16));
  refused(ErrorCode::kUnsupported, std::numeric_limits<float>::max(), DType::kBF16, "3.40282e+38");
  WeightStore doubles = with(1.0f);
  Tensor bias = Tensor::zeros(doubles.at("stem.0.bias").shape, DType::kF64);
  bias.values<double>()[0] = 1e39;
  doubles.add("stem.0.bias", std::move(bias));
  expect_error(ErrorCode::kUnsupported, {"'stem.0.bias'", "1e+39", "fp32"}, [&] { converted(doubles, DType::kF32); });
}

// Which file --model means.

class FindModelFile : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    fs::create_directories(folder_ / "here/models");
    fs::current_path(folder_ / "here");
    ::setenv("CONVNEXT_MODELS", (folder_ / "listed").c_str(), 1);
  }
  void TearDown() override {
    fs::current_path(before_);
    ::unsetenv("CONVNEXT_MODELS");
  }

  fs::path find(std::string_view model) const { return find_model_file(model, folder_ / "installed"); }

  TemporaryFolder folder_;
  fs::path before_;
};

TEST_F(FindModelFile, IsLookedForInOrder) {
  write_bytes(folder_ / "installed/cat.safetensors", "");
  EXPECT_EQ(find("cat"), folder_ / "installed/cat.safetensors");
  write_bytes(folder_ / "here/models/cat.safetensors", "");
  EXPECT_EQ(find("cat"), fs::path("models/cat.safetensors"));
  write_bytes(folder_ / "listed/cat.safetensors", "");
  EXPECT_EQ(find("cat"), folder_ / "listed/cat.safetensors");
  EXPECT_EQ(find("cat.safetensors"), folder_ / "listed/cat.safetensors");
  write_bytes(folder_ / "here/cat", "");
  EXPECT_EQ(find("cat"), fs::path("cat"));
}

TEST_F(FindModelFile, SaysWhereItLooked) {
  expect_error(ErrorCode::kNotFound, {"'cat'", "listed", "models", "installed"}, [&] { find("cat"); });
  expect_error(ErrorCode::kInvalidArgument, {"empty"}, [&] { find(""); });
}

TEST_F(FindModelFile, TheNameOfAnArchitectureIsNotAFile) {
  expect_error(ErrorCode::kNotFound, {"architecture", "weights", "convnext_tiny.fb_in1k"},
               [&] { find("convnext_tiny"); });
}

}  // namespace
}  // namespace convnext
