// The fast backends against the scalar reference, whole networks at a time, and what an executable promises beside its
// numbers. That the reference itself is right is the business of goldens_test.cc.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "convnext/error.h"
#include "engine/backend.h"
#include "engine/network.h"
#include "kernels/aligned_floats.h"
#include "kernels/isa.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/allocations.h"
#include "tests/engine_runs.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

using testing::ElementsAre;

void expect_same(const Results& actual, const Results& expected, const TensorBounds& bounds = {}) {
  EXPECT_TRUE(tensors_close(actual.logits, expected.logits, bounds)) << "logits";
  EXPECT_TRUE(tensors_close(actual.pooled, expected.pooled, bounds)) << "pooled";
  ASSERT_EQ(actual.stages.size(), expected.stages.size());
  for (std::size_t i = 0; i < actual.stages.size(); ++i) {
    EXPECT_TRUE(tensors_close(actual.stages[i], expected.stages[i], bounds)) << "stage " << i;
  }
}

// All outputs of every fast backend against the reference's, with the backend's own threads.
void expect_agreement(const NetworkConfig& config, const Shape& input_shape) {
  const WeightStore weights = formula_weights(config, 1);
  const Tensor input = formula_input("input", input_shape, 1);
  const Results expected = run(*make_reference_backend()->compile(config, weights, Precision::kFp32), config, input);
  ThreadPool pool(2);
  for (const std::string& isa : fast_isas()) {
    SCOPED_TRACE(isa);
    const auto executable = make_cpu_backend(isa)->compile(config, weights, Precision::kFp32);
    expect_same(run(*executable, config, input, &pool), expected);
  }
}

// ---- numbers

class RegisteredNetwork : public testing::TestWithParam<std::string> {};

std::vector<std::string> registered_names() {
  std::vector<std::string> names;
  for (const RegistryEntry& entry : registry()) {
    if (std::holds_alternative<ConvNextConfig>(entry.network)) names.push_back(entry.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, RegisteredNetwork, testing::ValuesIn(registered_names()),
                         [](const auto& test) { return test.param; });

// The sizes leave odd maps, and rows and columns that the convolutions drop. Of the widest networks one block a stage
// is enough: the others are the same code on the same sizes.
TEST_P(RegisteredNetwork, RunsAsTheReferenceDoes) {
  NetworkConfig config = architecture(GetParam()).network;
  auto& network = std::get<ConvNextConfig>(config);
  const int stages = network.stages();
  if (network.dims.back() > 1024) network.depths.assign(static_cast<std::size_t>(stages), 1);
  for (int& depth : network.depths) depth = std::min(depth, 3);
  const bool isotropic = stages == 1;
  expect_agreement(config, {2, 3, isotropic ? 85 : 70, isotropic ? 70 : 58});
}

struct FreeNetwork {
  std::string name;
  ConvNextConfig config;
  Shape input;
};
void PrintTo(const FreeNetwork& network, std::ostream* out) { *out << network.name; }

std::vector<FreeNetwork> free_networks() {
  std::vector<FreeNetwork> networks;
  const auto add = [&networks](std::string name, Shape input, auto change) {
    FreeNetwork network{std::move(name), small_network(), std::move(input)};
    change(network.config);
    networks.push_back(std::move(network));
  };
  const auto kernels = [](int kernel) {
    return [kernel](ConvNextConfig& c) { c.kernel_sizes = {kernel, kernel, kernel}; };
  };
  add("kernel_3", {1, 3, 40, 33}, kernels(3));
  add("kernel_5", {1, 3, 33, 40}, kernels(5));
  add("kernel_11", {1, 3, 40, 40}, kernels(11));
  add("kernel_31", {1, 3, 40, 36}, kernels(31));
  add("patch_1", {1, 3, 13, 9}, [](ConvNextConfig& c) { c.patch_size = 1; });
  add("patch_2", {2, 3, 21, 17}, [](ConvNextConfig& c) { c.patch_size = 2; });
  add("patch_7", {1, 3, 60, 47}, [](ConvNextConfig& c) { c.patch_size = 7; });
  add("one_stage", {2, 3, 23, 18}, [](ConvNextConfig& c) {
    c.depths = {2};
    c.dims = {68};
    c.kernel_sizes = {7};
  });
  add("two_stages", {2, 3, 25, 30}, [](ConvNextConfig& c) {
    c.depths = {1, 1};
    c.dims = {1, 130};
    c.kernel_sizes = {7, 7};
  });
  add("four_stages", {3, 3, 48, 35}, [](ConvNextConfig& c) {
    c.depths = {1, 1, 1, 1};
    c.dims = {20, 36, 52, 68};
    c.kernel_sizes = {9, 7, 5, 3};
  });
  add("grey", {2, 1, 32, 36}, [](ConvNextConfig& c) { c.input_channels = 1; });
  add("four_channels", {2, 4, 32, 36}, [](ConvNextConfig& c) { c.input_channels = 4; });
  add("no_classifier", {2, 3, 32, 36}, [](ConvNextConfig& c) { c.classes = 0; });
  add("no_stem_norm", {2, 3, 32, 36}, [](ConvNextConfig& c) { c.stem_norm = false; });
  add("no_layer_scale", {2, 3, 32, 36}, [](ConvNextConfig& c) { c.layer_scale = false; });
  add("smallest_input", {2, 3, 16, 16}, [](ConvNextConfig&) {});
  for (const Stem stem : {Stem::kOverlap, Stem::kOverlapTiered, Stem::kOverlapAct}) {
    for (const Norm norm : {Norm::kLayerNorm, Norm::kRmsNorm, Norm::kSimpleNorm}) {
      add(fmt::format("{}_{}", name_of(stem), name_of(norm)), {2, 3, 29, 34}, [stem, norm](ConvNextConfig& c) {
        c.stem = stem;
        c.norm = norm;
      });
    }
  }
  for (const Activation activation : {Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    for (const bool grn : {false, true}) {
      add(fmt::format("{}{}", name_of(activation), grn ? "_grn" : ""), {3, 3, 31, 26},
          [activation, grn](ConvNextConfig& c) {
            c.stem = Stem::kOverlapAct;
            c.activation = activation;
            c.grn = grn;
          });
    }
  }
  for (const Head head : {Head::kPoolNorm, Head::kNormPool, Head::kMlp}) {
    for (const int classes : {0, 1, 1001}) {
      add(fmt::format("{}_{}", name_of(head), classes), {2, 3, 32, 28}, [head, classes](ConvNextConfig& c) {
        c.head = head;
        c.head_hidden = head == Head::kMlp ? 45 : 0;
        c.classes = classes;
        c.activation = Activation::kSilu;  // a kMlp head has GELU whatever the blocks have
      });
    }
  }
  return networks;
}

class FreeNetworks : public testing::TestWithParam<FreeNetwork> {};

INSTANTIATE_TEST_SUITE_P(All, FreeNetworks, testing::ValuesIn(free_networks()),
                         [](const auto& test) { return test.param.name; });

TEST_P(FreeNetworks, RunAsTheReferenceDoes) { expect_agreement(GetParam().config, GetParam().input); }

// ---- what else an executable promises

class FastBackend : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Executable> compile(const NetworkConfig& config, Precision precision = Precision::kFp32) const {
    return make_cpu_backend(GetParam())->compile(config, formula_weights(config, 1), precision);
  }
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FastBackend);
INSTANTIATE_TEST_SUITE_P(Isas, FastBackend, testing::ValuesIn(fast_isas()),
                         [](const auto& test) { return test.param; });

TEST_P(FastBackend, GivesTheSameBitsWithAnyNumberOfThreads) {
  ConvNextConfig wide_with_grn = wide_network();
  wide_with_grn.grn = true;
  for (const ConvNextConfig& config : {small_network(), with_grn(), wide_network(), wide_with_grn}) {
    const auto executable = compile(config);
    const Tensor input = formula_input("input", {3, 3, 90, 75}, 1);
    const Results alone = run(*executable, config, input);
    for (const int threads : {1, 2, 3, 7}) {
      SCOPED_TRACE(threads);
      ThreadPool pool(threads);
      expect_same(run(*executable, config, input, &pool), alone, {.relative = 0, .largest = 0});
    }
  }
}

TEST_P(FastBackend, GivesAPictureTheSameBitsInAnyBatch) {
  ConvNextConfig wide_with_grn = wide_network();
  wide_with_grn.grn = true;
  for (const ConvNextConfig& config : {small_network(), with_grn(), wide_network(), wide_with_grn}) {
    const auto executable = compile(config);
    ThreadPool pool(2);
    const std::int64_t count = 5;
    const Tensor batch = formula_input("input", {count, 3, 61, 52}, 1);
    const Results together = run(*executable, config, batch, &pool);
    const std::size_t size = 3 * 61 * 52;
    for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
      SCOPED_TRACE(n);
      Tensor picture = Tensor::zeros({1, 3, 61, 52});
      std::copy_n(batch.values<float>().begin() + static_cast<std::ptrdiff_t>(n * size), size,
                  picture.values<float>().begin());
      const Results single = run(*executable, config, picture, &pool);
      const auto equals_part = [n](const Tensor& part, const Tensor& whole) {
        const auto values = part.values<float>();
        return tensors_close(values, whole.values<float>().subspan(n * values.size(), values.size()),
                             {.relative = 0, .largest = 0});
      };
      EXPECT_TRUE(equals_part(single.logits, together.logits));
      EXPECT_TRUE(equals_part(single.pooled, together.pooled));
      for (std::size_t i = 0; i < single.stages.size(); ++i) {
        EXPECT_TRUE(equals_part(single.stages[i], together.stages[i])) << "stage " << i;
      }
    }
  }
}

// The counter of the next test sees every way to memory that there is.
TEST(Allocations, AreCounted) {
  long before = allocation_count();
  const auto counted = [&before] { return allocation_count() > std::exchange(before, allocation_count()); };
  auto number = std::make_unique<int>(1);
  EXPECT_TRUE(counted()) << "new";
  number.reset();
  EXPECT_FALSE(counted()) << "delete";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  void* aligned = nullptr;
  ASSERT_EQ(posix_memalign(&aligned, 64, 100), 0);
  EXPECT_TRUE(counted()) << "posix_memalign";
  std::free(aligned);
  const AlignedFloats large(std::size_t{1} << 20);
  EXPECT_TRUE(counted()) << "mmap";
#endif
}

TEST_P(FastBackend, AllocatesNothingAfterTheFirstRunAtAShape) {
  ConvNextConfig overlapping = small_network();
  overlapping.stem = Stem::kOverlapAct;
  overlapping.head = Head::kMlp;
  overlapping.head_hidden = 45;
  ThreadPool pool(3);
  std::vector<std::pair<ConvNextConfig, Precision>> networks;
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    if (precision != Precision::kFp32 && GetParam() == "scalar") continue;  // it has float32 alone
    for (const ConvNextConfig& config : {small_network(), with_grn(), overlapping}) {
      networks.emplace_back(config, precision);
    }
  }
  for (const auto& [config, precision] : networks) {
    SCOPED_TRACE(name_of(precision));
    const auto executable = compile(config, precision);
    for (ThreadPool* const threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
      Workspace workspace;
      workspace.pool = threads;
      for (const std::int64_t pictures : {1, 2, 5}) {
        SCOPED_TRACE(fmt::format("{} pictures{}", pictures, threads == nullptr ? "" : " on 3 threads"));
        const Tensor input = formula_input("input", {pictures, 3, 64, 72}, 1);
        const ConstTensorView view = as_input(input);
        Results results(config, input.shape());
        OutputViews logits, pooled, stages;
        logits.logits = results.views.logits;
        pooled.pooled = results.views.pooled;
        stages.stages = results.views.stages;
        executable->run(view, results.views, workspace);
        for (const OutputViews& outputs : {results.views, logits, pooled, stages, OutputViews()}) {
          const long before = allocation_count();
          executable->run(view, outputs, workspace);
          EXPECT_EQ(allocation_count() - before, 0);
        }
      }
    }
  }
}

// Nor at a smaller shape: the memory of the larger is enough for both.
TEST_P(FastBackend, AllocatesNothingForASmallerShapeAfterALargerOne) {
  for (const ConvNextConfig& config : {small_network(), with_grn()}) {
    const auto executable = compile(config);
    ThreadPool pool(2);
    Workspace workspace;
    workspace.pool = &pool;
    const Tensor small = formula_input("input", {2, 3, 64, 64}, 1);
    const Tensor large = formula_input("input", {3, 3, 80, 96}, 1);
    const ConstTensorView small_view = as_input(small), large_view = as_input(large);
    Results small_results(config, small.shape()), large_results(config, large.shape());
    executable->run(small_view, small_results.views, workspace);
    executable->run(large_view, large_results.views, workspace);
    const long before = allocation_count();
    executable->run(large_view, large_results.views, workspace);
    executable->run(small_view, small_results.views, workspace);
    EXPECT_EQ(allocation_count() - before, 0);
  }
}

std::size_t threads_of_this_process() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

TEST_P(FastBackend, UsesThePoolThatItIsGivenAndMakesNoOtherThread) {
  const ConvNextConfig config = with_grn();
  const Tensor input = formula_input("input", {3, 3, 64, 64}, 1);
  const ConstTensorView view = as_input(input);
  Results results(config, input.shape());
  const std::size_t alone = threads_of_this_process();
  const auto executable = compile(config);
  EXPECT_EQ(threads_of_this_process(), alone) << "after compiling";

  ThreadPool pool(3);
  Workspace workspace;
  workspace.pool = &pool;
  std::atomic<bool> stopped = false;
  std::atomic<std::size_t> most = 0;
  std::atomic<int> looks = 0;
  std::thread watcher([&] {
    for (; !stopped; ++looks) most = std::max(most.load(), threads_of_this_process());
  });
  for (int run = 0; run < 20 || looks < 20; ++run) executable->run(view, results.views, workspace);
  stopped = true;
  watcher.join();
  EXPECT_EQ(most, alone + 2 + 1) << "the pool's and the one that watches";

  // That it is this pool which works: it refuses to be called by a task of its own.
  EXPECT_THROW(pool.run(1, [&](int, int) { executable->run(view, results.views, workspace); }), std::logic_error);
}

// Packed from a mapped file, the weights are in memory once: the file's pages are given back one by one.
TEST_P(FastBackend, PackingGivesTheFilesMemoryBack) {
  const auto resident_of_files = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssFile:")) return std::stol(line.substr(8)) << 10;
    }
    return 0L;
  };
  const TemporaryFolder folder;
  Card card;
  card.architecture = "convnext_atto";
  card.network = architecture(card.architecture).network;
  card.preprocessing = architecture(card.architecture).preprocessing;
  write_checkpoint(folder / "atto.safetensors", card, formula_weights(card.network, 1));
  const Checkpoint checkpoint = read_checkpoint(folder / "atto.safetensors");
  const std::unique_ptr<Backend> backend = make_cpu_backend(GetParam());
  const auto warm = compile(small_network());  // the code's own pages
  const long before = resident_of_files();
  ASSERT_GT(before, 0);
  const auto executable = backend->compile(checkpoint.card.network, checkpoint.weights, Precision::kFp32);
  EXPECT_LT(resident_of_files() - before, long{2} << 20);
  EXPECT_GT(checkpoint.weights.bytes(), std::uint64_t{14} << 20);

  // They can be read once more, from the file.
  const auto again = backend->compile(checkpoint.card.network, checkpoint.weights, Precision::kFp32);
  const Tensor input = formula_input("input", {1, 3, 64, 64}, 1);
  expect_same(run(*again, card.network, input), run(*executable, card.network, input), {.relative = 0, .largest = 0});
}

TEST_P(FastBackend, RunsFromManyThreadsAtOnce) {
  const ConvNextConfig config = with_grn();
  const auto executable = compile(config);
  const Tensor input = formula_input("input", {2, 3, 50, 44}, 1);
  const Results expected = run(*executable, config, input);
  ThreadPool shared(2);
  std::vector<std::optional<Results>> results(6);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        results[i].emplace(run(*executable, config, input, i % 2 == 0 ? &shared : nullptr));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) expect_same(*result, expected, {.relative = 0, .largest = 0});
}

TEST_P(FastBackend, WritesOnlyWhatIsWanted) {
  expect_only_what_is_wanted(*compile(small_network()), {.relative = 0, .largest = 0});
}

// What was in the workspace before must not show: another network, another size, another number of threads.
TEST_P(FastBackend, IsNotDisturbedByWhatTheWorkspaceHeld) {
  const ConvNextConfig config = small_network();
  const auto executable = compile(config);
  const Tensor input = formula_input("input", {1, 3, 40, 40}, 1);
  const Results expected = run(*executable, config, input);
  Workspace workspace;
  const std::span<float> dirt = workspace.arena.take<float>(std::size_t{1} << 20);
  std::fill(dirt.begin(), dirt.end(), std::numeric_limits<float>::quiet_NaN());
  Results results(config, input.shape());
  executable->run(as_input(input), results.views, workspace);
  expect_same(results, expected, {.relative = 0, .largest = 0});
}

TEST_P(FastBackend, TakesAnEmptyBatch) {
  const ConvNextConfig config = small_network();
  const Results results = run(*compile(config), config, Tensor::zeros({0, 3, 40, 40}));
  EXPECT_EQ(results.logits.count(), 0);
}

// Packing may round up to whole vectors, but no weight is kept twice.
TEST_P(FastBackend, KeepsTheWeightsOnce) {
  const NetworkConfig config = architecture("convnext_atto").network;
  const WeightStore weights = formula_weights(config, 1);
  const auto executable = make_cpu_backend(GetParam())->compile(config, weights, Precision::kFp32);
  EXPECT_GE(executable->weight_bytes(), weights.bytes() * 99 / 100);  // the layer scale is folded away
  EXPECT_LE(executable->weight_bytes(), weights.bytes() * 6 / 5);
}

// ---- refusals

class AnyBackend : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> backend() const { return make_cpu_backend(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Isas, AnyBackend, testing::ValuesIn(available_isas()),
                         [](const auto& test) { return test.param; });

TEST(ReferenceBackend, SaysWhichPrecisionItHas) {
  const NetworkConfig config = small_network();
  const WeightStore weights = formula_weights(config, 1);
  for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
    expect_error(ErrorCode::kUnsupported, {std::string(name_of(precision)), "fp32", "scalar"},
                 [&] { make_reference_backend()->compile(config, weights, precision); });
  }
}

TEST_P(AnyBackend, RefusesWeightsOfAnotherNetwork) {
  ConvNextConfig other = small_network();
  other.dims[1] = 40;
  const WeightStore weights = formula_weights(other, 1);
  expect_error(ErrorCode::kMismatch, {"stages.1", "36", "40"},
               [&] { backend()->compile(small_network(), weights, Precision::kFp32); });
}

TEST_P(AnyBackend, RefusesPicturesThatAreTooSmallWithTheSmallestSize) {
  const ConvNextConfig config = small_network();  // stride 16
  const auto executable = backend()->compile(config, formula_weights(config, 1), Precision::kFp32);
  for (const Shape& shape : {Shape{1, 3, 15, 64}, Shape{1, 3, 64, 15}, Shape{1, 3, 0, 64}}) {
    const Tensor input = Tensor::zeros(shape);
    Workspace workspace;
    expect_error(ErrorCode::kInvalidArgument, {"at least 16 x 16"},
                 [&] { executable->run(as_input(input), {}, workspace); });
  }
}

TEST_P(AnyBackend, RefusesViewsThatDoNotFitInsteadOfWritingBeyondThem) {
  const ConvNextConfig config = small_network();
  const auto executable = backend()->compile(config, formula_weights(config, 1), Precision::kFp32);
  const Tensor input = formula_input("input", {2, 3, 40, 40}, 1);
  const auto expect_refusal = [&](ErrorCode code, const ConstTensorView& view, const OutputViews& outputs,
                                  const std::string& text) {
    Workspace workspace;
    expect_error(code, {text}, [&] { executable->run(view, outputs, workspace); });
  };
  const auto changed_output = [&](auto change) {
    Results results(config, input.shape());
    change(results.views);
    expect_refusal(ErrorCode::kMismatch, as_input(input), results.views, "but this input makes it");
  };
  changed_output([](OutputViews& views) { views.logits.shape = {1, 7}; });
  changed_output([](OutputViews& views) { views.logits.shape = {2, 8}; });
  changed_output([](OutputViews& views) { views.pooled.shape = {2, 52, 1}; });
  changed_output([](OutputViews& views) { views.stages[2].shape = {2, 52, 3, 2}; });

  Results results(config, input.shape());
  results.views.stages.pop_back();
  expect_refusal(ErrorCode::kMismatch, as_input(input), results.views, "2 stage outputs");
  results = Results(config, input.shape());
  results.views.pooled.dtype = DType::kF64;
  expect_refusal(ErrorCode::kInvalidArgument, as_input(input), results.views, "pooled");
  results = Results(config, input.shape());
  results.views.logits.strides = {8, 1};
  expect_refusal(ErrorCode::kInvalidArgument, as_input(input), results.views, "logits");

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
  view.strides = {4800, 1, 120, 3};
  expect_refusal(ErrorCode::kInvalidArgument, view, {}, "contiguous");
  view = as_input(input);
  view.layout = Layout::kNhwc;
  expect_refusal(ErrorCode::kInvalidArgument, view, {}, "NCHW");
}

TEST(OutputShapes, FloorAtEveryConvolution) {
  const OutputShapes shapes = output_shapes(architecture("convnext_tiny").network, 2, 230, 255);
  EXPECT_THAT(shapes.logits, ElementsAre(2, 1000));
  EXPECT_THAT(shapes.pooled, ElementsAre(2, 768));
  EXPECT_THAT(shapes.stages,
              ElementsAre(Shape{2, 96, 57, 63}, Shape{2, 192, 28, 31}, Shape{2, 384, 14, 15}, Shape{2, 768, 7, 7}));
}

TEST(OutputShapes, OfOverlappingStemsRoundUpAndOfMlpHeadsAreTheHiddenWidth) {
  EXPECT_THAT(output_shapes(architecture("convnext_nano_ols").network, 1, 225, 29).stages[0],
              ElementsAre(1, 80, 57, 8));
  ConvNextConfig config = small_network();
  config.head = Head::kMlp;
  config.head_hidden = 11;
  config.classes = 0;
  EXPECT_THAT(output_shapes(config, 1, 32, 32).pooled, ElementsAre(1, 11));
  EXPECT_THAT(output_shapes(config, 1, 32, 32).logits, ElementsAre(1, 0));
}

TEST(OutputShapes, RefuseSizesThatCannotBe) {
  const NetworkConfig config = architecture("convnext_tiny").network;
  const auto expect_refusal = [&](std::int64_t n, std::int64_t height, std::int64_t width, const std::string& text) {
    expect_error(ErrorCode::kInvalidArgument, {text}, [&] { output_shapes(config, n, height, width); });
  };
  expect_refusal(-1, 64, 64, "-1 pictures");
  expect_refusal(1, 31, 64, "at least 32 x 32");
  expect_refusal(1, 64, -64, "at least 32 x 32");
  expect_refusal(1, std::numeric_limits<std::int64_t>::max(), 64, "larger than");
}

// ---- choice of the instruction set

// Sets CONVNEXT_ISA for the life of the object.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) {
    const char* before = std::getenv("CONVNEXT_ISA");
    if (before != nullptr) before_ = before;
    if (value == nullptr) {
      unsetenv("CONVNEXT_ISA");
    } else {
      setenv("CONVNEXT_ISA", value, 1);
    }
  }
  ~IsaVariable() {
    if (before_) {
      setenv("CONVNEXT_ISA", before_->c_str(), 1);
    } else {
      unsetenv("CONVNEXT_ISA");
    }
  }
  IsaVariable(const IsaVariable&) = delete;
  IsaVariable& operator=(const IsaVariable&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(IsaChoice, IsTheBestWithoutAWish) {
  const IsaVariable unset(nullptr);
  EXPECT_EQ(make_cpu_backend()->name(), available_isas().front());
  EXPECT_EQ(available_isas().back(), "scalar");
  const IsaVariable empty("");
  EXPECT_EQ(make_cpu_backend()->name(), available_isas().front());
}

// By the name, and by the bits: two instruction sets add in different orders, or multiply in bf16 what the other
// widens, so that their results tell them apart.
TEST(IsaChoice, TheVariableTakesEffectAndTheArgumentGoesFirst) {
  const NetworkConfig config = small_network();
  const WeightStore weights = formula_weights(config, 1);
  const Tensor input = formula_input("input", {1, 3, 40, 40}, 1);
  const auto maps_of = [&](const Backend& backend) {
    std::vector<float> values;
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      if (!backend.computes_in(precision)) continue;
      const Tensor map = run(*backend.compile(config, weights, precision), config, input).stages.back();
      values.insert(values.end(), map.values<float>().begin(), map.values<float>().end());
    }
    return values;
  };
  for (const std::string& isa : available_isas()) {
    const std::vector<float> own = maps_of(*make_cpu_backend(isa));
    for (const std::string& other : available_isas()) {
      SCOPED_TRACE(isa + ", CONVNEXT_ISA=" + other);
      const IsaVariable variable(other.c_str());
      EXPECT_EQ(make_cpu_backend()->name(), other);
      EXPECT_EQ(make_cpu_backend(isa)->name(), isa);
      EXPECT_EQ(maps_of(*make_cpu_backend()) == own, other == isa);
      EXPECT_EQ(maps_of(*make_cpu_backend(isa)), own);
    }
  }
}

TEST(IsaChoice, WhatIsNotThereIsAnErrorThatListsWhatIs) {
  std::vector<std::string> absent = {"sse9", "AVX2", "avx2 ", "portable"};
  for (const char* name : {"avx2", "avx512", "avx512_bf16", "amx", "neon"}) {
    const std::vector<std::string> there = available_isas();
    if (std::find(there.begin(), there.end(), name) == there.end()) absent.emplace_back(name);
  }
  for (const std::string& name : absent) {
    SCOPED_TRACE(name);
    expect_error(ErrorCode::kUnsupported, {"'" + name + "'", "scalar"}, [&] { make_cpu_backend(name); });
    const IsaVariable variable(name.c_str());
    expect_error(ErrorCode::kUnsupported, {"CONVNEXT_ISA", available_isas().front()}, [] { make_cpu_backend(); });
  }
}

TEST(Precisions, HaveNames) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(precision_from_name(name_of(precision)), precision);
  }
  expect_error(ErrorCode::kInvalidArgument, {"'fp8'", "fp32", "int8"}, [] { precision_from_name("fp8"); });
}

}  // namespace
}  // namespace convnext
