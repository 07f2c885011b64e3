#include "engine/benchmark.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "convnext/error.h"
#include "core/peak_memory.h"
#include "io/picture_file.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "metrics/classification.h"
#include "model/description.h"
#include "model/formula.h"

namespace convnext {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUpRuns = 2;
constexpr std::int64_t kLeastRuns = 3;
constexpr double kSampleSeconds = 0.02;  // of runs between two measurements of the peak

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The instruction set whose peak is the roof; none for the reference, and where there is no fast one.
std::optional<Isa> roof_of(std::string_view name) {
  if (name == make_reference_backend()->name()) return {};
  std::optional<Isa> best;
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::kPortable) continue;
    if (name == name_of(isa)) return isa;
    if (!best) best = isa;
  }
  return best;
}

cpu::Arithmetic arithmetic_of(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return cpu::Arithmetic::kBf16;
    case Precision::kInt8:
      return cpu::Arithmetic::kInt8;
    case Precision::kFp32:
      break;
  }
  return cpu::Arithmetic::kFloat;
}

PeakRates middle_of(const PeakRates& a, const PeakRates& b) {
  return {.pointwise = (a.pointwise + b.pointwise) / 2,
          .depthwise = (a.depthwise + b.depthwise) / 2,
          .vectors = (a.vectors + b.vectors) / 2};
}

PeakRates rates_of_a_thread(Isa isa, cpu::Arithmetic arithmetic) {
  PeakRates rates;
  rates.depthwise = cpu::measure_peak(isa, cpu::Arithmetic::kFloat);
  rates.pointwise = arithmetic == cpu::Arithmetic::kFloat ? rates.depthwise : cpu::measure_peak(isa, arithmetic);
  rates.vectors = rates.pointwise;
  if (isa == Isa::kAmx && arithmetic != cpu::Arithmetic::kFloat) {
    rates.vectors = std::max(rates.depthwise, cpu::measure_peak(Isa::kAvx512Bf16, arithmetic));
  }
  return rates;
}

// What there is to multiply in a run, by the rates that it counts at.
std::vector<OperationCost> arithmetic_costs(const NetworkConfig& config, const BenchmarkLoad& load) {
  OperationCost depthwise = {.operation = Operation::kDepthwise};
  OperationCost rest = {.operation = Operation::kProject};
  for (const LayerCost& cost : layer_costs(config, load.resolution, load.resolution)) {
    const LayerSpec& layer = cost.layer;
    const bool is_depthwise =
        layer.kind == LayerKind::kConvolution && layer.groups > 1 && layer.groups == layer.in_channels;
    (is_depthwise ? depthwise : rest).multiply_accumulates +=
        load.batch * (cost.multiply_accumulates + cost.attention_multiply_accumulates);
  }
  return {depthwise, rest};
}

double median(std::vector<double> values) { return distribution_of(std::move(values)).median; }

// Of the faster half of the runs: what somebody else's work adds to a run is not the network's.
void keep_profile(NetworkRunner& runner, const BenchmarkLoad& load, BenchmarkResult& result) {
  constexpr std::size_t kMostRuns = 100;
  constexpr double kMostSeconds = 2.0;
  std::vector<std::pair<double, Profile>> runs;
  const Clock::time_point start = Clock::now();
  do {
    Profile profile(load.threads);
    runner.set_profile(&profile);
    const Clock::time_point begin = Clock::now();
    runner.run();
    const double seconds = seconds_since(begin);
    runner.set_profile(nullptr);
    runs.emplace_back(seconds, std::move(profile));
  } while (runs.size() < kMostRuns && seconds_since(start) < std::min(load.seconds, kMostSeconds));
  std::ranges::sort(runs, {}, [](const auto& run) { return run.first; });
  runs.resize((runs.size() + 1) / 2, {0.0, Profile(load.threads)});
  result.profile.emplace(load.threads);
  for (const auto& [seconds, profile] : runs) {
    result.profile->merge(profile);
    result.profile_seconds += seconds;
  }
  result.profile_runs = static_cast<std::int64_t>(runs.size());
}

}  // namespace

NetworkRunner::NetworkRunner(const BenchmarkNetwork& network, const BenchmarkLoad& load)
    : executable_(*network.executable), pool_(load.threads) {
  const OutputShapes shapes = output_shapes(network.config, load.batch, load.resolution, load.resolution);
  const bool has_classes = class_count(network.config) > 0;
  output_ = Tensor::zeros(has_classes ? shapes.logits : shapes.pooled);
  input_ = Tensor::zeros({load.batch, input_channels(network.config), std::int64_t{load.resolution}, load.resolution});
  (has_classes ? views_.logits : views_.pooled) = output_.view();
  workspace_.pool = &pool_;
}

void NetworkRunner::run() { executable_.run(std::as_const(input_).view(Layout::kNchw), views_, workspace_); }

PeakRates measure_peak_rates(std::string_view isa_name, Precision precision, ThreadPool& pool) {
  const std::optional<Isa> isa = roof_of(isa_name);
  if (!isa) return {};
  const cpu::Arithmetic arithmetic = arithmetic_of(precision);
  std::vector<PeakRates> rates(static_cast<std::size_t>(pool.threads()));
  pool.run(pool.threads(),
           [&](int i, int) { rates[static_cast<std::size_t>(i)] = rates_of_a_thread(*isa, arithmetic); });
  PeakRates sum;
  for (const PeakRates& own : rates) {
    sum.pointwise += own.pointwise;
    sum.depthwise += own.depthwise;
    sum.vectors += own.vectors;
  }
  return sum;
}

double seconds_at_peak(const std::vector<OperationCost>& costs, const PeakRates& rates) {
  double seconds = 0.0;
  for (const OperationCost& cost : costs) {
    if (cost.multiply_accumulates == 0) continue;
    const double rate = cost.operation == Operation::kDepthwise ? rates.depthwise : rates.pointwise;
    seconds += 2e-9 * static_cast<double>(cost.multiply_accumulates) / rate;
  }
  return seconds;
}

BenchmarkResult measure_network(const BenchmarkNetwork& network, const BenchmarkLoad& load, bool with_profile) {
  BenchmarkResult result;
  if (with_profile && !std::holds_alternative<ConvNextConfig>(network.config)) {
    throw Error(ErrorCode::kUnsupported, "there are profiles of ConvNeXt alone");
  }
  const std::vector<OperationCost> costs = arithmetic_costs(network.config, load);
  for (const OperationCost& cost : costs) result.gflop += 2e-9 * static_cast<double>(cost.multiply_accumulates);

  reset_peak_memory();
  NetworkRunner runner(network, load);
  runner.input() = formula_input("benchmark", runner.input().shape(), 1);
  for (int i = 0; i < kWarmUpRuns; ++i) runner.run();

  const auto peak_rates = [&] { return measure_peak_rates(network.isa, network.precision, runner.pool()); };
  std::vector<double> latencies, rooflines, vector_rooflines, pointwise, depthwise, vectors;
  const Clock::time_point start = Clock::now();
  PeakRates before = peak_rates();
  const bool has_roof = before.pointwise > 0;
  do {
    const Clock::time_point sample = Clock::now();
    double taken = 0.0;
    int runs = 0;
    do {
      const Clock::time_point begin = Clock::now();
      runner.run();
      latencies.push_back(seconds_since(begin));
      ++runs;
      taken = seconds_since(sample);
    } while (taken < kSampleSeconds);
    const PeakRates after = peak_rates();
    const PeakRates rates = middle_of(before, after);
    before = after;
    if (has_roof) {
      const PeakRates without_tiles = {.pointwise = rates.vectors, .depthwise = rates.depthwise};
      rooflines.push_back(seconds_at_peak(costs, rates) * runs / taken);
      vector_rooflines.push_back(seconds_at_peak(costs, without_tiles) * runs / taken);
    }
    pointwise.push_back(rates.pointwise);
    depthwise.push_back(rates.depthwise);
    vectors.push_back(rates.vectors);
    if (load.on_progress) load.on_progress(seconds_since(start));
  } while (seconds_since(start) < load.seconds || static_cast<std::int64_t>(latencies.size()) < kLeastRuns);

  result.runs = static_cast<std::int64_t>(latencies.size());
  result.latency = distribution_of(std::move(latencies));
  result.roofline = median(std::move(rooflines));
  result.vector_roofline = median(std::move(vector_rooflines));
  result.peak = {.pointwise = median(std::move(pointwise)),
                 .depthwise = median(std::move(depthwise)),
                 .vectors = median(std::move(vectors))};
  if (with_profile) keep_profile(runner, load, result);
  result.peak_memory = peak_memory();
  return result;
}

FileBenchmarkResult measure_from_files(const BenchmarkNetwork& network, const BenchmarkLoad& load,
                                       const std::vector<std::filesystem::path>& files, Preprocessing preprocessing) {
  if (input_channels(network.config) != 3) {
    throw Error(ErrorCode::kUnsupported, "a picture has 3 channels, and this network takes another number");
  }
  preprocessing.resolution = load.resolution;
  reset_peak_memory();
  NetworkRunner runner(network, load);
  const auto batch = static_cast<std::size_t>(load.batch);
  const std::size_t values = runner.input().values<float>().size() / batch;
  const std::size_t classes = runner.output().values<float>().size() / batch;
  std::vector<Image> images(batch);
  std::size_t next = 0;  // of `files`
  FileBenchmarkResult result;
  std::vector<double> latencies;

  const auto run_batch = [&] {
    const auto at = [](Clock::time_point a, Clock::time_point b) {
      return std::chrono::duration<double>(b - a).count();
    };
    const Clock::time_point start = Clock::now();
    runner.pool().run(load.batch, [&](int i, int) {
      const auto index = static_cast<std::size_t>(i);
      images[index] = open_picture({.path = files[(next + index) % files.size()], .member = {}});
    });
    const Clock::time_point decoded = Clock::now();
    runner.pool().run(load.batch, [&](int i, int) {
      const auto index = static_cast<std::size_t>(i);
      preprocess(images[index], preprocessing, runner.input().values<float>().subspan(index * values, values));
    });
    const Clock::time_point resized = Clock::now();
    runner.run();
    for (std::size_t i = 0; i < batch; ++i) top_k(runner.output().values<float>().subspan(i * classes, classes), 1);
    const Clock::time_point end = Clock::now();
    next = (next + batch) % files.size();
    result.decode_seconds += at(start, decoded);
    result.resize_seconds += at(decoded, resized);
    result.network_seconds += at(resized, end);
    result.pictures += load.batch;
    latencies.push_back(at(start, end));
  };
  for (int i = 0; i < kWarmUpRuns; ++i) run_batch();
  result = {};
  latencies.clear();
  next = 0;
  const Clock::time_point start = Clock::now();
  do {
    run_batch();
    result.seconds = seconds_since(start);
    if (load.on_progress) load.on_progress(result.seconds);
  } while (result.seconds < load.seconds || static_cast<std::int64_t>(latencies.size()) < kLeastRuns);
  result.latency = distribution_of(std::move(latencies));
  result.peak_memory = peak_memory();
  return result;
}

}  // namespace convnext
