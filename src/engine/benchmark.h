// How fast a compiled network is on this machine, and how much of what the machine could do that is.
//
// The roof: every multiply-accumulate of the network, attention's among them, at the rate that the arithmetic units
// reach with all operands in registers, and nothing else taking time. Depthwise convolutions count at the float32 rate,
// linears and dense convolutions at that of the precision (kernels/peak.h). Where the instruction set multiplies tiles,
// far faster than vectors, there is a second roof without them: float32's multiply-adds, or dot products of fewer bits
// where these are faster. What has kernels of its own, as libtorch has, is held against the best instruction set of the
// machine. Machines are shared and clocks change, so the rates are measured again around every sample of a few runs, on
// the same threads, and each sample is held against its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "convnext/image.h"
#include "engine/backend.h"
#include "engine/profile.h"
#include "metrics/distribution.h"
#include "model/config.h"

namespace convnext {

// What is measured, and in which way it was compiled.
struct BenchmarkNetwork {
  NetworkConfig config;
  Precision precision = Precision::kFp32;
  std::string_view isa;  // Backend::name()
  const Executable* executable = nullptr;
};

struct BenchmarkLoad {
  int batch = 1;
  int resolution = 224;
  int threads = 1;
  double seconds = 3.0;  // to spend, at least; there are three runs at least
  // Called after each sample with the seconds spent.
  std::function<void(double)> on_progress{};
};

// Billions of operations a second, two each multiply-accumulate, of all threads together.
struct PeakRates {
  double pointwise = 0.0;
  double depthwise = 0.0;
  double vectors = 0.0;  // pointwise without tiles; where there are none, the same
};

struct BenchmarkResult {
  std::int64_t runs = 0;
  Distribution latency;            // seconds a run
  double gflop = 0.0;              // of one run: twice its multiply-accumulates, 1e9
  PeakRates peak;                  // medians over the samples; zeros for the scalar reference, which has no roof
  double roofline = 0.0;           // median over the samples of the time at the roof to the time taken; 0 likewise
  double vector_roofline = 0.0;    // the same of the roof without tiles
  std::uint64_t peak_memory = 0;   // bytes: of the process while this ran
  std::optional<Profile> profile;  // of `profile_runs` runs more, which took `profile_seconds`; the fast half of them
  std::int64_t profile_runs = 0;
  double profile_seconds = 0.0;
};

// A network with threads, memory, input and output for one load.
class NetworkRunner {
 public:
  // The input is zeros. Throws Error (kInvalidArgument) when the resolution is too small for the network.
  NetworkRunner(const BenchmarkNetwork& network, const BenchmarkLoad& load);

  void run();
  // (batch, channels, resolution, resolution).
  Tensor& input() { return input_; }
  // Logits, or pooled features where there is no classifier.
  const Tensor& output() const { return output_; }
  ThreadPool& pool() { return pool_; }
  void set_profile(Profile* profile) { workspace_.profile = profile; }

 private:
  const Executable& executable_;
  ThreadPool pool_;
  Workspace workspace_;
  Tensor input_;
  Tensor output_;
  OutputViews views_;
};

// The rates of `pool`'s threads, which are kept busy together for some milliseconds, with the instruction set `isa`, or
// the best where it names none. Zeros for "scalar".
PeakRates measure_peak_rates(std::string_view isa, Precision precision, ThreadPool& pool);

// Seconds that one run takes at those rates.
double seconds_at_peak(const std::vector<OperationCost>& costs, const PeakRates& rates);

// Runs the network on made input. Throws Error: kInvalidArgument when the resolution is too small for it, kUnsupported
// for a profile of another network than ConvNeXt.
BenchmarkResult measure_network(const BenchmarkNetwork& network, const BenchmarkLoad& load, bool with_profile);

// From files to labels. Seconds of all batches, each of which goes through the stages one after the other with all
// threads at work in each: so they add up to the whole.
struct FileBenchmarkResult {
  std::int64_t pictures = 0;
  double seconds = 0.0;
  double decode_seconds = 0.0;   // reading included
  double resize_seconds = 0.0;   // with cropping and normalising
  double network_seconds = 0.0;  // with finding the best class
  Distribution latency;          // seconds a batch
  std::uint64_t peak_memory = 0;
};

// Goes round `files`, of which there is at least one, until the time is spent; pictures become squares of the load's
// resolution. Throws the Error of a file that cannot be read, and Error (kUnsupported) when the network does not take
// three channels.
FileBenchmarkResult measure_from_files(const BenchmarkNetwork& network, const BenchmarkLoad& load,
                                       const std::vector<std::filesystem::path>& files, Preprocessing preprocessing);

}  // namespace convnext
