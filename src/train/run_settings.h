// What decides how any training run goes, whatever it learns: length, optimiser, machine, folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/file_limits.h"
#include "model/formula.h"
#include "train/layer_decay.h"

namespace convnext {

enum class OptimizerKind { kAdamW, kSgd };
enum class ScheduleKind { kCosine, kStep };
enum class TrainPrecision { kFp32, kBf16 };

struct RunSettings {
  std::filesystem::path output;  // the run folder
  std::string data_note;         // which data this is, for the card
  std::string license;           // of the model, for the card

  FileLimits file_limits;  // of the weights and the checkpoints that it begins from

  // Schedule
  int epochs = 300;
  int warmup_epochs = 20;
  std::int64_t warmup_steps = 0;  // of the optimiser, in place of warmup_epochs where it is not 0
  int batch_size = 128;
  int accumulate = 1;  // batches a step
  ScheduleKind schedule = ScheduleKind::kCosine;
  int step_epochs = 30;         // of kStep: the learning rate falls after each so many epochs
  std::vector<int> milestones;  // or after these alone, ascending, where there are any
  double step_factor = 0.1;     // to this part of what it was
  double lr = 4e-3;
  double warmup_lr = 0.0;
  double min_lr = 1e-6;

  // Optimiser
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0.9;
  double weight_decay = 0.05;
  std::optional<double> weight_decay_end{};  // otherwise the same to the end
  bool decay_everything = false;             // biases, norms and layer scale too
  double layer_decay = 1.0;
  LayerGrouping layer_decay_grouping = LayerGrouping::kGrouped;
  double clip_norm = 0.0;   // 0: gradients are not clipped
  double ema_decay = 0.0;   // 0: no moving average
  bool ema_warmup = false;  // smaller decays at first
  TrainPrecision precision = TrainPrecision::kFp32;
  double drop_path = 0.1;                           // of the last block; those before it in proportion
  WeightInit weight_init = WeightInit::kPublished;  // of random weights

  // The machine, and what does not change the result
  std::uint64_t seed = 0;
  std::string device = "cpu";
  int threads = 0;  // 0: as many as the process may use
  int workers = 1;
  double checkpoint_minutes = 10.0;  // at most between two checkpoints; the end of an epoch makes one in any case
  int keep_checkpoints = 2;
  bool resume = false;
  std::filesystem::path resume_from;  // a checkpoint; empty: the newest whole one of the run folder

  int effective_batch() const { return batch_size * accumulate; }
};

// Throws Error (kInvalidArgument) at the first value that cannot work, with its option.
void validate(const RunSettings& settings);
// Throws Error (kInvalidArgument), "OPTION must be EXPECTED", unless it holds.
void require_setting(bool holds, std::string_view option, std::string_view expected);

// What a run learned with, as a JSON object; the same for equal runs: no path, host, thread count or time.
std::string run_settings_to_json(const RunSettings& settings);

// Of each step of a run with so many steps an epoch.
std::vector<double> learning_rates(const RunSettings& settings, std::int64_t steps_an_epoch);
std::vector<double> weight_decays(const RunSettings& settings, std::int64_t steps_an_epoch);

// The names used on command lines, in recipes and cards. Parsing throws Error with the known names.
std::string_view name_of(OptimizerKind kind);
std::string_view name_of(ScheduleKind kind);
std::string_view name_of(TrainPrecision precision);
std::string_view name_of(WeightInit init);
OptimizerKind optimizer_from_name(std::string_view name);
ScheduleKind schedule_from_name(std::string_view name);
TrainPrecision train_precision_from_name(std::string_view name);
WeightInit weight_init_from_name(std::string_view name);

}  // namespace convnext
