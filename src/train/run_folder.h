// The folder of a run, and the checkpoints from which it goes on.
//
//   model.safetensors     the result: the moving average's weights when there is one
//   best.safetensors      the weights with the best result so far
//   checkpoints/          everything needed to go on: step_000001234.safetensors, the newest few
//   settings.toml         the settings in effect; `train --config` takes it back
//   log.jsonl             a JSON object an epoch
//   samples.png           augmented pictures as the network sees them, drawn before the first step
//   curves.svg            loss, top-1 and learning rate over the epochs
//   tensorboard/          the same, and every step's loss, for TensorBoard
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "convnext/file_limits.h"
#include "train/moving_average.h"
#include "train/optimizer.h"

namespace convnext {

// What decides the last bits of a result beside the settings.
struct TrainEnvironment {
  int threads = 0;
  std::string isa;       // of our own kernels
  std::string libtorch;  // its version
  std::string device;
};

// Where a run stands after an optimiser step.
struct RunPosition {
  int epochs_done = 0;
  std::int64_t steps_of_epoch = 0;           // done of the epoch that comes next; 0 between epochs
  std::int64_t steps = 0;                    // of the whole run
  double loss_sum = 0.0;                     // over steps_of_epoch
  std::map<std::string, double> loss_parts;  // the same of each part, where a loss has any
  double best_result = -1.0;                 // of the evaluations so far: top-1, or the detectors' average precision
  std::string settings;                      // settings_to_json() of the run
  std::string card;                          // card_to_json() of what it trains
  TrainEnvironment environment;
};

// What changes from step to step. The objects are the live ones, not copies.
struct RunParts {
  torch::nn::Module& network;
  MovingAverage* average;  // or null
  Optimizer& optimizer;
};

class RunFolder {
 public:
  // Throws Error (kInvalidArgument) when the folder holds a run already and `resume` is not asked for.
  RunFolder(std::filesystem::path path, bool resume, int keep_checkpoints);

  // Makes the folder, keeps other processes out of it for as long as this object lives, and removes the unfinished
  // files that a killed run has left. Throws Error: kIo where it cannot be made, kInvalidArgument while another process
  // trains into it.
  void make();

  std::filesystem::path model_file() const { return path_ / "model.safetensors"; }
  std::filesystem::path best_file() const { return path_ / "best.safetensors"; }
  std::filesystem::path settings_file() const { return path_ / "settings.toml"; }
  std::filesystem::path log_file() const { return path_ / "log.jsonl"; }
  std::filesystem::path samples_file() const { return path_ / "samples.png"; }
  std::filesystem::path curves_file() const { return path_ / "curves.svg"; }
  std::filesystem::path tensorboard_folder() const { return path_ / "tensorboard"; }

  // Writes a checkpoint, then removes all but the newest few. When it throws, those that were there are intact.
  void save(const RunPosition& position, const RunParts& parts);

  // Takes a checkpoint back into its parts: `file`, or else the newest whole one of the folder, of which there may be
  // none yet. A damaged one is passed over for the one before it, and named in `skipped`; a damaged `file` is an
  // error, and so is any beyond the limits. Throws Error (kMismatch) when settings or card differ from what the run
  // began with: what, and both values.
  std::optional<RunPosition> restore(const std::filesystem::path& file, const RunPosition& expected,
                                     const RunParts& parts, std::string& skipped, const FileLimits& limits) const;

  // Adds a line to the log.
  void append_log(const std::string& json);
  // Cuts off the lines of steps after `steps`, which a resumed run will write again.
  void cut_log(std::int64_t steps);

 private:
  std::vector<std::filesystem::path> checkpoints() const;  // newest first
  std::filesystem::path path_;
  std::size_t keep_;
  std::shared_ptr<const void> lock_;
};

}  // namespace convnext
