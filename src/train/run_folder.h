// The folder of a run, and the checkpoints from which it goes on.
//
//   model.safetensors     the result: the moving average's weights when there is one
//   best.safetensors      the weights with the best top-1 so far
//   checkpoints/          everything needed to go on: epoch_0007.safetensors, the newest two
//   settings.toml         the settings in effect; `train --config` takes it back
//   log.jsonl             a JSON object an epoch
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "train/adamw.h"
#include "train/moving_average.h"

namespace convnext {

// Where a run stands after an epoch.
struct RunPosition {
  int epochs_done = 0;
  std::int64_t steps = 0;
  double best_top1 = -1.0;
  std::string settings;  // settings_to_json() of the run
  std::string card;      // card_to_json() of what it trains
};

class RunFolder {
 public:
  // Throws Error (kInvalidArgument) when the folder holds a run already and `resume` is not asked for.
  RunFolder(std::filesystem::path path, bool resume);

  // Makes the folder. Throws Error (kIo) where that is not possible.
  void make() const;

  std::filesystem::path model_file() const { return path_ / "model.safetensors"; }
  std::filesystem::path best_file() const { return path_ / "best.safetensors"; }
  std::filesystem::path settings_file() const { return path_ / "settings.toml"; }
  std::filesystem::path log_file() const { return path_ / "log.jsonl"; }

  // Writes the state after an epoch, then removes all but the newest two.
  void save(const RunPosition& position, const Network& network, const MovingAverage* average, const AdamW& optimizer);

  // Takes the newest whole checkpoint back into its parts. Nothing when there is none yet. A damaged one is passed over
  // for the one before it, and named in `skipped`. Throws Error (kMismatch) when `expected` differs from what the run
  // began with: what, and both values.
  std::optional<RunPosition> restore(const RunPosition& expected, Network& network, MovingAverage* average,
                                     AdamW& optimizer, std::string& skipped) const;

  // Adds a line to the log; lines of epochs after `epochs_done` of a resumed run are cut off first by cut_log().
  void append_log(const std::string& json);
  void cut_log(int epochs_done);

 private:
  std::vector<std::filesystem::path> checkpoints() const;  // newest first
  std::filesystem::path path_;
};

}  // namespace convnext
