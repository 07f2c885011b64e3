// What the steps of the journey came to where they were trained: roadmap.json in the folder of the runs, and the table
// and the figure that are made of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/roadmap.h"
#include "plot/roadmap_figure.h"

namespace convnext {

// Of one run.
struct RoadmapOutcome {
  std::uint64_t seed = 0;
  double top1 = 0.0;  // on the pictures held out, after the last epoch; percent
  double train_loss = 0.0;
  double seconds = 0.0;  // of its steps; where an epoch was interrupted, those since then
};

// Of one step.
struct RoadmapRow {
  std::string step;  // RoadmapStep::name
  std::int64_t params = 0;
  double gmac = 0.0;                   // of the network as it was trained
  std::int64_t pictures = 0;           // that each run saw, those seen twice counted twice
  std::string settings;                // settings_to_json() without the seed
  std::vector<RoadmapOutcome> runs{};  // by seed, at least one

  double mean() const;                      // top-1, percent
  std::optional<double> deviation() const;  // of the sample, over n - 1; nothing of one run
  double seconds() const;                   // of all runs
};

struct RoadmapResults {
  Track track = Track::kResNet50;
  int width_divisor = 1;
  int resolution = 0;
  int classes = 0;
  int epochs = 0;
  std::string pictures{};          // how many there are to learn and held out, and a hash of their names
  std::vector<RoadmapRow> rows{};  // in the order of the track

  const RoadmapRow* find(std::string_view step) const;  // null where that step has not been trained
  // Puts the outcome in its place; a row that is not there yet begins as `row`.
  void add(const RoadmapRow& row, const RoadmapOutcome& outcome);
};

// In the folder of the runs.
inline constexpr const char* kRoadmapResultsFile = "roadmap.json";

// Throws Error: those of read_text(), kDamaged where it is no such file.
RoadmapResults read_roadmap_results(const std::filesystem::path& path);
std::string to_json(const RoadmapResults& results);

// "79.36 ± 0.07".
std::string accuracy_text(double top1, std::optional<double> deviation);

// What all rows have in common, "widths divided by 8, 64 pixels, 10 classes, 3 epochs (149,760 pictures a run)".
std::string description_of(const RoadmapResults& results);

// A table in Markdown of the steps that were trained, ours beside the published ones.
std::string roadmap_table(const RoadmapResults& results);

// The paper's figure: published accuracy and GFLOPs of every step.
RoadmapFigure roadmap_figure(Track track);
// Of the steps that were trained: ours, the published accuracy, and what our networks cost.
RoadmapFigure roadmap_figure(const RoadmapResults& results);

}  // namespace convnext
