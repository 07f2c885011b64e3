// libtorch as a backend: ConvNeXt as the reference computes it, every other family at all, and the contract of a run.
#include "nn/libtorch_backend.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <future>
#include <map>

#include "engine/model_loading.h"
#include "model/description.h"
#include "model/formula.h"
#include "model/int8_weights.h"
#include "model/registry.h"
#include "tests/engine_runs.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"
#include "tests/tensor_compare.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

std::unique_ptr<Executable> compile(const NetworkConfig& config, std::uint64_t seed = 1) {
  return make_libtorch_backend()->compile(config, formula_weights(config, seed), Precision::kFp32);
}

void expect_same(const Results& actual, const Results& expected, const TensorBounds& bounds = {}) {
  EXPECT_TRUE(tensors_close(actual.logits, expected.logits, bounds)) << "logits";
  EXPECT_TRUE(tensors_close(actual.pooled, expected.pooled, bounds)) << "pooled";
  ASSERT_EQ(actual.stages.size(), expected.stages.size());
  for (std::size_t i = 0; i < actual.stages.size(); ++i) {
    EXPECT_TRUE(tensors_close(actual.stages[i], expected.stages[i], bounds)) << "stage " << i;
  }
}

// ---- numbers

// One of each stem, norm, activation and head.
std::map<std::string, ConvNextConfig> kinds_of_convnext() {
  std::map<std::string, ConvNextConfig> kinds = {{"plain", small_network()}, {"grn", with_grn()}};
  ConvNextConfig& overlap = kinds["overlap"] = small_network();
  overlap.stem = Stem::kOverlapAct;
  overlap.norm = Norm::kSimpleNorm;
  overlap.conv_mlp = true;
  ConvNextConfig& norm_first = kinds["norm_first"] = small_network();
  norm_first.stem = Stem::kOverlapTiered;
  norm_first.head = Head::kNormPool;
  norm_first.activation = Activation::kGeluTanh;
  ConvNextConfig& mlp = kinds["mlp"] = small_network();
  mlp.head = Head::kMlp;
  mlp.head_hidden = 24;
  mlp.norm = Norm::kRmsNorm;
  mlp.activation = Activation::kSilu;
  ConvNextConfig& isotropic = kinds["isotropic_without_classifier"] = small_network();
  isotropic.depths = {2};
  isotropic.dims = {24};
  isotropic.kernel_sizes = {7};
  isotropic.patch_size = 16;
  isotropic.stem_norm = false;
  isotropic.layer_scale = false;
  isotropic.classes = 0;
  isotropic.input_channels = 1;
  return kinds;
}

TEST(LibtorchBackend, GivesEveryOutputOfAConvNextAsTheReferenceDoes) {
  ThreadPool pool(2);
  for (const auto& [kind, config] : kinds_of_convnext()) {
    SCOPED_TRACE(kind);
    const WeightStore weights = formula_weights(config, 1);
    const Tensor input = formula_input("input", {2, config.input_channels, 50, 37}, 1);
    const Results expected = run(*make_reference_backend()->compile(config, weights, Precision::kFp32), config, input);
    expect_same(run(*compile(config), config, input, &pool), expected);
    // The comparison can fail: with other weights it does.
    EXPECT_FALSE(tensors_close(run(*compile(config, 2), config, input).pooled, expected.pooled));
  }
}

// The network of each family that is the quickest to compute, at the size of the pictures that it was made for.
std::map<std::string, const RegistryEntry*> quickest_of_each_family() {
  std::map<std::string, const RegistryEntry*> quickest;
  std::map<std::string, double> least;
  for (const RegistryEntry& entry : registry()) {
    const std::string family(name_of(entry.family));
    const int side = entry.preprocessing.resolution;
    const double gmac = count_cost(entry.network, side, side).gmac;
    if (quickest.contains(family) && least[family] <= gmac) continue;
    quickest[family] = &entry;
    least[family] = gmac;
  }
  return quickest;
}

TEST(LibtorchBackend, RunsEveryFamilyWithTheShapesThatItsDescriptionTells) {
  ThreadPool pool(2);
  for (const auto& [family, entry] : quickest_of_each_family()) {
    SCOPED_TRACE(entry->name);
    const std::int64_t side = entry->preprocessing.resolution;
    const auto executable = compile(entry->network);
    EXPECT_EQ(executable->weight_bytes(), formula_weights(entry->network, 1).bytes());
    const Tensor two = formula_input("input", {2, 3, side, side}, 1);
    const Results together = run(*executable, entry->network, two, &pool);
    // A picture alone, and by one thread: the same to rounding.
    Tensor one = Tensor::zeros({1, 3, side, side});
    const auto second = two.values<float>().subspan(two.values<float>().size() / 2);
    std::ranges::copy(second, one.values<float>().begin());
    const Results alone = run(*executable, entry->network, one);
    const auto expect_second_half = [](const Tensor& both, const Tensor& single) {
      EXPECT_TRUE(tensors_close(both.values<float>().subspan(single.values<float>().size()), single.values<float>()));
    };
    expect_second_half(together.logits, alone.logits);
    expect_second_half(together.pooled, alone.pooled);
    for (std::size_t i = 0; i < alone.stages.size(); ++i) expect_second_half(together.stages[i], alone.stages[i]);
  }
}

// ---- runs

TEST(LibtorchBackend, WritesNothingButWhatIsWanted) { expect_only_what_is_wanted(*compile(small_network()), {}); }

// A batch that would not fit goes through in slices, and comes out in its order.
TEST(LibtorchBackend, GivesABatchInSlicesWhatEachPictureGetsAlone) {
  const ConvNextConfig config = with_grn();
  const WeightStore weights = formula_weights(config, 1);
  const std::uint64_t of_one = count_cost(config, 40, 40).peak_activation_bytes;
  const Tensor input = formula_input("input", {5, 3, 40, 40}, 1);
  const Results whole = run(*compile(config), config, input);
  for (const std::uint64_t bytes : {std::uint64_t{0}, 2 * of_one, 3 * of_one}) {
    SCOPED_TRACE(bytes);
    const auto executable = make_libtorch_backend(bytes)->compile(config, weights, Precision::kFp32);
    expect_same(run(*executable, config, input), whole);
  }
}

TEST(LibtorchBackend, LeavesItsInputAlone) {
  for (const int channels : {1, 3}) {
    ConvNextConfig config = small_network();
    config.input_channels = channels;
    const Tensor input = formula_input("input", {1, channels, 32, 32}, 1);
    run(*compile(config), config, input);
    EXPECT_TRUE(tensors_close(input, formula_input("input", {1, channels, 32, 32}, 1), {.relative = 0, .largest = 0}));
  }
}

// Contexts of any size at once: each gets its own answer, and the threads that libtorch had before are there after.
TEST(LibtorchBackend, RunsAtTheSameTimeAreNotMixedUp) {
  const ConvNextConfig config = with_grn();
  const auto executable = compile(config);
  const int threads_before = at::get_num_threads();
  std::vector<std::future<void>> runs;
  for (int i = 0; i < 6; ++i) {
    runs.push_back(std::async(std::launch::async, [&, i] {
      const Tensor input = formula_input("input", {i % 3 + 1, 3, 40 + i, 40}, static_cast<std::uint64_t>(i));
      ThreadPool pool(i % 2 + 1);
      const Results expected = run(*executable, config, input, &pool);
      for (int repeat = 0; repeat < 5; ++repeat) expect_same(run(*executable, config, input, &pool), expected);
    }));
  }
  for (std::future<void>& one : runs) one.get();
  const Tensor input = formula_input("input", {1, 3, 40, 40}, 1);
  ThreadPool pool(threads_before + 1);
  run(*executable, config, input, &pool);
  EXPECT_EQ(at::get_num_threads(), threads_before);
}

TEST(LibtorchBackend, TakesAnEmptyBatch) {
  const ConvNextConfig config = small_network();
  EXPECT_EQ(run(*compile(config), config, Tensor::zeros({0, 3, 40, 40})).logits.count(), 0);
}

// ---- refusals

TEST(LibtorchBackend, SaysWhichPrecisionItHas) {
  const NetworkConfig config = small_network();
  const WeightStore weights = formula_weights(config, 1);
  EXPECT_TRUE(make_libtorch_backend()->computes_in(Precision::kFp32));
  for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
    EXPECT_FALSE(make_libtorch_backend()->computes_in(precision));
    expect_error(ErrorCode::kUnsupported, {std::string(name_of(precision)), "fp32", "libtorch"},
                 [&] { make_libtorch_backend()->compile(config, weights, precision); });
  }
}

TEST(LibtorchBackend, RefusesWeightsOfAnotherNetworkAndImpossibleNetworks) {
  ConvNextConfig other = small_network();
  other.dims[1] = 40;
  const WeightStore weights = formula_weights(other, 1);
  expect_error(ErrorCode::kMismatch, {"stages.1", "36", "40"},
               [&] { make_libtorch_backend()->compile(small_network(), weights, Precision::kFp32); });
  other.kernel_sizes[0] = 4;
  expect_error(ErrorCode::kInvalidArgument, {"4"},
               [&] { make_libtorch_backend()->compile(other, weights, Precision::kFp32); });
}

TEST(LibtorchBackend, RefusesViewsThatDoNotFitInsteadOfWritingBeyondThem) {
  // Another family too: its sizes come from its list of layers.
  for (const NetworkConfig& config :
       {NetworkConfig(small_network()),
        with_overrides(architecture("resnet50").network,
                       {.depths = std::vector{1, 1, 1}, .dims = std::vector{8, 16, 24}, .classes = 7})}) {
    const auto executable = compile(config);
    const Tensor input = formula_input("input", {2, 3, 40, 40}, 1);
    const auto expect_refusal = [&](ErrorCode code, const ConstTensorView& view, const OutputViews& outputs,
                                    const std::string& text) {
      Workspace workspace;
      expect_error(code, {text}, [&] { executable->run(view, outputs, workspace); });
    };
    const auto changed_output = [&](ErrorCode code, const std::string& text, auto change) {
      Results results(config, input.shape());
      change(results.views);
      expect_refusal(code, as_input(input), results.views, text);
    };
    const std::string makes = "but this input makes it";
    changed_output(ErrorCode::kMismatch, makes, [](OutputViews& views) { views.logits.shape = {1, 7}; });
    changed_output(ErrorCode::kMismatch, makes, [](OutputViews& views) { views.pooled.shape.push_back(1); });
    changed_output(ErrorCode::kMismatch, makes, [](OutputViews& views) { --views.stages[2].shape[3]; });
    changed_output(ErrorCode::kMismatch, "2 stage outputs", [](OutputViews& views) { views.stages.pop_back(); });
    changed_output(ErrorCode::kInvalidArgument, "pooled", [](OutputViews& views) { views.pooled.dtype = DType::kF64; });
    changed_output(ErrorCode::kInvalidArgument, "logits", [](OutputViews& views) { views.logits.strides = {8, 1}; });

    ConstTensorView view = as_input(input);
    view.shape = {2, 4, 40, 30};
    expect_refusal(ErrorCode::kMismatch, view, {}, "(n, 3, height, width)");
    view = as_input(input);
    view.shape = {3, 40, 40};
    expect_refusal(ErrorCode::kMismatch, view, {}, "(3, 40, 40)");
    view = as_input(input);
    view.dtype = DType::kF16;
    expect_refusal(ErrorCode::kInvalidArgument, view, {}, "float32");
    view = as_input(input);
    view.layout = Layout::kNhwc;
    expect_refusal(ErrorCode::kInvalidArgument, view, {}, "NCHW");
    view = as_input(input);
    view.data = nullptr;
    expect_refusal(ErrorCode::kInvalidArgument, view, {}, "no data");
  }
  const Tensor tiny = Tensor::zeros({1, 3, 15, 64});
  Workspace workspace;
  expect_error(ErrorCode::kInvalidArgument, {"at least 16 x 16"},
               [&] { compile(small_network())->run(as_input(tiny), {}, workspace); });
}

// ---- models

TEST(ModelLoading, AModelRunsOnTheBackendThatItIsGiven) {
  const TemporaryFolder folder;
  const std::filesystem::path file = write_tiny_model(folder / "tiny.safetensors");
  const Model engine = Model::load(file);
  const Model model = ModelLoading::load(read_checkpoint(file), *make_libtorch_backend(), {.threads = 2});
  EXPECT_EQ(model.isa(), "libtorch");
  EXPECT_EQ(model.labels(), engine.labels());
  EXPECT_EQ(model.pool().threads(), 2);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const Image picture = formula_picture(50, 40, seed);
    const auto ours = engine.classify(picture), theirs = model.classify(picture);
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(theirs[i].label, ours[i].label);
      EXPECT_NEAR(theirs[i].probability, ours[i].probability, 1e-5);
    }
    EXPECT_TRUE(tensors_close(model.embed(picture), engine.embed(picture)));
    const std::vector<Tensor> features = model.features(picture), expected = engine.features(picture);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(tensors_close(features[i], expected[i])) << i;
  }
}

// Integers in a file are weights like others to a backend that does not compute in them.
TEST(ModelLoading, AnInt8FileRunsInFp32WhereThereIsNoInt8) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = read_checkpoint(write_tiny_model(folder / "tiny.safetensors"));
  checkpoint.card.precision = kInt8Precision;
  write_checkpoint(folder / "int8.safetensors", checkpoint.card, rounded_to_int8(checkpoint.weights));
  const auto load = [&](const LoadOptions& options) {
    return ModelLoading::load(read_checkpoint(folder / "int8.safetensors"), *make_libtorch_backend(), options);
  };
  const Model model = load({});
  EXPECT_EQ(model.precision(), Precision::kFp32);
  const Image picture = formula_picture(50, 40, 1);
  EXPECT_TRUE(tensors_close(model.embed(picture),
                            Model::load(folder / "int8.safetensors", {.precision = Precision::kFp32}).embed(picture)));
  expect_error(ErrorCode::kUnsupported, {"int8", "libtorch"}, [&] { load({.precision = Precision::kInt8}); });
}

// A check vector is of the network, not of who computed it.
TEST(CheckVector, IsTheSameByLibtorchAndByTheEngine) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = read_checkpoint(write_tiny_model(folder / "tiny.safetensors"));
  const auto backend = make_libtorch_backend();
  const Verification by_libtorch = verify(checkpoint, *backend);
  EXPECT_TRUE(by_libtorch.passed) << by_libtorch.relative_error;
  const CheckVector check = make_check_vector(checkpoint.card, checkpoint.weights, *backend);
  EXPECT_TRUE(tensors_close(check.logits, checkpoint.card.check->logits));
  Checkpoint changed = checkpoint;
  changed.weights = formula_weights(checkpoint.card.network, 2);
  EXPECT_FALSE(verify(changed, *backend).passed);
}

}  // namespace
}  // namespace convnext
