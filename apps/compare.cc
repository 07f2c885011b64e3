// convnext-train compare: networks side by side, as the paper's Tables 1, 2 and 12.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "convnext/thread_pool.h"
#include "model/formula.h"
#include "plot/gnuplot.h"
#include "plot/picture_format.h"
#include "train/comparison.h"
#include "train/comparison_figure.h"
#include "train/device.h"
#include "train/network_timing.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxBatch = 4096;
constexpr double kMaxSeconds = 86400.0;
constexpr int kBatchOnCpu = 1;
constexpr int kBatchOnGpu = 64;  // Swin's script

struct CompareOptions {
  std::vector<std::string> models;
  std::string preset;
  TensorFileOptions file_options;
  DeviceOptions device;
  std::optional<int> resolution;
  std::optional<int> batch;
  std::string precision{name_of(TimingPrecision::kFp32)};
  double seconds = 10.0;
  std::string plot;
  bool json = false;

  bool timed() const { return seconds > 0; }
  int threads() const { return device.threads > 0 ? device.threads : available_threads(); }
  int batch_or_default() const { return batch.value_or(device.device == "cpu" ? kBatchOnCpu : kBatchOnGpu); }
};

// What is compared, and where its weights come from.
struct Entrant {
  ComparedNetwork network;
  std::filesystem::path file;  // empty: a formula's weights

  WeightStore weights(const TensorFileOptions& file_options) const {
    return file.empty() ? formula_weights(network.config, 1) : read_model(file, "", file_options).weights;
  }
};

Entrant entrant_of(const std::string& model, const CompareOptions& options) {
  const FileOrArchitecture found = model_file_or_architecture(model);
  if (const auto* file = std::get_if<std::filesystem::path>(&found)) {
    const Card card = read_model(*file, "", options.file_options).card;
    const int resolution = options.resolution.value_or(card.preprocessing.resolution);
    return {describe_network(model, architecture(card.architecture), card.network, resolution), *file};
  }
  const RegistryEntry& entry = *std::get<const RegistryEntry*>(found);
  const int resolution = options.resolution.value_or(entry.preprocessing.resolution);
  return {describe_network(entry.name, entry, entry.network, resolution), {}};
}

// The preset's first, each once.
std::vector<Entrant> entrants_of(const CompareOptions& options) {
  std::vector<Entrant> entrants;
  if (!options.preset.empty()) {
    for (ComparedNetwork& network : networks_of_preset(options.preset, options.resolution)) {
      entrants.push_back({std::move(network), {}});
    }
  }
  for (const std::string& model : options.models) {
    Entrant entrant = entrant_of(model, options);
    const bool known = std::ranges::any_of(entrants, [&](const Entrant& other) {
      return other.network.model == entrant.network.model && other.network.resolution == entrant.network.resolution;
    });
    if (!known) entrants.push_back(std::move(entrant));
  }
  return entrants;
}

// Before anything is measured: a picture that could not be drawn would be known after minutes.
void check_plot(const CompareOptions& options, const std::vector<Entrant>& entrants) {
  if (options.plot.empty()) return;
  try {
    terminal_for(options.plot, 1, 1);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  const auto has_top1 = [](const Entrant& entrant) { return entrant.network.top1 || entrant.network.top1_22k; };
  if (std::ranges::none_of(entrants, has_top1)) {
    throw UsageError("--plot shows published accuracy, and none of these networks has any at this resolution");
  }
  run_gnuplot("");
}

// The networks that are timed, then those that are not: all of them with --seconds 0.
std::vector<ComparisonRow> compared(const CompareOptions& options, const std::vector<Entrant>& entrants) {
  std::vector<TimedNetwork> timed;
  std::vector<ComparisonRow> rows;
  std::vector<std::string> left_out;
  for (const Entrant& entrant : entrants) {
    if (options.timed() && entrant.network.entry != nullptr) {
      timed.push_back({&entrant.network, [&entrant, &options] { return entrant.weights(options.file_options); }});
    } else {
      rows.push_back({entrant.network, {}});
      if (options.timed()) left_out.push_back(entrant.network.model);
    }
  }
  if (!left_out.empty()) {
    report(fmt::format("{} not timed: the paper's figures are all that is known of {} here", fmt::join(left_out, ", "),
                       left_out.size() == 1 ? "it" : "them"));
  }
  if (timed.empty()) return rows;

  ProgressLine progress(Progress("samples"));
  TimingLoad load;
  load.device = open_device(options.device.device);
  load.batch = options.batch_or_default();
  load.threads = options.threads();
  load.precision = timing_precision_from_name(options.precision);
  load.seconds = options.seconds;
  load.on_sample = [&progress] { progress.advance(1); };
  std::vector<ComparisonRow> measured = measure_networks(timed, load);
  measured.insert(measured.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
  return measured;
}

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}

Json unless_zero(double value) { return value > 0 ? Json(value) : Json(); }

Json paper_json(const ComparedNetwork& network) {
  if (network.paper == nullptr) return {};
  return {{"name", network.paper->name},
          {"params_millions", network.paper->params},
          {"gmac", network.paper->gmac},
          {"v100_pictures_per_second", unless_zero(network.paper_speed.v100)},
          {"a100_pictures_per_second", unless_zero(network.paper_speed.a100)},
          {"training_memory_gb", unless_zero(network.paper_speed.training_memory)}};
}

// `ratios` of all rows: the one of this row's network goes with it.
Json row_json(const ComparisonRow& row, const std::vector<SpeedRatio>& ratios, const CompareOptions& options) {
  const ComparedNetwork& network = row.network;
  const bool counted = network.entry != nullptr;
  Json json = {{"model", network.model},
               {"architecture", counted ? Json(network.entry->name) : Json()},
               {"family", counted ? Json(name_of(network.entry->family)) : Json()},
               {"resolution", network.resolution},
               {"params", counted ? Json(network.params) : Json()},
               {"gmac", counted ? Json(network.gmac) : Json()},
               {"gmac_attention", counted ? Json(network.gmac_attention) : Json()},
               {"published_top1", or_null(network.top1)},
               {"published_top1_22k", or_null(network.top1_22k)},
               {"paper", paper_json(network)}};
  const bool measured = row.speed.has_value();
  json["backend"] = measured ? Json(row.speed->backend) : Json();
  json["device"] = measured ? Json(options.device.device) : Json();
  json["precision"] = measured ? Json(options.precision) : Json();
  json["threads"] = measured ? Json(options.threads()) : Json();
  json["batch"] = measured ? Json(options.batch_or_default()) : Json();
  json["pictures_per_second"] = measured ? Json(row.speed->pictures_per_second()) : Json();
  json["pictures_per_second_best"] = measured ? Json(row.speed->best_pictures_per_second()) : Json();
  json["spread"] = measured ? Json(row.speed->seconds.spread) : Json();
  json["samples"] = measured ? Json(row.speed->samples) : Json();
  json["memory_bytes"] = measured ? or_null(row.speed->memory_bytes) : Json();

  const auto ratio = std::ranges::find_if(ratios, [&](const SpeedRatio& each) {
    return each.model == network.model && each.resolution == network.resolution;
  });
  const bool has_rival = ratio != ratios.end();
  json["rival"] = has_rival ? Json(ratio->rival) : Json();
  json["speed_ratio"] = json["paper_speed_ratio"] = Json();
  if (has_rival) {
    json["speed_ratio"] = measured ? or_null(row.speed->backend == "engine" ? ratio->engine : ratio->libtorch) : Json();
    json["paper_speed_ratio"] = {{"v100", or_null(ratio->v100)}, {"a100", or_null(ratio->a100)}};
  }
  return json;
}

// "82.1", or nothing.
std::string cell(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "";
}
std::string cell(double value, int digits) { return value > 0 ? fmt::format("{:.{}f}", value, digits) : ""; }

std::string rows_text(const std::vector<ComparisonRow>& rows, bool timed) {
  using enum Table::Align;
  std::vector<Table::Column> columns = {{"model"},        {"pixels", kRight}, {"params, M", kRight},
                                        {"GMAC", kRight}, {"top-1", kRight},  {"22K", kRight}};
  if (timed) {
    for (const char* title : {"pictures/s", "best", "spread", "memory"}) columns.push_back({title, kRight});
    columns.insert(columns.begin() + 1, {"by"});
  }
  const auto any = [&rows](auto value) {
    return std::ranges::any_of(rows, [value](const ComparisonRow& row) { return value(row.network.paper_speed) > 0; });
  };
  struct PaperColumn {
    const char* title;
    double PaperSpeed::*value;
  };
  std::vector<PaperColumn> printed = {
      {"V100", &PaperSpeed::v100}, {"A100", &PaperSpeed::a100}, {"training GB", &PaperSpeed::training_memory}};
  std::erase_if(printed, [&](const PaperColumn& column) {
    return !any([&](const PaperSpeed& speed) { return speed.*column.value; });
  });
  for (const PaperColumn& column : printed) columns.push_back({column.title, kRight});

  Table table(columns);
  for (const ComparisonRow& row : rows) {
    const ComparedNetwork& network = row.network;
    std::vector<std::string> cells = {network.model};
    if (timed) cells.push_back(row.speed ? row.speed->backend : "");
    cells.push_back(std::to_string(network.resolution));
    cells.push_back(cell(network.millions_of_params(), 2));
    cells.push_back(cell(network.total_gmac(), 2));
    cells.push_back(cell(network.top1, 1));
    cells.push_back(cell(network.top1_22k, 1));
    if (timed) {
      cells.push_back(row.speed ? fmt::format("{:.1f}", row.speed->pictures_per_second()) : "");
      cells.push_back(row.speed ? fmt::format("{:.1f}", row.speed->best_pictures_per_second()) : "");
      cells.push_back(row.speed ? fmt::format("{:.1f} %", 100 * row.speed->seconds.spread) : "");
      cells.push_back(row.speed && row.speed->memory_bytes ? format_bytes(*row.speed->memory_bytes) : "");
    }
    for (const PaperColumn& column : printed) cells.push_back(cell(network.paper_speed.*column.value, 1));
    table.add(std::move(cells));
  }
  return table.text();
}

std::string ratios_text(const std::vector<SpeedRatio>& ratios, bool timed) {
  using enum Table::Align;
  std::vector<Table::Column> columns = {{"speed of"}, {"by that of"}, {"pixels", kRight}};
  if (timed) {
    for (const char* title : {"libtorch", "engine"}) columns.push_back({title, kRight});
  }
  for (const char* title : {"V100", "A100"}) columns.push_back({title, kRight});
  Table table(columns);
  for (const SpeedRatio& ratio : ratios) {
    std::vector<std::string> cells = {ratio.model, ratio.rival, std::to_string(ratio.resolution)};
    if (timed) {
      cells.push_back(cell(ratio.libtorch, 2));
      cells.push_back(cell(ratio.engine, 2));
    }
    cells.push_back(cell(ratio.v100, 2));
    cells.push_back(cell(ratio.a100, 2));
    table.add(std::move(cells));
  }
  return table.text();
}

// "cpu, 2 threads, fp32, batch 1".
std::string machine(const CompareOptions& options) {
  const int threads = options.threads();
  return fmt::format("{}, {} thread{}, {}, batch {}", options.device.device, threads, threads == 1 ? "" : "s",
                     options.precision, options.batch_or_default());
}

void print_comparison(const std::vector<ComparisonRow>& rows, const CompareOptions& options) {
  const std::vector<SpeedRatio> ratios = speed_ratios(rows);
  if (options.json) {
    Json document = Json::array();
    for (const ComparisonRow& row : rows) document.push_back(row_json(row, ratios, options));
    print_document(document);
    return;
  }
  if (options.timed()) print(fmt::format("{}\n", strong(machine(options))));
  print(rows_text(rows, options.timed()));
  if (!ratios.empty()) print("\n" + ratios_text(ratios, options.timed()));
}

std::string preset_names() {
  std::vector<std::string> names;
  for (const ComparisonPreset& preset : comparison_presets()) {
    names.push_back(fmt::format("{} ({})", preset.name, preset.what));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

void add_compare_options(CLI::App& command, CompareOptions& options) {
  command.add_option("models", options.models, "Registered names, which run with a formula's weights, or model files")
      ->type_name("MODELS");
  command.add_option("--preset", options.preset, "Networks by a name for them all: " + preset_names())
      ->check(problem_of([](const std::string& name) { networks_of_preset(name); }))
      ->type_name("NAME");
  add_weight_file_options(command, options.file_options);
  add_device_options(command, options.device);
  command
      .add_option("--batch", options.batch,
                  fmt::format("Pictures in a batch (default: {} on a CPU, {} on a GPU)", kBatchOnCpu, kBatchOnGpu))
      ->check(CLI::Range(1, kMaxBatch))
      ->type_name("N");
  add_resolution_option(command, options.resolution);
  command
      .add_option("--precision", options.precision,
                  "fp32; bf16, through libtorch by autocast; tf32, on a GPU (default: fp32)")
      ->check(problem_of(timing_precision_from_name))
      ->type_name("NAME");
  command
      .add_option("--seconds", options.seconds,
                  "Time for each network and backend (default: 10); 0: the figures only, nothing is timed")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->type_name("S");
  command.add_option("--plot", options.plot, "Draw accuracy against compute and throughput: a file .svg or .png")
      ->type_name("FILE");
  add_json_option(command, options.json);
}

}  // namespace

ExitCode compare_command(int argc, char** argv) {
  CompareOptions options;
  CLI::App command{"Compare networks: parameters, multiply-accumulates, published accuracy, speed and memory here.",
                   "convnext compare"};
  add_compare_options(command, options);
  command.footer(
      "V100 and A100 are the paper's throughput, GMAC counts attention too. On a GPU 30 passes are timed after 50; on "
      "a "
      "CPU the networks take turns.\n"
      "Example: convnext compare --preset table12 --seconds 0 --plot table12.svg");
  if (!parse_command_line(command, argc, argv)) return kDone;
  if (options.models.empty() && options.preset.empty()) {
    throw UsageError("there is nothing to compare: name models, or a --preset: " + preset_names());
  }
  const std::vector<Entrant> entrants = entrants_of(options);
  check_plot(options, entrants);
  const std::vector<ComparisonRow> rows = compared(options, entrants);
  print_comparison(rows, options);
  if (!options.plot.empty()) write_bubbles(options.plot, comparison_figure(rows, "here: " + machine(options)));
  return kDone;
}

}  // namespace convnext::apps
