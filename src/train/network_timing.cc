#include "train/network_timing.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <utility>

#include "convnext/error.h"
#include "core/memory_limit.h"
#include "core/names.h"
#include "core/peak_memory.h"
#include "core/progress.h"
#include "engine/benchmark.h"
#include "model/description.h"
#include "model/formula.h"
#include "nn/network.h"
#include "train/autocast.h"
#include "train/interleaved_timing.h"

namespace convnext {
namespace {

constexpr std::array kTimingPrecisions = {Named<TimingPrecision>{TimingPrecision::kFp32, "fp32"},
                                          Named<TimingPrecision>{TimingPrecision::kTf32, "tf32"},
                                          Named<TimingPrecision>{TimingPrecision::kBf16, "bf16"}};

constexpr int kWarmUpPassesOnCpu = 2;
// Swin's main.py, throughput().
constexpr int kWarmUpPassesOnGpu = 50;
constexpr int kTimedPassesOnGpu = 30;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Tensor timing_input(const ComparedNetwork& network, int batch) {
  return formula_input("benchmark", {batch, input_channels(network.config), network.resolution, network.resolution}, 1);
}

// Weights of convolutions in the order of the pictures, as in the paper's measurements on an A100.
void make_channels_last(Network& network) {
  constexpr int kConvolution = 4;  // axes
  for (torch::Tensor& parameter : network.parameters()) {
    if (parameter.dim() == kConvolution) {
      parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
    }
  }
}

class LibtorchPasses {
 public:
  LibtorchPasses(const TimedNetwork& timed, const TimingLoad& load) : load_(load) {
    network_ = make_network(timed.network->config);
    load_weights(*network_, timed.weights());
    network_->eval();
    network_->to(load.device);
    make_channels_last(*network_);
    Tensor pictures = timing_input(*timed.network, load.batch);
    input_ = torch::from_blob(pictures.bytes().data(), pictures.shape(), torch::kFloat32)
                 .clone(torch::MemoryFormat::ChannelsLast)
                 .to(load.device);
  }

  void pass() {
    torch::InferenceMode inference;
    const Autocast autocast(load_.device.type(), load_.precision == TimingPrecision::kBf16);
    network_->forward(input_);
  }

  void synchronize() const {
    if (load_.device.is_cuda()) torch::cuda::synchronize(load_.device.has_index() ? load_.device.index() : -1);
  }

  std::uint64_t weight_bytes() const {
    std::uint64_t bytes = 0;
    for (const torch::Tensor& parameter : network_->parameters()) bytes += parameter.nbytes();
    for (const torch::Tensor& buffer : network_->buffers()) bytes += buffer.nbytes();
    return bytes;
  }

 private:
  const TimingLoad& load_;
  std::shared_ptr<Network> network_;
  torch::Tensor input_;
};

class EnginePasses {
 public:
  EnginePasses(const TimedNetwork& timed, const TimingLoad& load)
      : backend_(make_cpu_backend()),
        network_{.config = timed.network->config,
                 .precision = load.precision == TimingPrecision::kBf16 ? Precision::kBf16 : Precision::kFp32,
                 .isa = backend_->name(),
                 .executable = nullptr},
        load_{.batch = load.batch, .resolution = timed.network->resolution, .threads = load.threads},
        input_(timing_input(*timed.network, load.batch)) {
    executable_ = backend_->compile(network_.config, timed.weights(), network_.precision);
    network_.executable = executable_.get();
    renew();
  }

  // Lets its memory go and begins again with none.
  void renew() {
    runner_.reset();
    runner_ = std::make_unique<NetworkRunner>(network_, load_);
    runner_->input() = input_;
  }
  void let_go() { runner_.reset(); }
  void pass() { runner_->run(); }
  std::uint64_t weight_bytes() const { return executable_->weight_bytes(); }

 private:
  std::unique_ptr<Backend> backend_;
  BenchmarkNetwork network_;
  BenchmarkLoad load_;
  Tensor input_;
  std::unique_ptr<Executable> executable_;
  std::unique_ptr<NetworkRunner> runner_;
};

// By how much the resident size rises at most while this runs.
std::optional<std::uint64_t> memory_of(const std::function<void()>& work) {
  if (!reset_peak_memory()) return {};
  const std::uint64_t before = peak_memory();
  work();
  return std::max(peak_memory(), before) - before;
}

// Float32 weights in each backend, and the largest network's maps.
void require_memory(const std::vector<TimedNetwork>& networks, const TimingLoad& load) {
  const std::uint64_t limit = memory_limit();
  std::uint64_t weights = 0, largest_maps = 0;
  for (const TimedNetwork& timed : networks) {
    const ComparedNetwork& network = *timed.network;
    const NetworkCost cost = count_cost(network.config, network.resolution, network.resolution);
    const std::uint64_t copies = std::holds_alternative<ConvNextConfig>(network.config) ? 2 : 1;
    weights += copies * 4 * static_cast<std::uint64_t>(cost.params);
    largest_maps = std::max(largest_maps, static_cast<std::uint64_t>(load.batch) * cost.peak_activation_bytes);
  }
  if (limit == 0 || weights + largest_maps <= limit) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("all networks are in memory while they take turns: their weights and one batch need {}, and "
                          "this process may use {}; name fewer networks, or give a smaller --batch",
                          format_bytes(weights + largest_maps), format_bytes(limit)));
}

MeasuredSpeed speed_of(std::string backend, std::vector<double> seconds, int pictures,
                       std::optional<std::uint64_t> memory) {
  MeasuredSpeed speed;
  speed.backend = std::move(backend);
  speed.samples = static_cast<std::int64_t>(seconds.size());
  speed.seconds = distribution_of(std::move(seconds));
  speed.pictures = pictures;
  speed.memory_bytes = memory;
  return speed;
}

std::vector<ComparisonRow> measure_on_cpu(const std::vector<TimedNetwork>& networks, const TimingLoad& load) {
  struct Entrant {
    const ComparedNetwork* network;
    std::string backend;
    std::optional<std::uint64_t> memory;
  };
  require_memory(networks, load);
  std::vector<Entrant> entrants;
  std::vector<std::function<void()>> samples;
  for (const TimedNetwork& timed : networks) {
    const auto torch_passes = std::make_shared<LibtorchPasses>(timed, load);
    for (int i = 0; i < kWarmUpPassesOnCpu; ++i) torch_passes->pass();
    std::optional<std::uint64_t> memory = memory_of([&] { torch_passes->pass(); });
    if (memory) *memory += torch_passes->weight_bytes();
    entrants.push_back({timed.network, "libtorch", memory});
    samples.emplace_back([torch_passes] { torch_passes->pass(); });

    if (!std::holds_alternative<ConvNextConfig>(timed.network->config)) continue;
    const auto engine_passes = std::make_shared<EnginePasses>(timed, load);
    for (int i = 0; i < kWarmUpPassesOnCpu; ++i) engine_passes->pass();
    engine_passes->let_go();
    memory = memory_of([&] {
      engine_passes->renew();
      engine_passes->pass();
    });
    if (memory) *memory += engine_passes->weight_bytes();
    entrants.push_back({timed.network, "engine", memory});
    samples.emplace_back([engine_passes] { engine_passes->pass(); });
  }
  std::vector<std::vector<double>> seconds =
      time_in_turns(samples, {.seconds = load.seconds}, seconds_now, load.on_sample);
  std::vector<ComparisonRow> rows;
  for (std::size_t i = 0; i < entrants.size(); ++i) {
    const Entrant& entrant = entrants[i];
    rows.push_back({*entrant.network, speed_of(entrant.backend, std::move(seconds[i]), load.batch, entrant.memory)});
  }
  return rows;
}

ComparisonRow measure_on_gpu(const TimedNetwork& timed, const TimingLoad& load) {
  const c10::DeviceIndex index = load.device.has_index() ? load.device.index() : c10::DeviceIndex{0};
  c10::DeviceAllocator* allocator = c10::getDeviceAllocator(load.device.type());
  LibtorchPasses passes(timed, load);
  allocator->resetPeakStats(index);
  for (int i = 0; i < kWarmUpPassesOnGpu; ++i) passes.pass();
  passes.synchronize();
  const auto sample = [&] {
    for (int i = 0; i < kTimedPassesOnGpu; ++i) passes.pass();
    passes.synchronize();
  };
  std::vector<std::vector<double>> seconds =
      time_in_turns({sample}, {.seconds = load.seconds, .turns = 1, .least_samples = 1}, seconds_now, load.on_sample);
  constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const std::int64_t peak = allocator->getDeviceStats(index).allocated_bytes[kAll].peak;
  return {*timed.network, speed_of("libtorch", std::move(seconds[0]), kTimedPassesOnGpu * load.batch,
                                   static_cast<std::uint64_t>(peak))};
}

}  // namespace

std::string_view name_of(TimingPrecision precision) { return find_name(kTimingPrecisions, precision); }

TimingPrecision timing_precision_from_name(std::string_view name) {
  return find_value(kTimingPrecisions, name, "the precision");
}

std::vector<ComparisonRow> measure_networks(const std::vector<TimedNetwork>& networks, const TimingLoad& load) {
  at::set_num_threads(load.threads);
  try {
    if (load.device.is_cpu()) {
      if (load.precision == TimingPrecision::kTf32) {
        throw Error(ErrorCode::kUnsupported, "TF32 is what a GPU computes in: a CPU has --precision fp32 and bf16");
      }
      return measure_on_cpu(networks, load);
    }
    at::globalContext().setBenchmarkCuDNN(true);
    at::globalContext().setAllowTF32CuDNN(load.precision == TimingPrecision::kTf32);
    at::globalContext().setAllowTF32CuBLAS(load.precision == TimingPrecision::kTf32);
    std::vector<ComparisonRow> rows;
    for (const TimedNetwork& timed : networks) rows.push_back(measure_on_gpu(timed, load));
    return rows;
  } catch (const c10::OutOfMemoryError&) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the device has not enough memory for a batch of {}: give a smaller --batch", load.batch));
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::kUnsupported, fmt::format("libtorch failed: {}", error.what_without_backtrace()));
  }
}

}  // namespace convnext
