// Trains steps of the journey one after another, so that what differs between two rows is the step and nothing else.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/roadmap_results.h"
#include "train/trainer.h"

namespace convnext {

// One training.
struct RoadmapRun {
  std::string step;           // RoadmapStep::name
  TrainSettings settings;     // of the whole run: its network, seed and folder too
  std::string settings_text;  // for its settings.toml
};

struct RoadmapTraining {
  Track track = Track::kResNet50;
  std::filesystem::path output;  // its folder: roadmap.json, table.md, roadmap.svg and the runs' own folders
  bool resume = false;
  std::vector<RoadmapRun> runs;  // in the order of training
};

// The folder of a run below that of the roadmap: "depthwise/seed0".
std::filesystem::path folder_of_run(std::string_view step, std::uint64_t seed);

// Throws Error (kInvalidArgument) when there is no run, or when runs differ in epochs, resolution or width divisor.
void validate(const RoadmapTraining& training);

// Trains the runs, and after each writes roadmap.json, the table and the figure anew. With `resume` the runs that are
// in roadmap.json are left out, and one that was interrupted goes on from its checkpoint. Throws Error: those of
// validate(); kInvalidArgument when there are results already and `resume` is not asked for; kMismatch when those come
// from other settings; those of train().
RunEnd train_roadmap(const RoadmapTraining& training, const TrainCallbacks& callbacks);

}  // namespace convnext
