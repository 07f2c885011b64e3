// A whole network with formula weights: best and median time, and how much of the machine's arithmetic that is.
//
//   bench_network [architecture [resolution [seconds a row]]]        convnext_tiny 224 3
//
// Machines are shared and clocks change, so the rows take turns, a few runs each, and every turn begins with a burst of
// multiply-adds on as many threads: "of peak" is the best time against the best burst.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bench/fma_peak.h"
#include "convnext/error.h"
#include "engine/backend.h"
#include "model/description.h"
#include "model/formula.h"
#include "model/registry.h"

namespace convnext {
namespace {

using Clock = std::chrono::steady_clock;

struct Row {
  int threads = 1;
  int batch = 1;
  std::unique_ptr<ThreadPool> pool;
  Workspace workspace;
  Tensor input;
  Tensor output;
  std::vector<double> seconds;  // of each run
  double peak = 0;              // GFLOP/s on these threads, the best burst
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void take_turn(const Executable& executable, Isa isa, bool has_classes, Row& row) {
  std::vector<double> peaks(static_cast<std::size_t>(row.threads));
  row.pool->run(row.threads, [&](int i, int) { peaks[static_cast<std::size_t>(i)] = fma_peak(isa); });
  row.peak = std::max(row.peak, std::accumulate(peaks.begin(), peaks.end(), 0.0));
  OutputViews outputs;
  (has_classes ? outputs.logits : outputs.pooled) = row.output.view();
  const auto start = Clock::now();
  double used = 0;
  do {
    const auto begin = Clock::now();
    executable.run(std::as_const(row.input).view(Layout::kNchw), outputs, row.workspace);
    row.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    used = std::chrono::duration<double>(Clock::now() - start).count();
  } while (used < 0.3);
}

void bench(const std::string& name, std::int64_t resolution, double seconds) {
  const NetworkConfig& config = architecture(name).network;
  const WeightStore weights = formula_weights(config, 1);
  const std::unique_ptr<Backend> backend = make_cpu_backend();
  Isa isa = Isa::kPortable;
  for (const Isa candidate : supported_isas()) {
    if (backend->name() == name_of(candidate)) isa = candidate;
  }
  const auto start = Clock::now();
  const std::unique_ptr<Executable> executable = backend->compile(config, weights, Precision::kFp32);
  const double compile_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double gflop = 2 * count_cost(config, resolution, resolution).gmac;
  fmt::print("{} at {} x {}, fp32 on {}: {:.2f} GFLOP a picture, {:.1f} MB of weights packed in {:.0f} ms\n", name,
             resolution, resolution, backend->name(), gflop, 1e-6 * static_cast<double>(executable->weight_bytes()),
             1e3 * compile_seconds);

  std::vector<Row> rows;
  for (const int threads : std::set<int>{1, available_threads()}) {
    for (const int batch : {1, 8}) {
      Row& row = rows.emplace_back();
      row.threads = threads;
      row.batch = batch;
      row.pool = std::make_unique<ThreadPool>(threads);
      row.workspace.pool = row.pool.get();
      row.input = formula_input("bench", {batch, input_channels(config), resolution, resolution}, 1);
      const OutputShapes shapes = output_shapes(config, batch, resolution, resolution);
      row.output = Tensor::zeros(class_count(config) > 0 ? shapes.logits : shapes.pooled);
    }
  }
  const auto until = Clock::now() + std::chrono::duration<double>(seconds * static_cast<double>(rows.size()));
  while (Clock::now() < until) {
    for (Row& row : rows) take_turn(*executable, isa, class_count(config) > 0, row);
  }
  fmt::print("threads  batch   best ms  median ms  pictures/s  GFLOP/s  of peak\n");
  for (const Row& row : rows) {
    const double best = *std::min_element(row.seconds.begin(), row.seconds.end());
    const double rate = row.batch / best;
    fmt::print("{:7}  {:5}  {:8.1f}  {:9.1f}  {:10.1f}  {:7.1f}  {:5.1f} %  (peak {:.0f}, {} runs)\n", row.threads,
               row.batch, 1e3 * best, 1e3 * median(row.seconds), rate, rate * gflop, 100 * rate * gflop / row.peak,
               row.peak, row.seconds.size());
  }
}

}  // namespace
}  // namespace convnext

int main(int argc, char** argv) {
  try {
    convnext::bench(argc > 1 ? argv[1] : "convnext_tiny", argc > 2 ? std::atoi(argv[2]) : 224,
                    argc > 3 ? std::atof(argv[3]) : 3.0);
  } catch (const convnext::Error& error) {
    fmt::print(stderr, "bench_network: {}\n", error.what());
    return 1;
  }
}
