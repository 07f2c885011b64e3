// convnext-train roadmap: the steps from ResNet to ConvNeXt, as published and as trained here.
#include "model/roadmap.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "apps/train_options.h"
#include "apps/train_reporter.h"
#include "convnext/error.h"
#include "io/dataset.h"
#include "model/description.h"
#include "plot/gnuplot.h"
#include "plot/picture_format.h"
#include "plot/roadmap_figure.h"
#include "train/roadmap_run.h"

namespace convnext::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kResolutionOfPaper = 224;
constexpr int kMostSeeds = 1000;

struct Options {
  std::string track;
  bool json = false;
  std::string plot;
  std::string run;  // folder of a trained roadmap

  std::string data;
  std::string held_out;
  std::string config;
  std::string plain_config;
  std::string output;
  std::vector<std::string> steps;
  int seeds = 1;
  int width_divisor = 1;
  std::optional<int> epochs;
  std::optional<int> batch_size;
  std::optional<int> resolution;
  DeviceOptions device;
  bool resume = false;
  bool dry_run = false;
};

void add_options(CLI::App& command, Options& options) {
  command
      .add_option("--track", options.track,
                  "r50: ResNet-50 to ConvNeXt-T; r200: ResNet-200 to ConvNeXt-B (default: r50, or that of --run)")
      ->check(problem_of(track_from_name))
      ->type_name("TRACK");
  add_json_option(command, options.json);
  CLI::Option* plot = command.add_option("--plot", options.plot, "Draw the figure into this file, .svg or .png")
                          ->check(problem_of([](const std::string& file) { terminal_for(file, 1, 1); }))
                          ->type_name("FILE");
  CLI::Option* run = command.add_option("--run", options.run, "Folder of a trained roadmap, beside the published one")
                         ->type_name("FOLDER");
  CLI::Option* train =
      command.add_option("--train", options.data, "Train the steps on this folder, which holds train, and val or test")
          ->type_name("DATA")
          ->excludes(run);
  const auto of_training = [train](CLI::Option* option) { option->needs(train); };
  of_training(command.add_option("--val", options.held_out, "Folder that holds val or test, where DATA does not")
                  ->type_name("DATA"));
  of_training(command.add_option("--output", options.output, "Folder of the results")->type_name("FOLDER"));
  of_training(
      command.add_option("--config", options.config, "Recipe of every step, which training needs")->type_name("FILE"));
  of_training(command
                  .add_option("--plain-config", options.plain_config,
                              "Recipe of plain_recipe, the first step, which is trained only with this")
                  ->type_name("FILE"));
  of_training(command.add_option("--steps", options.steps, "Steps to train (default: all that were kept)")
                  ->delimiter(',')
                  ->type_name("LIST"));
  of_training(command.add_option("--seeds", options.seeds, "Runs of each step, with seeds from 0 on")
                  ->check(CLI::Range(1, kMostSeeds))
                  ->capture_default_str()
                  ->type_name("N"));
  of_training(command.add_option("--width-divisor", options.width_divisor, "Divide the channels of all steps by this")
                  ->check(CLI::Range(1, 1024))
                  ->capture_default_str()
                  ->type_name("N"));
  of_training(command.add_option("--epochs", options.epochs, "In place of the recipes'")->type_name("N"));
  of_training(command.add_option("--batch-size", options.batch_size, "In place of the recipes'")->type_name("N"));
  add_resolution_option(command, options.resolution);
  of_training(command.get_option("--resolution"));
  add_device_options(command, options.device);
  of_training(command.get_option("--threads"));
  of_training(command.get_option("--device"));
  of_training(command.add_flag("--resume", options.resume, "Go on with a roadmap that was interrupted"));
  of_training(command.add_flag("--dry-run", options.dry_run, "Say what would be trained, time some steps, and end")
                  ->excludes(plot));
  command.footer(
      "Example: convnext roadmap --plot roadmap.svg\n"
      "         convnext roadmap --train cifar10 --config recipes/roadmap_cifar10.toml --width-divisor 8 --seeds 2 "
      "--output runs/roadmap");
}

// ---- the table ------------------------------------------------------------------------------------------------------

NetworkCost cost_of(const RoadmapStep& step) {
  return count_cost(step.network, kResolutionOfPaper, kResolutionOfPaper);
}

std::optional<double> published_deviation(const RoadmapStep& step) {
  return step.deviation > 0 ? std::optional(step.deviation) : std::nullopt;
}

std::string name_in_table(const RoadmapStep& step) { return step.main_path ? step.name : "(" + step.name + ")"; }

void print_roadmap(Track track, const std::optional<RoadmapResults>& results) {
  using enum Table::Align;
  std::vector<Table::Column> columns = {{"step"},           {"what changes"},   {"GMAC", kRight},
                                        {"GFLOPs", kRight}, {"params", kRight}, {"top-1, %"}};
  if (results) columns.insert(columns.end(), {{"here, %"}, {"seeds", kRight}, {"MMAC here", kRight}});
  Table table(columns);
  const auto add = [&](std::vector<std::string> cells) {
    cells.resize(columns.size());
    table.add(std::move(cells));
  };
  for (const RoadmapStep& step : roadmap(track)) {
    const NetworkCost cost = cost_of(step);
    std::vector<std::string> cells = {name_in_table(step),
                                      step.change,
                                      fmt::format("{:.3f}", cost.gmac),
                                      fmt::format("{:.2f}", step.published_gflops),
                                      format_count(cost.params),
                                      accuracy_text(step.published_top1, published_deviation(step))};
    const RoadmapRow* row = results ? results->find(step.name) : nullptr;
    if (row) {
      cells.push_back(accuracy_text(row->mean(), row->deviation()));
      cells.push_back(std::to_string(row->runs.size()));
      cells.push_back(fmt::format("{:.2f}", 1e3 * row->gmac));
    }
    add(std::move(cells));
  }
  const RoadmapRival rival = roadmap_rival(track);
  add({std::string(rival.architecture), "to compare with", "", fmt::format("{:.2f}", rival.published_gflops), "",
       accuracy_text(rival.published_top1, {})});
  print(table.text());
  print(
      "\nGMAC and params are counted at 224 pixels; GFLOPs and top-1 (ImageNet-1K) are those of the paper. In "
      "brackets:\n"
      "tried by the authors and not kept.\n");
  if (results) print("here: " + description_of(*results) + "\n");
}

Json to_json(const RoadmapStep& step, const RoadmapResults* results) {
  const NetworkCost cost = cost_of(step);
  Json json = {{"step", step.name},
               {"section", step.section},
               {"change", step.change},
               {"architecture", step.architecture},
               {"recipe", step.modern_recipe ? "modern" : "plain"},
               {"on_path", step.main_path},
               {"gmac", cost.gmac},
               {"params", cost.params},
               {"published_top1", step.published_top1},
               {"deviation", nullptr},
               {"published_gflops", step.published_gflops},
               {"ours", nullptr}};
  if (const auto deviation = published_deviation(step)) json["deviation"] = *deviation;
  const RoadmapRow* row = results ? results->find(step.name) : nullptr;
  if (!row) return json;
  Json& ours = json["ours"];
  ours = {{"mean", row->mean()},       {"deviation", nullptr},     {"seeds", row->runs.size()},
          {"gmac", row->gmac},         {"params", row->params},    {"resolution", results->resolution},
          {"pictures", row->pictures}, {"seconds", row->seconds()}};
  if (const auto deviation = row->deviation()) ours["deviation"] = *deviation;
  return json;
}

Json to_json(Track track, const RoadmapResults* results) {
  Json rows = Json::array();
  for (const RoadmapStep& step : roadmap(track)) rows.push_back(to_json(step, results));
  return rows;
}

// The roadmap as it is known: published, and beside it the results of a run.
ExitCode show(const Options& options, Track track, const std::optional<RoadmapResults>& results) {
  if (options.json) {
    print_document(to_json(track, results ? &*results : nullptr));
  } else {
    print_roadmap(track, results);
  }
  if (!options.plot.empty()) {
    write_roadmap_figure(options.plot, results ? roadmap_figure(*results) : roadmap_figure(track));
  }
  return kDone;
}

std::optional<Track> track_of(const Options& options) {
  return options.track.empty() ? std::nullopt : std::optional(track_from_name(options.track));
}

ExitCode show_roadmap(const Options& options) {
  const std::optional<Track> track = track_of(options);
  if (options.run.empty()) return show(options, track.value_or(Track::kResNet50), std::nullopt);
  const RoadmapResults results = read_roadmap_results(fs::path(options.run) / kRoadmapResultsFile);
  if (track && *track != results.track) {
    throw UsageError(
        fmt::format("'{}' is a run of the track {}, not of {}", options.run, name_of(results.track), name_of(*track)));
  }
  return show(options, results.track, results);
}

// ---- training -------------------------------------------------------------------------------------------------------

// A step by its own name, or by that of its network. Throws UsageError.
const RoadmapStep& step_named(Track track, const std::string& name) {
  for (const Track other : {Track::kResNet50, Track::kResNet200}) {
    for (const RoadmapStep& step : roadmap(other)) {
      if (step.architecture != name || !name.starts_with("roadmap_")) continue;
      if (other == track) return step;
      throw UsageError(fmt::format("--steps: '{}' is of the track {}, and this is {}: one run is of one track", name,
                                   name_of(other), name_of(track)));
    }
  }
  try {
    return roadmap_step(track, name);
  } catch (const Error& error) {
    throw UsageError(fmt::format("--steps: {}", error.what()));
  }
}

// In the order of the track, each once.
std::vector<const RoadmapStep*> steps_of(const Options& options, Track track) {
  std::vector<const RoadmapStep*> steps;
  const bool plain = !options.plain_config.empty();
  if (options.steps.empty()) {
    for (const RoadmapStep& step : roadmap(track)) {
      if (step.main_path && (step.modern_recipe || plain)) steps.push_back(&step);
    }
    return steps;
  }
  for (const std::string& name : options.steps) steps.push_back(&step_named(track, name));
  std::ranges::sort(steps);
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  const auto of_plain_recipe = std::ranges::find(steps, false, &RoadmapStep::modern_recipe);
  if (of_plain_recipe != steps.end() && !plain) {
    throw UsageError(
        fmt::format("the step '{}' is the recipe itself: give it by --plain-config", (*of_plain_recipe)->name));
  }
  if (of_plain_recipe == steps.end() && plain) {
    throw UsageError("--plain-config is the recipe of the step 'plain_recipe', which --steps leaves out");
  }
  return steps;
}

// One run, by the options that `convnext train` would be given for it.
RoadmapRun run_of(const Options& options, const RoadmapStep& step, int seed) {
  const fs::path output = fs::path(options.output) / folder_of_run(step.name, static_cast<std::uint64_t>(seed));
  std::vector<std::string> arguments = {options.data,
                                        "--model",
                                        step.architecture,
                                        "--width-divisor",
                                        std::to_string(options.width_divisor),
                                        "--seed",
                                        std::to_string(seed),
                                        "--output",
                                        output.string(),
                                        "--device",
                                        options.device.device};
  const auto add = [&arguments](const char* option, const std::string& value) {
    arguments.insert(arguments.end(), {option, value});
  };
  const std::string& recipe = step.modern_recipe ? options.config : options.plain_config;
  if (!recipe.empty()) add("--config", recipe);
  if (!options.held_out.empty()) add("--val", options.held_out);
  if (options.epochs) add("--epochs", std::to_string(*options.epochs));
  if (options.batch_size) add("--batch-size", std::to_string(*options.batch_size));
  if (options.resolution) add("--resolution", std::to_string(*options.resolution));
  if (options.device.threads > 0) add("--threads", std::to_string(options.device.threads));
  try {
    const TrainRequest request = read_train_request(arguments).value();
    return {step.name, request.settings, request.recipe};
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("the step '{}': {}", step.name, error.what()));
  }
}

// Throws UsageError unless the data has pictures to learn from and pictures to evaluate on, by the names of its parts.
void require_data(const TrainSettings& settings) {
  if (!find_training_split(settings.data)) {
    throw UsageError(
        fmt::format("--train: '{}' has neither a folder 'train' nor shards of that name", settings.data.string()));
  }
  if (!settings.held_out.empty() && !fs::exists(settings.held_out)) {
    throw UsageError(fmt::format("--val: there is no '{}'", settings.held_out.string()));
  }
  if (settings.held_out.empty() && !find_held_out_split(settings.data) && settings.hold_out == 0) {
    throw UsageError(
        fmt::format("'{}' has neither val nor test, on which the steps are compared: give --val, or "
                    "hold-out in the recipe",
                    settings.data.string()));
  }
}

// A seed at a time, so that an early end leaves whole tables.
RoadmapTraining training_of(const Options& options, Track track) {
  const std::vector<const RoadmapStep*> steps = steps_of(options, track);
  RoadmapTraining training{.track = track, .output = options.output, .resume = options.resume, .runs = {}};
  for (int seed = 0; seed < options.seeds; ++seed) {
    for (const RoadmapStep* step : steps) training.runs.push_back(run_of(options, *step, seed));
  }
  for (const RoadmapRun& run : training.runs) require_data(run.settings);
  try {
    validate(training);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return training;
}

ExitCode show_plan(const Options& options, const RoadmapTraining& training) {
  using enum Table::Align;
  Table table({{"step"},
               {"params", kRight},
               {"MMAC", kRight},
               {"steps", kRight},
               {"state, MB", kRight},
               {"s a step", kRight},
               {"a run", kRight}});
  Json rows = Json::array();
  double seconds = 0.0;
  for (const RoadmapRun& run : training.runs) {
    if (run.settings.seed != training.runs.front().settings.seed) break;
    const TrainPlan plan = plan_training(run.settings, {});
    seconds += plan.estimated_seconds() * options.seeds;
    table.add({run.step, format_count(plan.params), fmt::format("{:.2f}", 1e3 * plan.gmac), format_count(plan.steps),
               fmt::format("{:.1f}", static_cast<double>(plan.state_bytes) / 1e6),
               fmt::format("{:.3f}", plan.seconds_a_step), format_duration(plan.estimated_seconds())});
    rows.push_back({{"step", run.step},
                    {"params", plan.params},
                    {"gmac", plan.gmac},
                    {"input", plan.input},
                    {"steps", plan.steps},
                    {"pictures", plan.steps * plan.batch_size * plan.accumulate},
                    {"state_bytes", plan.state_bytes},
                    {"seeds", options.seeds},
                    {"estimated_seconds", plan.estimated_seconds()}});
  }
  if (options.json) {
    print_document(rows);
  } else {
    print(table.text());
    print(fmt::format("\n{} runs, {} in all, without evaluation\n", training.runs.size(), format_duration(seconds)));
  }
  return kDone;
}

ExitCode train_steps(const Options& options) {
  if (options.output.empty() && !options.dry_run) throw UsageError("--output is missing: the folder of the results");
  if (options.config.empty()) {
    throw UsageError("--config is missing: the recipe that all steps are trained by, recipes/roadmap_cifar10.toml say");
  }
  if (!options.plot.empty()) run_gnuplot("");  // what cannot be drawn is better known before than after
  const RoadmapTraining training = training_of(options, track_of(options).value_or(Track::kResNet50));
  if (options.dry_run) return show_plan(options, training);

  TrainReporter reporter(options.json);
  const StopSignals signals;
  TrainCallbacks callbacks = reporter.callbacks();
  callbacks.should_stop = [&signals] { return signals.received(); };
  const RunEnd end = train_roadmap(training, callbacks);
  const fs::path file = training.output / kRoadmapResultsFile;
  if (fs::exists(file)) {
    show(options, training.track, read_roadmap_results(file));
  } else if (options.json) {
    print_document(to_json(training.track, nullptr));
  }
  return end == RunEnd::kFinished ? kDone : kFailed;
}

}  // namespace

ExitCode roadmap_command(int argc, char** argv) {
  Options options;
  CLI::App command{"The steps from ResNet to ConvNeXt, as published and as trained here.", "convnext roadmap"};
  add_options(command, options);
  if (!parse_command_line(command, argc, argv)) return kDone;
  return options.data.empty() ? show_roadmap(options) : train_steps(options);
}

}  // namespace convnext::apps
