#include "train/roadmap_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "io/dataset.h"
#include "io/file.h"
#include "model/checkpoint.h"
#include "model/description.h"
#include "train/initialization.h"
#include "train/run_log.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

Json settings_without_seed(const TrainSettings& settings) {
  Json json = Json::parse(settings_to_json(settings));
  json.erase("seed");
  return json;
}

// The first member in which two objects differ, with both values.
std::string first_difference(const Json& before, const Json& now) {
  for (const Json* side : {&before, &now}) {
    for (const auto& [name, value] : side->items()) {
      const std::string old = before.contains(name) ? before[name].dump() : "nothing";
      const std::string current = now.contains(name) ? now[name].dump() : "nothing";
      if (old != current) return fmt::format("{} was {} and is {} now", name, old, current);
    }
  }
  return {};
}

void require_same(const char* option, const RoadmapRun& run, int value, int first) {
  if (value == first) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{} of '{}' is {}, and of the first step {}: all steps are trained alike", option, run.step,
                          value, first));
}

class RoadmapTrainer {
 public:
  RoadmapTrainer(const RoadmapTraining& training, const TrainCallbacks& callbacks)
      : training_(training), callbacks_(callbacks) {
    validate(training);
    const TrainSettings& first = training.runs.front().settings;
    results_.track = training.track;
    results_.width_divisor = first.width_divisor;
    results_.resolution = card_of(first, {"a class"}).preprocessing.resolution;
    results_.epochs = first.epochs;
    look_at_pictures(first);
    take_up_results();
  }

  RunEnd run() {
    for (std::size_t i = 0; i < training_.runs.size(); ++i) {
      const RoadmapRun& run = training_.runs[i];
      const std::string name =
          fmt::format("{}, seed {} ({} of {})", run.step, run.settings.seed, i + 1, training_.runs.size());
      if (const RoadmapOutcome* done = outcome_of(run)) {
        say(fmt::format("{}: done before, top-1 {:.2f} %", name, done->top1));
        continue;
      }
      say(name);
      TrainSettings settings = run.settings;
      settings.resume = training_.resume;
      if (train(settings, run.settings_text, callbacks_) == RunEnd::kStopped) return RunEnd::kStopped;
      keep(run);
    }
    return RunEnd::kFinished;
  }

 private:
  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  std::filesystem::path results_file() const { return training_.output / kRoadmapResultsFile; }

  const RoadmapOutcome* outcome_of(const RoadmapRun& run) const {
    const RoadmapRow* row = results_.find(run.step);
    if (!row) return nullptr;
    const auto found = std::ranges::find(row->runs, run.settings.seed, &RoadmapOutcome::seed);
    return found == row->runs.end() ? nullptr : &*found;
  }

  // A folder without pictures is left to train(), which says what is wrong with it.
  void look_at_pictures(const TrainSettings& settings) {
    const auto split = find_training_split(settings.data);
    if (!split) return;
    const Dataset training = open_dataset(*split);
    results_.classes = static_cast<int>(training.classes.size());
    results_.pictures = fmt::format("{} to learn ({:016x})", training.samples.size(), hash_of_names(training));
    if (const auto other = held_out_split(settings)) {
      const Dataset held_out = open_dataset(*other, training.classes);
      results_.pictures += fmt::format(", {} held out ({:016x})", held_out.samples.size(), hash_of_names(held_out));
    }
  }

  // The results of before, which have to be of the same settings.
  void take_up_results() {
    if (!std::filesystem::exists(results_file())) return;
    if (!training_.resume) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' holds a roadmap already: --resume goes on with it", training_.output.string()));
    }
    const RoadmapResults before = read_roadmap_results(results_file());
    const auto refuse = [this](const std::string& what) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' was begun with other settings: {}. Give those, or another "
                                                    "--output",
                                                    training_.output.string(), what));
    };
    const auto header = [](const RoadmapResults& results) {
      return Json{{"track", name_of(results.track)},
                  {"width_divisor", results.width_divisor},
                  {"resolution", results.resolution},
                  {"epochs", results.epochs}};
    };
    const std::string difference = first_difference(header(before), header(results_));
    if (!difference.empty()) refuse(difference);
    for (const RoadmapRun& run : training_.runs) {
      const RoadmapRow* row = row_of_recipe(before, run);
      if (!row) continue;
      const std::string other = first_difference(Json::parse(row->settings), settings_without_seed(run.settings));
      if (!other.empty()) refuse(fmt::format("in '{}', {}", run.step, other));
    }
    // Known before anything is trained: what other pictures gave cannot stand in one table.
    if (results_.classes != 0 && results_.classes != before.classes) {
      refuse(fmt::format("there were {} classes and are {} now", before.classes, results_.classes));
    }
    if (!before.pictures.empty() && !results_.pictures.empty() && results_.pictures != before.pictures) {
      refuse(fmt::format("the pictures were {} and are {} now", before.pictures, results_.pictures));
    }
    const std::string pictures = results_.pictures;
    results_ = before;
    results_.pictures = pictures;
  }

  // The step's own row, or that of another step which the same recipe trained.
  static const RoadmapRow* row_of_recipe(const RoadmapResults& results, const RoadmapRun& run) {
    if (const RoadmapRow* row = results.find(run.step)) return row;
    const auto is_modern = [&results](std::string_view step) {
      return roadmap_step(results.track, step).modern_recipe;
    };
    const auto found = std::ranges::find_if(
        results.rows, [&](const RoadmapRow& row) { return is_modern(row.step) == is_modern(run.step); });
    return found == results.rows.end() ? nullptr : &*found;
  }

  void keep(const RoadmapRun& run) {
    const RunLog log = read_run_log(run.settings.output / "log.jsonl");
    const LoggedEpoch& last = log.epochs.back();
    const std::optional<double> top1 = run.settings.ema_decay > 0 ? last.average_top1 : last.model_top1;
    if (!top1) {
      throw Error(ErrorCode::kNotFound, fmt::format("'{}' has no pictures to evaluate on: give --val, or hold-out in "
                                                    "the recipe",
                                                    run.settings.data.string()));
    }
    RoadmapOutcome outcome{.seed = run.settings.seed, .top1 = *top1, .train_loss = last.train_loss.value_or(0.0)};
    for (const LoggedEpoch& epoch : log.epochs) outcome.seconds += epoch.seconds.value_or(0.0);

    // The card says which network it was; the classes came from the data.
    const Card card = read_checkpoint(run.settings.output / "model.safetensors").card;
    const NetworkCost cost = count_cost(card.network, card.preprocessing.resolution, card.preprocessing.resolution);
    RoadmapRow row;
    row.step = run.step;
    row.params = cost.params;
    row.gmac = cost.gmac;
    row.pictures = log.steps_an_epoch.value_or(0) * log.effective_batch.value_or(0) * run.settings.epochs;
    row.settings = settings_without_seed(run.settings).dump();
    results_.classes = class_count(card.network);
    results_.add(row, outcome);
    write_file_atomically(results_file(), to_json(results_));
    write_file_atomically(training_.output / "table.md", roadmap_table(results_));
    // A roadmap without a figure is a whole one: gnuplot may not be installed.
    try {
      write_roadmap_figure(training_.output / "roadmap.svg", roadmap_figure(results_));
    } catch (const Error& error) {
      say(fmt::format("the figure was not drawn: {}", error.what()));
    }
  }

  const RoadmapTraining& training_;
  const TrainCallbacks& callbacks_;
  RoadmapResults results_;
};

}  // namespace

std::filesystem::path folder_of_run(std::string_view step, std::uint64_t seed) {
  return std::filesystem::path(step) / fmt::format("seed{}", seed);
}

void validate(const RoadmapTraining& training) {
  if (training.runs.empty()) throw Error(ErrorCode::kInvalidArgument, "a roadmap without a run: name its steps");
  const TrainSettings& first = training.runs.front().settings;
  for (const RoadmapRun& run : training.runs) {
    require_same("--epochs", run, run.settings.epochs, first.epochs);
    require_same("--resolution", run, run.settings.resolution, first.resolution);
    require_same("--width-divisor", run, run.settings.width_divisor, first.width_divisor);
    if (run.settings.hold_out != first.hold_out) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("--hold-out of '{}' is {}, and of the first step {}: all steps learn the same pictures",
                              run.step, run.settings.hold_out, first.hold_out));
    }
  }
}

RunEnd train_roadmap(const RoadmapTraining& training, const TrainCallbacks& callbacks) {
  return RoadmapTrainer(training, callbacks).run();
}

}  // namespace convnext
