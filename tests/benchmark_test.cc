// What `convnext bench` computes from: costs, profiles, peaks and the measurements themselves.
#include "engine/benchmark.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "convnext/error.h"
#include "core/peak_memory.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "metrics/distribution.h"
#include "model/description.h"
#include "model/registry.h"
#include "tests/expect_error.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

const OperationCost* find_cost(const std::vector<OperationCost>& costs, NetworkPart part, Operation operation) {
  const auto found = std::ranges::find_if(
      costs, [&](const OperationCost& cost) { return cost.part == part && cost.operation == operation; });
  return found == costs.end() ? nullptr : &*found;
}

// numpy.percentile of the same values.
TEST(DistributionOf, QuantilesLieBetweenNeighboursAsNumpyHasThem) {
  const Distribution four = distribution_of({4.0, 1.0, 3.0, 2.0});
  EXPECT_DOUBLE_EQ(four.smallest, 1.0);
  EXPECT_DOUBLE_EQ(four.median, 2.5);
  EXPECT_DOUBLE_EQ(four.p95, 3.85);
  EXPECT_DOUBLE_EQ(four.p99, 3.97);
  EXPECT_DOUBLE_EQ(four.spread, (3.25 - 1.75) / 2.5);
  const Distribution one = distribution_of({7.0});
  EXPECT_DOUBLE_EQ(one.median, 7.0);
  EXPECT_DOUBLE_EQ(one.p99, 7.0);
  EXPECT_DOUBLE_EQ(one.spread, 0.0);
  EXPECT_DOUBLE_EQ(distribution_of({}).median, 0.0);
}

// A layer that is in no operation, or in two, would move every fraction of the roof.
TEST(OperationCosts, HoldEveryMultiplyAccumulateOfTheNetworkOnce) {
  for (const char* name : {"convnext_tiny", "convnextv2_atto", "convnext_isotropic_small", "convnext_tiny_hnf"}) {
    const NetworkConfig& config = architecture(name).network;
    std::int64_t sum = 0;
    for (const OperationCost& cost : operation_costs(config, 3, 224, 192, Precision::kFp32)) {
      sum += cost.multiply_accumulates;
    }
    EXPECT_NEAR(1e-9 * static_cast<double>(sum), 3 * count_cost(config, 224, 192).gmac, 1e-9) << name;
  }
}

TEST(OperationCosts, AreTheLayersByHand) {
  const auto costs = operation_costs(architecture("convnext_tiny").network, 2, 224, 224, Precision::kFp32);
  const auto macs = [&](NetworkPart part, Operation operation) {
    const OperationCost* cost = find_cost(costs, part, operation);
    return cost == nullptr ? -1 : cost->multiply_accumulates;
  };
  EXPECT_EQ(macs(NetworkPart::kStem, Operation::kConvolution), 2LL * 56 * 56 * 96 * 48);
  EXPECT_EQ(macs(NetworkPart::kStage1, Operation::kDepthwise), 2LL * 3 * 56 * 56 * 96 * 49);
  EXPECT_EQ(macs(NetworkPart::kStage1, Operation::kConvolution), -1) << "nothing comes before the first stage";
  EXPECT_EQ(macs(NetworkPart::kStage2, Operation::kConvolution), 2LL * 28 * 28 * 192 * 96 * 4);
  EXPECT_EQ(macs(NetworkPart::kStage3, Operation::kExpand), 2LL * 9 * 14 * 14 * 384 * 4 * 384);
  EXPECT_EQ(macs(NetworkPart::kStage3, Operation::kProject), 2LL * 9 * 14 * 14 * 384 * 4 * 384);
  EXPECT_EQ(macs(NetworkPart::kStage4, Operation::kNorm), 0);
  EXPECT_EQ(macs(NetworkPart::kStage4, Operation::kGrn), -1) << "V1 has none";
  EXPECT_EQ(macs(NetworkPart::kHead, Operation::kHead), 2LL * 768 * 1000);
  const auto v2 = operation_costs(architecture("convnextv2_atto").network, 1, 224, 224, Precision::kFp32);
  EXPECT_NE(find_cost(v2, NetworkPart::kStage4, Operation::kGrn), nullptr);
}

// 8 channels on a map of 8 x 8, hidden 32.
TEST(OperationCosts, BytesFollowThePrecisionWhereTheEngineMay) {
  const NetworkConfig config = tiny_card().network;
  const auto bytes = [&](Operation operation, Precision precision) {
    return find_cost(operation_costs(config, 1, 32, 32, precision), NetworkPart::kStage1, operation)->bytes;
  };
  const std::uint64_t map = 64 * 8, hidden = 64 * 32, weights = 8 * 32;
  EXPECT_EQ(bytes(Operation::kDepthwise, Precision::kFp32), 4 * (map + map + 8 * 49 + 8));
  EXPECT_EQ(bytes(Operation::kDepthwise, Precision::kInt8), bytes(Operation::kDepthwise, Precision::kFp32));
  EXPECT_EQ(bytes(Operation::kExpand, Precision::kFp32), 4 * (map + hidden + weights + 32));
  EXPECT_EQ(bytes(Operation::kExpand, Precision::kBf16), 2 * (map + hidden + weights + 32));
  // The output and the shortcut are maps.
  EXPECT_EQ(bytes(Operation::kProject, Precision::kInt8), hidden + weights + 8 + 4 * (map + map + 8));
}

TEST(OperationCosts, ATooSmallPictureIsAnError) {
  expect_error(ErrorCode::kInvalidArgument, {"too small"},
               [] { operation_costs(architecture("convnext_tiny").network, 1, 8, 8, Precision::kFp32); });
}

TEST(SecondsAtPeak, DepthwiseGoesAtItsOwnRate) {
  const std::vector<OperationCost> costs = {
      {.part = NetworkPart::kStage1, .operation = Operation::kDepthwise, .multiply_accumulates = 1'000'000'000},
      {.part = NetworkPart::kStage1, .operation = Operation::kNorm},
      {.part = NetworkPart::kStage1, .operation = Operation::kExpand, .multiply_accumulates = 2'000'000'000}};
  EXPECT_DOUBLE_EQ(seconds_at_peak(costs, {.pointwise = 400.0, .depthwise = 100.0}), 4.0 / 400 + 2.0 / 100);
}

TEST(Profile, EachThreadsLapsAreAddedUpInItsOwnCells) {
  Profile profile(2);
  profile.add(0, NetworkPart::kStem, Operation::kConvolution, 5);
  profile.add(1, NetworkPart::kStem, Operation::kConvolution, 7);
  profile.add(1, stage_part(3), Operation::kProject, 11);
  EXPECT_EQ(profile.of_thread(0, NetworkPart::kStem, Operation::kConvolution).nanoseconds, 5);
  EXPECT_EQ(profile.of_thread(1, NetworkPart::kStage4, Operation::kProject).nanoseconds, 11);
  EXPECT_EQ(profile.of_thread(0, NetworkPart::kStage4, Operation::kProject).calls, 0);
  EXPECT_EQ(profile.total(NetworkPart::kStem, Operation::kConvolution).nanoseconds, 12);
  EXPECT_EQ(profile.total(NetworkPart::kStem, Operation::kConvolution).calls, 2);
  EXPECT_EQ(profile.total_nanoseconds(), 23);
  Profile sum(2);
  sum.merge(profile);
  sum.merge(profile);
  EXPECT_EQ(sum.of_thread(1, NetworkPart::kStage4, Operation::kProject).nanoseconds, 22);
  EXPECT_EQ(sum.total(NetworkPart::kStem, Operation::kConvolution).calls, 4);
}

TEST(ProfileTimer, BooksEachLapOnceAndNothingWithoutAProfile) {
  Profile profile(1);
  const auto start = std::chrono::steady_clock::now();
  ProfileTimer timer(&profile, 0, NetworkPart::kHead);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  timer.lap(Operation::kNorm);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  timer.lap(Operation::kHead);
  const std::chrono::nanoseconds whole = std::chrono::steady_clock::now() - start;
  EXPECT_GE(profile.total(NetworkPart::kHead, Operation::kNorm).nanoseconds, 2'000'000);
  EXPECT_GE(profile.total(NetworkPart::kHead, Operation::kHead).nanoseconds, 1'000'000);
  EXPECT_LE(profile.total_nanoseconds(), whole.count());
  ProfileTimer(nullptr, 0, NetworkPart::kHead).lap(Operation::kHead);
}

TEST(MeasurePeak, EveryInstructionSetHasARateForEveryArithmetic) {
  for (const Isa isa : supported_isas()) {
    for (const auto arithmetic : {cpu::Arithmetic::kFloat, cpu::Arithmetic::kBf16, cpu::Arithmetic::kInt8}) {
      const double rate = cpu::measure_peak(isa, arithmetic);
      EXPECT_TRUE(std::isfinite(rate) && rate > 0.01) << name_of(isa) << ": " << rate;
    }
  }
}

TEST(PeakMemory, CountsWhatWasTouchedSinceTheReset) {
  if (!reset_peak_memory()) GTEST_SKIP() << "the system does not let a process reset it";
  const std::uint64_t before = peak_memory();
  ASSERT_GT(before, 0u);
  constexpr std::size_t kBytes = 64 << 20;
  // Mapped by hand: a sanitizer's heap keeps what is given back.
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  munmap(memory, kBytes);
  EXPECT_GE(peak_memory(), before + kBytes / 2);
  ASSERT_TRUE(reset_peak_memory());
  EXPECT_LT(peak_memory(), before + kBytes / 2) << "the reset had no effect";
}

class Benchmark : public testing::Test {
 protected:
  BenchmarkNetwork network(const Backend& backend) {
    executable_ = backend.compile(config_, formula_weights(config_, 1), Precision::kFp32);
    return {.config = config_, .precision = Precision::kFp32, .isa = backend.name(), .executable = executable_.get()};
  }

  NetworkConfig config_ = tiny_card().network;
  std::unique_ptr<Executable> executable_;
};

TEST_F(Benchmark, AResultIsWholeAndInOrder) {
  const auto backend = make_cpu_backend();
  int progress = 0;
  const BenchmarkResult result = measure_network(
      network(*backend),
      {.batch = 2, .resolution = 32, .threads = 2, .seconds = 0.0, .on_progress = [&](double) { ++progress; }},
      /*with_profile=*/true);
  EXPECT_GE(result.runs, 3);
  EXPECT_GE(progress, 1);
  EXPECT_GT(result.latency.smallest, 0.0);
  EXPECT_LE(result.latency.smallest, result.latency.median);
  EXPECT_LE(result.latency.median, result.latency.p95);
  EXPECT_LE(result.latency.p95, result.latency.p99);
  EXPECT_NEAR(result.gflop, 2 * 2 * count_cost(config_, 32, 32).gmac, 1e-12);
  EXPECT_GT(result.peak_memory, executable_->weight_bytes());
  ASSERT_TRUE(result.profile);
  EXPECT_EQ(result.profile->threads(), 2);
  EXPECT_GE(result.profile_runs, 1);
  const bool has_roof = backend->name() != "scalar";
  EXPECT_EQ(result.peak.pointwise > 0, has_roof);
  EXPECT_EQ(result.peak.depthwise > 0, has_roof);
  EXPECT_EQ(result.peak.vectors > 0, has_roof);
  EXPECT_EQ(result.roofline > 0, has_roof);
  EXPECT_EQ(result.vector_roofline, result.roofline) << "float32 is not multiplied by tiles";
}

// Tiles multiply narrow numbers far faster than vectors do, so that the roof without them is lower; nothing else does.
TEST_F(Benchmark, WithoutTilesTheRoofIsLower) {
  ThreadPool pool(1);
  for (const std::string& isa : available_isas()) {
    for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
      const PeakRates rates = measure_peak_rates(isa, precision, pool);
      if (isa == "amx") {
        EXPECT_LT(rates.vectors, rates.pointwise);
        EXPECT_GE(rates.vectors, rates.depthwise);
      } else {
        EXPECT_EQ(rates.vectors, rates.pointwise) << isa;
      }
    }
  }
}

TEST_F(Benchmark, TheScalarReferenceHasNoRoof) {
  const auto backend = make_reference_backend();
  const BenchmarkResult result =
      measure_network(network(*backend), {.batch = 1, .resolution = 32, .threads = 1, .seconds = 0.0}, false);
  EXPECT_EQ(result.peak.pointwise, 0.0);
  EXPECT_EQ(result.roofline, 0.0);
  EXPECT_EQ(result.vector_roofline, 0.0);
  EXPECT_FALSE(result.profile);
}

// One thread is never in two operations at once, and what it does between them is little. The best of many runs: a
// thread may lose its processor anywhere.
TEST_F(Benchmark, AProfileAddsUpToTheTimeOfTheRun) {
  const auto backend = make_cpu_backend();
  if (backend->name() == "scalar") GTEST_SKIP() << "the scalar reference keeps no profile";
  config_ = architecture("convnextv2_atto").network;
  const BenchmarkNetwork compiled = network(*backend);
  const Tensor input = formula_input("input", {1, 3, 96, 96}, 1);
  Tensor logits = Tensor::zeros({1, 1000});
  Workspace workspace;
  OutputViews outputs;
  outputs.logits = logits.view();
  double largest_part = 0.0;
  for (int i = 0; i < 20; ++i) {
    Profile profile(1);
    workspace.profile = &profile;
    const auto start = std::chrono::steady_clock::now();
    compiled.executable->run(input.view(Layout::kNchw), outputs, workspace);
    const std::chrono::nanoseconds whole = std::chrono::steady_clock::now() - start;
    EXPECT_LE(profile.total_nanoseconds(), whole.count());
    if (i == 0) continue;  // finds its memory
    largest_part =
        std::max(largest_part, static_cast<double>(profile.total_nanoseconds()) / static_cast<double>(whole.count()));
    for (const OperationCost& cost : operation_costs(config_, 1, 96, 96, Precision::kFp32)) {
      EXPECT_GT(profile.total(cost.part, cost.operation).calls, 0)
          << name_of(cost.part) << ", " << name_of(cost.operation);
    }
  }
  EXPECT_GT(largest_part, 0.9);
}

TEST_F(Benchmark, TheStepsFromFilesToLabelsAddUpToTheWhole) {
  TemporaryFolder folder;
  std::vector<fs::path> files;
  for (int i = 0; i < 3; ++i) {
    files.push_back(folder / ("picture" + std::to_string(i) + ".png"));
    write_picture(files.back(), formula_picture(300, 200, static_cast<std::uint64_t>(i)));
  }
  const auto backend = make_cpu_backend();
  const FileBenchmarkResult result = measure_from_files(
      network(*backend), {.batch = 4, .resolution = 32, .threads = 2, .seconds = 0.05}, files, Preprocessing());
  EXPECT_GE(result.pictures, 12);  // batches larger than the folder go round it
  EXPECT_EQ(result.pictures % 4, 0);
  EXPECT_GT(result.decode_seconds, 0.0);
  EXPECT_GT(result.resize_seconds, 0.0);
  EXPECT_GT(result.network_seconds, 0.0);
  const double sum = result.decode_seconds + result.resize_seconds + result.network_seconds;
  EXPECT_LE(sum, result.seconds);
  EXPECT_GT(sum, 0.9 * result.seconds);
  EXPECT_GT(result.latency.median, 0.0);
}

TEST_F(Benchmark, FilesThatCannotBeMeasuredAreErrors) {
  TemporaryFolder folder;
  write_bytes(folder / "broken.png", "not a picture");
  const auto backend = make_cpu_backend();
  const BenchmarkLoad load = {.batch = 1, .resolution = 32, .threads = 1, .seconds = 0.0};
  expect_error(ErrorCode::kUnsupported, {"broken.png"},
               [&] { measure_from_files(network(*backend), load, {folder / "broken.png"}, Preprocessing()); });
  std::get<ConvNextConfig>(config_).input_channels = 1;
  expect_error(ErrorCode::kUnsupported, {"3 channels"},
               [&] { measure_from_files(network(*backend), load, {folder / "broken.png"}, Preprocessing()); });
}

}  // namespace
}  // namespace convnext
