// The public interface: Model, Context, and the check vector of a model file.
#include <gmock/gmock.h>

#include <cmath>
#include <thread>

#include "convnext/convnext.h"
#include "engine/verify.h"
#include "expect_error.h"
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
  ConstTensorView batch = input.view(Layout::kNchw);
  batch.shape = {1, 3, 32, 32};
  batch.strides = contiguous_strides(batch.shape);
  Context context(model, 2);
  const Outputs outputs = model.run(batch, context, {.logits = true, .pooled = true, .stages = true});
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

TEST_F(ModelTest, IsSharedBetweenThreads) {
  const Model model = load();
  const std::vector<float> expected = model.embed(picture_);
  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (std::vector<float>& result : results) {
    threads.emplace_back([&model, &result, this] {
      for (int i = 0; i < 5; ++i) result = model.embed(picture_);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& result : results) EXPECT_TRUE(tensors_close(result, expected));
}

TEST_F(ModelTest, ContextsMayShareAPool) {
  const Model model = load();
  ThreadPool pool(2);
  Context first(model, pool), second(model, pool);
  const Tensor input = formula_input("input", {1, 3, 32, 32}, 1);
  EXPECT_TRUE(tensors_close(model.run(input.view(), first).logits.values<float>(),
                            model.run(input.view(), second).logits.values<float>()));
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
  refused(ErrorCode::kInvalidArgument, Tensor::zeros({3, 32, 32}), "(3, 32, 32)");
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
