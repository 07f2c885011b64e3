// The public interface: Model, Context, and the check vector of a model file.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <cmath>

#include "convnext/convnext.h"
#include "engine/verify.h"
#include "expect_error.h"
#include "io/safetensors.h"
#include "temporary_folder.h"
#include "tensor_compare.h"
#include "tiny_model.h"

namespace convnext {
namespace {

class ModelTest : public testing::Test {
 protected:
  Model load(const Card& card = tiny_card()) {
    return Model::load(write_tiny_model(folder_ / "model.safetensors", card));
  }

  TemporaryFolder folder_;
  const Image picture_ = formula_picture(50, 40, 3);
};

TEST_F(ModelTest, SaysWhatItIs) {
  const Model model = load();
  EXPECT_EQ(model.architecture(), "test_convnext2");
  EXPECT_EQ(model.classes(), 4);
  EXPECT_EQ(model.input_channels(), 3);
  EXPECT_EQ(model.labels(), tiny_card().labels);
  EXPECT_EQ(model.preprocessing().resolution, 32);
  EXPECT_FALSE(model.isa().empty());
  EXPECT_GT(model.weight_bytes(), 0u);
}

TEST_F(ModelTest, TakesTheLimitsOfFiles) {
  const std::string file = write_tiny_model(folder_ / "model.safetensors").string();
  expect_error(ErrorCode::kUnsupported, {"model.safetensors': with '", "more than the limit of 3 (--max-tensors)"},
               [&] { Model::load(file, {.file_limits = {.max_tensors = 3}}); });
  EXPECT_EQ(Model::load(file, {.file_limits = {.max_tensors = 100}}).classes(), 4);
}

TEST_F(ModelTest, ClassifiesBestFirst) {
  const Model model = load();
  const std::vector<Prediction> all = model.classify(picture_, 99);
  ASSERT_EQ(all.size(), 4u);
  float sum = 0.0f;
  for (std::size_t i = 0; i < all.size(); ++i) {
    sum += all[i].probability;
    EXPECT_EQ(all[i].label, model.labels()[static_cast<std::size_t>(all[i].index)]);
    EXPECT_LE(all[i].probability, all[i > 0 ? i - 1 : 0].probability);
  }
  EXPECT_NEAR(sum, 1.0f, 1e-6f);
  EXPECT_EQ(model.classify(picture_, 1).size(), 1u);
  EXPECT_EQ(model.classify(picture_, 1)[0].index, all[0].index);
}

TEST_F(ModelTest, WithoutLabelsClassesHaveNumbers) {
  Card card = tiny_card();
  card.labels.clear();
  const Prediction best = load(card).classify(picture_, 1).front();
  EXPECT_EQ(best.label, "class " + std::to_string(best.index));
}

// The short forms are the steps they are made of.
TEST_F(ModelTest, ShortFormsEqualTheirSteps) {
  const Model model = load();
  const Tensor input = model.preprocess(picture_);
  EXPECT_EQ(input.shape(), (Shape{3, 32, 32}));
  Context context(model, 2);
  const Outputs outputs = model.run(input.view(), context, {.logits = true, .pooled = true, .stages = true});
  EXPECT_EQ(outputs.logits.shape(), (Shape{1, 4}));
  EXPECT_EQ(outputs.pooled.shape(), (Shape{1, 16}));
  ASSERT_EQ(outputs.stages.size(), 2u);
  EXPECT_EQ(outputs.stages[0].shape(), (Shape{1, 8, 8, 8}));
  EXPECT_EQ(outputs.stages[1].shape(), (Shape{1, 16, 4, 4}));

  const std::vector<Prediction> best = model.predictions(outputs.logits.values<float>(), 4);
  const std::vector<Prediction> direct = model.classify(picture_, 4);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(best[i].index, direct[i].index);
    EXPECT_NEAR(best[i].probability, direct[i].probability, 1e-6f);
  }
  EXPECT_TRUE(tensors_close(model.embed(picture_), outputs.pooled.values<float>()));
  const std::vector<Tensor> features = model.features(picture_);
  ASSERT_EQ(features.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(tensors_close(features[i].values<float>(), outputs.stages[i].values<float>()));
  }
}

TEST_F(ModelTest, GivesOnlyWhatIsWanted) {
  const Model model = load();
  Context context(model, 1);
  const Tensor input = formula_input("input", {1, 3, 32, 32}, 1);
  const Outputs pooled = model.run(input.view(), context, {.logits = false, .pooled = true, .stages = false});
  EXPECT_EQ(pooled.logits.count(), Tensor().count());
  EXPECT_EQ(pooled.pooled.shape(), (Shape{1, 16}));
  EXPECT_TRUE(pooled.stages.empty());
}

// A picture's outputs do not depend on what shares its batch, on the resolution of an earlier call, or on the context.
TEST_F(ModelTest, OutputsDoNotDependOnTheBatchOrOnEarlierCalls) {
  const Model model = load();
  const Tensor batch = formula_input("input", {5, 3, 32, 32}, 1);
  Context context(model, 2);
  const Tensor larger = formula_input("larger", {2, 3, 64, 48}, 1);
  model.run(larger.view(), context);
  const Outputs together = model.run(batch.view(), context);
  ASSERT_EQ(together.logits.shape(), (Shape{5, 4}));
  for (std::size_t i = 0; i < 5; ++i) {
    ConstTensorView one = batch.view();
    one.shape[0] = 1;
    one.strides = contiguous_strides(one.shape);
    one.data += i * 3 * 32 * 32 * sizeof(float);
    Context own(model, 1);
    EXPECT_TRUE(tensors_close(model.run(one, own).logits.values<float>(),
                              together.logits.values<float>().subspan(i * 4, 4), {.relative = 1e-6, .largest = 1e-6}));
  }
}

TEST_F(ModelTest, AnEmptyBatchGivesEmptyOutputs) {
  const Model model = load();
  Context context(model, 1);
  EXPECT_EQ(model.run(Tensor::zeros({0, 3, 32, 32}).view(), context).logits.shape(), (Shape{0, 4}));
}

// A picture that is given without the axis of the batch is a batch of one.
TEST_F(ModelTest, RunsOnePictureAsItRunsABatchOfOne) {
  const Model model = load();
  Context context(model, 1);
  Tensor input = formula_input("input", {1, 3, 32, 32}, 1);
  const Outputs batch = model.run(input.view(), context);
  ConstTensorView one = input.view();
  one.shape = {3, 32, 32};
  one.strides = contiguous_strides(one.shape);
  const Outputs single = model.run(one, context);
  EXPECT_EQ(single.logits.shape(), (Shape{1, 4}));
  EXPECT_TRUE(tensors_close(single.logits.values<float>(), batch.logits.values<float>()));
}

// More pictures than the library takes in a batch, of many sizes: each answer is in its place.
TEST_F(ModelTest, AnswersForManyPicturesInTheirOrder) {
  const Model model = load();
  std::vector<Image> pictures;
  for (int i = 0; i < 37; ++i) pictures.push_back(formula_picture(40 + i, 60 - i, static_cast<std::uint64_t>(i)));
  Context context(model, 3);
  const auto predictions = model.classify(pictures, context, 4);
  const Tensor embeddings = model.embed(pictures, context);
  const std::vector<Tensor> features = model.features(pictures, context);
  ASSERT_EQ(predictions.size(), pictures.size());
  ASSERT_EQ(embeddings.shape(), (Shape{37, 16}));
  ASSERT_EQ(features.size(), 2u);
  EXPECT_EQ(features[0].shape(), (Shape{37, 8, 8, 8}));
  EXPECT_EQ(features[1].shape(), (Shape{37, 16, 4, 4}));
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::vector<Prediction> alone = model.classify(pictures[i], context, 4);
    ASSERT_EQ(predictions[i].size(), 4u);
    for (std::size_t place = 0; place < 4; ++place) {
      EXPECT_EQ(predictions[i][place].index, alone[place].index) << i;
      EXPECT_NEAR(predictions[i][place].probability, alone[place].probability, 1e-6f);
    }
    EXPECT_TRUE(tensors_close(embeddings.values<float>().subspan(i * 16, 16), model.embed(pictures[i], context)));
    const std::vector<Tensor> maps = model.features(pictures[i], context);
    for (std::size_t stage = 0; stage < 2; ++stage) {
      const std::size_t size = stage == 0 ? 8 * 8 * 8 : 16 * 4 * 4;
      EXPECT_TRUE(tensors_close(features[stage].values<float>().subspan(i * size, size), maps[stage].values<float>()));
    }
  }
}

TEST_F(ModelTest, NoPicturesGiveNoAnswers) {
  const Model model = load();
  EXPECT_TRUE(model.classify(std::span<const Image>()).empty());
  EXPECT_EQ(model.embed(std::span<const Image>()).shape(), (Shape{0, 16}));
  EXPECT_EQ(model.features(std::span<const Image>()).at(1).shape(), (Shape{0, 16, 4, 4}));
}

TEST_F(ModelTest, APictureThatIsNoneEndsTheWholeBatch) {
  const Model model = load();
  std::vector<Image> pictures(3, picture_);
  pictures[1] = Image();
  expect_error(ErrorCode::kInvalidArgument, {"0 x 0"}, [&] { model.embed(pictures); });
  pictures[1] = Image{.width = 50, .height = 40, .pixels = std::vector<std::uint8_t>(50 * 40 * 3 - 1)};
  expect_error(ErrorCode::kInvalidArgument, {}, [&] { model.embed(pictures); });
}

TEST_F(ModelTest, TellsTheShapesOfItsOutputsBeforehand) {
  const Model model = load();
  EXPECT_EQ(model.embedding_channels(), 16);
  EXPECT_EQ(model.stages(), 2);
  EXPECT_EQ(model.feature_shapes(64, 48), (std::vector<Shape>{{8, 16, 12}, {16, 8, 6}}));
  Context context(model, 1);
  const Outputs outputs =
      model.run(Tensor::zeros({1, 3, 64, 48}).view(), context, {.logits = false, .pooled = false, .stages = true});
  EXPECT_EQ(outputs.stages[1].shape(), (Shape{1, 16, 8, 6}));
  expect_error(ErrorCode::kInvalidArgument, {"7 x 48"}, [&] { model.feature_shapes(7, 48); });
}

// What LoadOptions asks for.

TEST_F(ModelTest, LoadsWithTheThreadsThatItIsTold) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  EXPECT_EQ(Model::load(file, {.threads = 3}).pool().threads(), 3);
  EXPECT_EQ(Model::load(file).pool().threads(), available_threads());
  const auto pool = std::make_shared<ThreadPool>(2);
  const Model model = Model::load(file, {.pool = pool});
  EXPECT_EQ(&model.pool(), pool.get());
  EXPECT_EQ(&Context(model).pool(), pool.get());
  EXPECT_EQ(Context(model, 5).pool().threads(), 5);
  expect_error(ErrorCode::kInvalidArgument, {"threads is -1"}, [&] { Model::load(file, {.threads = -1}); });
}

// A context keeps the threads that it has from a model.
TEST_F(ModelTest, AContextOutlivesItsModel) {
  std::optional<Model> first = load();
  const Model second = load();
  Context context(*first);
  first.reset();
  EXPECT_EQ(second.embed(picture_, context).size(), 16u);
}

TEST_F(ModelTest, ComputesInThePrecisionThatItIsTold) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  EXPECT_EQ(Model::load(file).precision(), Precision::kFp32);
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    try {
      const Model model = Model::load(file, {.precision = precision});
      EXPECT_EQ(model.precision(), precision);
      EXPECT_EQ(model.embed(picture_).size(), 16u);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string(name_of(precision))));
      EXPECT_NE(precision, Precision::kFp32);
      EXPECT_EQ(Model::load(file).isa(), "scalar");
    }
  }
}

TEST(PrecisionNames, AreReadBack) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(precision_from_name(name_of(precision)), precision);
  }
  expect_error(ErrorCode::kInvalidArgument, {"fp8", "fp32", "bf16", "int8"}, [] { precision_from_name("fp8"); });
}

TEST_F(ModelTest, TellsOfTheProgressOfLoading) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  std::vector<double> parts;
  Model::load(file, {.progress = [&](double part) { parts.push_back(part); }});
  ASSERT_GE(parts.size(), 2u);
  EXPECT_EQ(parts.front(), 0.0);
  EXPECT_EQ(parts.back(), 1.0);
  EXPECT_TRUE(std::ranges::is_sorted(parts));
}

TEST_F(ModelTest, LoadingStopsWhereProgressThrows) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  struct Enough {};
  for (const double stop : {0.0, 1.0}) {
    EXPECT_THROW(Model::load(file, {.progress =
                                        [stop](double part) {
                                          if (part >= stop) throw Enough();
                                        }}),
                 Enough);
  }
}

// A file with something beside the network, which a person should hear of.
TEST_F(ModelTest, SaysWhatItPassedOverInAFile) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  std::vector<std::string> lines;
  const LoadOptions options = {.log = [&](std::string_view line) { lines.emplace_back(line); }};
  Model::load(file, options);
  EXPECT_THAT(lines, testing::IsEmpty());

  const SafetensorsFile whole = SafetensorsFile::open(file);
  auto tensors = whole.tensors();
  const Tensor count = Tensor::zeros({1}, DType::kI64);
  tensors.emplace("decoder.weight", count.view());
  write_safetensors(folder_ / "more.safetensors", tensors, whole.metadata());
  Model::load(folder_ / "more.safetensors", options);
  EXPECT_THAT(lines, testing::ElementsAre(testing::HasSubstr("decoder.weight")));
}

// What the programs accept as --model.
TEST_F(ModelTest, IsFoundAsAFolderAndByName) {
  write_tiny_model(folder_ / "model.safetensors");
  EXPECT_EQ(Model::load(folder_.path()).classes(), 4);
  ASSERT_EQ(setenv("CONVNEXT_MODELS", folder_.path().c_str(), 1), 0);
  EXPECT_EQ(Model::load("model").classes(), 4);
  EXPECT_EQ(Model::load("model.safetensors").classes(), 4);
  expect_error(ErrorCode::kNotFound, {"'no_such'", folder_.path().string()}, [] { Model::load("no_such"); });
  expect_error(ErrorCode::kNotFound, {"name of an architecture", "convnext_tiny.fb_in1k"},
               [] { Model::load("convnext_tiny"); });
  unsetenv("CONVNEXT_MODELS");
}

TEST(ImageFromRgb, CopiesRowsWithTheirStride) {
  const std::vector<std::uint8_t> padded = {1, 2, 3, 4, 5, 6, 99, 7, 8, 9, 10, 11, 12};
  const Image image = Image::from_rgb(std::as_bytes(std::span(padded)), 2, 2, 7);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.height, 2);
  EXPECT_THAT(image.pixels, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  const Image dense = Image::from_rgb(std::as_bytes(std::span(image.pixels)), 2, 2);
  EXPECT_EQ(dense.pixels, image.pixels);
}

TEST(ImageFromRgb, RefusesSizesThatTheBytesDoNotHave) {
  const std::vector<std::uint8_t> bytes(12);
  const auto refused = [&](const char* text, int width, int height, std::size_t stride) {
    expect_error(ErrorCode::kInvalidArgument, {text},
                 [&] { Image::from_rgb(std::as_bytes(std::span(bytes)), width, height, stride); });
  };
  refused("12 bytes are too few", 2, 3, 0);
  refused("12 bytes are too few", 2, 2, 7);
  refused("12 bytes are too few", 1, 3, SIZE_MAX);
  refused("stride is 5", 2, 2, 5);
  refused("0 x 2", 0, 2, 0);
  refused("2 x -2", 2, -2, 0);
}

// A copy keeps the weights alive when the original, and its file, are gone.
TEST_F(ModelTest, ACopyOutlivesTheOriginalAndItsFile) {
  std::optional<Model> original = load();
  const std::vector<float> expected = original->embed(picture_);
  const Model copy = *original;
  original.reset();
  std::filesystem::remove(folder_ / "model.safetensors");
  EXPECT_EQ(copy.embed(picture_), expected);
}

TEST_F(ModelTest, RefusesInputsThatDoNotFit) {
  const Model model = load();
  Context context(model, 1);
  const auto refused = [&](ErrorCode code, const Tensor& input, const char* text) {
    expect_error(code, {text}, [&] { model.run(input.view(), context); });
  };
  refused(ErrorCode::kMismatch, Tensor::zeros({1, 4, 32, 32}), "4 channels");
  refused(ErrorCode::kInvalidArgument, Tensor::zeros({32, 32}), "(32, 32)");
  refused(ErrorCode::kMismatch, Tensor::zeros({4, 32, 32}), "4 channels");
  refused(ErrorCode::kInvalidArgument, Tensor::zeros({1, 3, 32, 32}, DType::kF64), "F64");
  refused(ErrorCode::kInvalidArgument, Tensor::zeros({1, 3, 7, 32}), "7 x 32");
  refused(ErrorCode::kInvalidArgument, Tensor::zeros({1, 3, 0, 0}), "at least 8 x 8");

  const Tensor input = Tensor::zeros({1, 3, 32, 32});
  ConstTensorView strided = input.view();
  std::swap(strided.strides[2], strided.strides[3]);
  expect_error(ErrorCode::kInvalidArgument, {"contiguous"}, [&] { model.run(strided, context); });
  expect_error(ErrorCode::kInvalidArgument, {"contiguous"}, [&] { model.run(input.view(Layout::kNhwc), context); });
}

TEST_F(ModelTest, ThatTakesOtherChannelsTakesNoPictures) {
  Card card = tiny_card();
  card.network = with_overrides(
      card.network,
      {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = {}, .classes = {}, .input_channels = 5});
  const Model model = load(card);
  for (const auto& ask : std::vector<std::function<void()>>{
           [&] { model.classify(picture_); }, [&] { model.embed(picture_); }, [&] { model.features(picture_); }}) {
    expect_error(ErrorCode::kUnsupported, {"3 channels", "takes 5"}, ask);
  }
  Context context(model, 1);
  EXPECT_EQ(model.run(Tensor::zeros({2, 5, 32, 32}).view(), context).logits.shape(), (Shape{2, 4}));
}

TEST_F(ModelTest, WithoutAClassifierEmbeds) {
  Card card = tiny_card();
  card.labels.clear();
  set_class_count(card.network, 0);
  const Model model = load(card);
  EXPECT_EQ(model.embed(picture_).size(), 16u);
  expect_error(ErrorCode::kUnsupported, {"no classifier"}, [&] { model.classify(picture_); });
}

TEST_F(ModelTest, PredictionsNeedTheRightNumberOfLogits) {
  const std::vector<float> logits(5, 0.0f);
  const Model model = load();
  expect_error(ErrorCode::kMismatch, {"5 logits for 4 classes"}, [&] { model.predictions(logits, 1); });
  EXPECT_TRUE(model.predictions(std::span(logits).first(4), 0).empty());
}

TEST_F(ModelTest, AnUnknownInstructionSetIsRefused) {
  const auto file = write_tiny_model(folder_ / "model.safetensors");
  expect_error(ErrorCode::kUnsupported, {"mmx", "scalar"},
               [&] { Model::load(file, {.architecture = {}, .isa = "mmx"}); });
  EXPECT_EQ(Model::load(file, {.architecture = {}, .isa = "scalar"}).isa(), "scalar");
}

// Verification.

class VerifyTest : public testing::Test {
 protected:
  Checkpoint written(const Card& card = tiny_card()) {
    return read_checkpoint(write_tiny_model(folder_ / "model.safetensors", card));
  }
  TemporaryFolder folder_;
};

TEST_F(VerifyTest, AFileOfOursPasses) {
  const Checkpoint checkpoint = written();
  ASSERT_TRUE(checkpoint.card.check);
  EXPECT_EQ(checkpoint.card.check->width, 40);
  EXPECT_EQ(checkpoint.card.check->height, 32);
  EXPECT_EQ(checkpoint.card.check->logits.size(), 4u);
  ThreadPool pool(3);
  const Verification result = verify(checkpoint, &pool);
  EXPECT_TRUE(result.passed);
  EXPECT_LT(result.relative_error, 1e-6);
}

TEST_F(VerifyTest, TheVectorHasAtMostSixtyFourValues) {
  Card card = tiny_card();
  card.labels.clear();
  set_class_count(card.network, 100);
  const Checkpoint checkpoint = written(card);
  EXPECT_EQ(checkpoint.card.check->logits.size(), 64u);
  EXPECT_TRUE(verify(checkpoint).passed);
}

TEST_F(VerifyTest, OfNetworksWithoutClassifierAndOfOtherChannels) {
  Card card = tiny_card();
  card.labels.clear();
  card.network = with_overrides(
      card.network,
      {.depths = {}, .dims = {}, .kernel_sizes = {}, .patch_size = {}, .classes = 0, .input_channels = 5});
  const Checkpoint checkpoint = written(card);
  EXPECT_EQ(checkpoint.card.check->logits.size(), 16u);
  EXPECT_TRUE(verify(checkpoint).passed);
}

// What the vector is for: any change of weights, network or preprocessing shows.
TEST_F(VerifyTest, AChangeOfOneTensorFails) {
  for (const TensorSpec& spec : tensor_specs(tiny_card().network)) {
    Checkpoint checkpoint = written();
    Tensor changed = formula_tensor(spec, 1);
    for (float& value : changed.values<float>()) value *= 1.01f;
    checkpoint.weights.add(spec.name, std::move(changed));
    EXPECT_FALSE(verify(checkpoint).passed) << spec.name;
  }
}

TEST_F(VerifyTest, AChangeOfThePreprocessingFails) {
  const auto fails = [this](const auto& change) {
    Checkpoint checkpoint = written();
    change(checkpoint.card.preprocessing);
    EXPECT_FALSE(verify(checkpoint).passed);
  };
  fails([](Preprocessing& p) { p.interpolation = Interpolation::kBilinear; });
  fails([](Preprocessing& p) { p.crop_fraction = 0.9; });
  fails([](Preprocessing& p) { p.crop_mode = CropMode::kSquash; });
  fails([](Preprocessing& p) { p.mean[1] += 0.01f; });
  fails([](Preprocessing& p) { p.std[2] += 0.01f; });
}

TEST_F(VerifyTest, ValuesThatAreNotFiniteFail) {
  Checkpoint checkpoint = written();
  Tensor bias = Tensor::zeros({4});
  bias.values<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  checkpoint.weights.add("head.fc.bias", std::move(bias));
  EXPECT_FALSE(verify(checkpoint).passed);
  expect_error(ErrorCode::kDamaged, {"finite"}, [&] { make_check_vector(checkpoint.card, checkpoint.weights); });
}

TEST_F(VerifyTest, WithoutAVectorOfTheRightLengthThereIsNothingToCompare) {
  Checkpoint checkpoint = written();
  checkpoint.card.check->logits.pop_back();
  expect_error(ErrorCode::kMismatch, {"3 values", "gives 4"}, [&] { verify(checkpoint); });
  checkpoint.card.check.reset();
  expect_error(ErrorCode::kNotFound, {"model.safetensors", "no check vector"}, [&] { verify(checkpoint); });
}

}  // namespace
}  // namespace convnext
