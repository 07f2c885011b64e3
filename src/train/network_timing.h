// How fast networks run here, through libtorch and through the engine.
//
// On a GPU by the method of the paper, which is that of Swin's main.py: 50 passes to warm up, then 30 that are timed
// together between two synchronisations, one network after the other. On a CPU all networks are there at once and take
// turns, so that they share what else the machine does.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "train/comparison.h"

namespace convnext {

// What networks compute in.
enum class TimingPrecision {
  kFp32,
  kTf32,  // on a GPU, products of float32 with 10 bits of mantissa: how the paper's A100 ran
  kBf16,  // through libtorch by autocast
};
// "fp32", "tf32", "bf16".
std::string_view name_of(TimingPrecision precision);
// Throws Error (kInvalidArgument).
TimingPrecision timing_precision_from_name(std::string_view name);

struct TimedNetwork {
  const ComparedNetwork* network = nullptr;
  std::function<WeightStore()> weights;
};

struct TimingLoad {
  torch::Device device = torch::kCPU;
  int batch = 1;
  int threads = 1;
  TimingPrecision precision = TimingPrecision::kFp32;
  double seconds = 10.0;  // for each network and backend, at least
  std::function<void()> on_sample = {};
};

// A row for each network through libtorch, and on a CPU one for each ConvNeXt through the engine behind it.
//
// Memory is that of the weights and of one pass, as much as the resident size of the process, or what libtorch holds of
// the GPU's memory, rises during it at most; the engine's weights are packed. Maps of the stages, which libtorch's
// networks give too, are among it.
//
// Throws Error: kUnsupported for TF32 on a CPU, when the networks together need more memory than there is, or when the
// device runs out of it.
std::vector<ComparisonRow> measure_networks(const std::vector<TimedNetwork>& networks, const TimingLoad& load);

}  // namespace convnext
