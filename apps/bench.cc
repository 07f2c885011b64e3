#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "convnext/thread_pool.h"
#include "core/peak_memory.h"
#include "engine/benchmark.h"
#include "io/image_folder.h"
#include "kernels/isa.h"
#include "model/description.h"
#include "model/formula.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxBatch = 4096;
constexpr int kMaxThreads = 4096;
constexpr double kMaxSeconds = 86400.0;
constexpr std::size_t kMaxFiles = 4096;  // of a folder; further ones are left out
constexpr int kBarWidth = 30;
// Characters of what most rows hold, known before they are: "12345.6", "123.4 %", "12345.67", "12345",
// "123.4 MB".
constexpr std::size_t kRateWidth = 7;
constexpr std::size_t kPercentWidth = 7;
constexpr std::size_t kTimeWidth = 8;
constexpr std::size_t kPeakWidth = 5;
constexpr std::size_t kBytesWidth = 8;

struct BenchOptions {
  ModelOptions model;
  NetworkOptions network;
  std::vector<int> batches = {1};
  std::vector<int> resolutions;
  std::vector<std::string> precisions = {std::string(name_of(Precision::kFp32))};
  std::vector<int> threads;
  double seconds = 3.0;
  std::string folder;
  bool profile = false;
  bool json = false;
};

// A model as compiled for one precision.
struct LoadedNetwork {
  std::string model;  // as asked for
  Card card;
  bool has_formula_weights = false;
  Precision precision{};
  std::string isa;
  std::unique_ptr<Executable> executable;
  double seconds = 0.0;           // to read and compile it
  std::uint64_t peak_memory = 0;  // of the process by then

  BenchmarkNetwork network() const {
    return {.config = card.network, .precision = precision, .isa = isa, .executable = executable.get()};
  }
};

// The reference has no times to tell, but the same operations.
void require_profile(const Backend& backend) {
  const std::vector<std::string> engines = available_isas();
  if (std::ranges::find(engines, backend.name()) != engines.end()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("--profile: {} does not tell where its time goes; the engine of 'convnext bench' does, which "
                          "runs ConvNeXt",
                          backend.name()));
}

// Everything but what it runs on is let go: memory in use is then what a program that only runs it would use.
LoadedNetwork load(const BenchOptions& options, const std::string& model, Precision precision, int threads) {
  LoadedNetwork loaded;
  reset_peak_memory();
  const auto start = std::chrono::steady_clock::now();
  NetworkSource source = read_network(model, options.model.architecture, options.network, options.model.file_options);
  const std::unique_ptr<Backend> backend = program_backend(source.card);
  if (options.profile) require_profile(*backend);
  loaded.model = model;
  loaded.has_formula_weights = !source.checkpoint;
  loaded.precision = precision;
  loaded.isa = backend->name();
  const WeightStore weights =
      source.checkpoint ? std::move(source.checkpoint->weights) : formula_weights(source.card.network, 1);
  ThreadPool pool(threads);
  loaded.executable = backend->compile(source.card.network, weights, precision, {.pool = &pool});
  loaded.card = std::move(source.card);
  loaded.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  loaded.peak_memory = peak_memory();
  return loaded;
}

std::vector<std::filesystem::path> picture_files(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  walk_pictures(folder, [&files](const std::filesystem::path& file) {
    files.push_back(file);
    return files.size() < kMaxFiles;
  });
  if (files.empty()) {
    throw Error(ErrorCode::kNotFound, fmt::format("the folder '{}' holds no pictures (jpg, jpeg, png, webp)", folder));
  }
  return files;
}

double milliseconds(double seconds) { return 1e3 * seconds; }

// What all rows begin with.
Json row_json(const LoadedNetwork& loaded, const BenchmarkLoad& load) {
  return {{"model", loaded.model},
          {"architecture", loaded.card.architecture},
          {"weights", loaded.has_formula_weights ? "formula" : "file"},
          {"resolution", load.resolution},
          {"batch", load.batch},
          {"threads", load.threads},
          {"precision", name_of(loaded.precision)},
          {"isa", loaded.isa}};
}

// `latency` is of batches.
void add_latency(Json& json, const BenchmarkLoad& load, const Distribution& latency) {
  json["pictures_per_second"] = load.batch / latency.median;
  json["pictures_per_second_best"] = load.batch / latency.smallest;
  json["spread"] = latency.spread;
  json["latency_ms"] = {
      {"p50", milliseconds(latency.median)}, {"p95", milliseconds(latency.p95)}, {"p99", milliseconds(latency.p99)}};
}

void add_memory(Json& json, const LoadedNetwork& loaded, std::uint64_t peak_memory) {
  json["weight_bytes"] = loaded.executable->weight_bytes();
  json["peak_memory_bytes"] = peak_memory;
  json["load_seconds"] = loaded.seconds;
  json["load_peak_memory_bytes"] = loaded.peak_memory;
}

// One operation of one part as it was measured. Times are those of a run, of the average thread, so that they add up to
// the run's.
struct ProfileRow {
  std::string part;
  std::string operation;
  double seconds = 0.0;
  double share = 0.0;                     // of the run
  std::optional<double> peak_fraction{};  // of what arithmetic can be there
  std::uint64_t bytes = 0;                // of all threads
};

std::vector<ProfileRow> profile_rows(const LoadedNetwork& loaded, const BenchmarkLoad& load,
                                     const BenchmarkResult& result) {
  const Profile& profile = *result.profile;
  const double run_seconds = result.profile_seconds / static_cast<double>(result.profile_runs);
  const double scale = 1e-9 / static_cast<double>(result.profile_runs * profile.threads());
  std::vector<ProfileRow> rows;
  double rest = run_seconds;
  for (const OperationCost& cost :
       operation_costs(loaded.card.network, load.batch, load.resolution, load.resolution, loaded.precision)) {
    ProfileRow& row = rows.emplace_back();
    row.part = name_of(cost.part);
    row.operation = name_of(cost.operation);
    row.seconds = scale * static_cast<double>(profile.total(cost.part, cost.operation).nanoseconds);
    row.share = row.seconds / run_seconds;
    row.bytes = cost.bytes;
    rest -= row.seconds;
    if (cost.multiply_accumulates > 0 && result.peak.pointwise > 0 && row.seconds > 0) {
      row.peak_fraction = seconds_at_peak({cost}, result.peak) / row.seconds;
    }
  }
  rows.push_back({.part = "waiting", .operation = {}, .seconds = rest, .share = rest / run_seconds});
  return rows;
}

Json profile_json(const std::vector<ProfileRow>& rows) {
  Json json = Json::array();
  for (const ProfileRow& row : rows) {
    json.push_back(
        {{"part", row.part}, {"operation", row.operation}, {"ms", milliseconds(row.seconds)}, {"share", row.share}});
    if (row.peak_fraction) json.back()["peak_fraction"] = *row.peak_fraction;
    if (row.bytes > 0) json.back()["bytes"] = row.bytes;
  }
  return json;
}

std::string profile_text(const std::vector<ProfileRow>& rows) {
  using enum Table::Align;
  Table table({{"part"},
               {"operation"},
               {"ms", kRight},
               {"share", kRight},
               {"of peak", kRight},
               {"moves", kRight},
               {"GB/s", kRight},
               {""}});
  double largest = 0.0;
  for (const ProfileRow& row : rows) largest = std::max(largest, row.share);
  for (const ProfileRow& row : rows) {
    const bool moves = row.bytes > 0 && row.seconds > 0;
    table.add({row.part, row.operation, fmt::format("{:.2f}", milliseconds(row.seconds)),
               fmt::format("{:.1f} %", 100 * row.share),
               row.peak_fraction ? fmt::format("{:.1f} %", 100 * *row.peak_fraction) : "",
               row.bytes > 0 ? format_bytes(row.bytes) : "",
               moves ? fmt::format("{:.1f}", 1e-9 * static_cast<double>(row.bytes) / row.seconds) : "",
               bar(row.share / largest, kBarWidth)});
  }
  return table.text();
}

// The columns that say which combination a row is.
std::vector<std::string> combination_cells(const LoadedNetwork& loaded, const BenchmarkLoad& load) {
  return {fmt::format("{}", load.resolution), std::string(name_of(loaded.precision)), fmt::format("{}", load.threads),
          fmt::format("{}", load.batch)};
}

std::string combination_text(const LoadedNetwork& loaded, const BenchmarkLoad& load) {
  return fmt::format("{0} x {0}, {1}, {2} thread{3}, batch {4}", load.resolution, name_of(loaded.precision),
                     load.threads, load.threads == 1 ? "" : "s", load.batch);
}

// Takes results as they come. A row of the table is shown at once, for there may be an hour between two; profiles
// follow at the end, and so does the document of --json.
class Report {
 public:
  explicit Report(const BenchOptions& options) : options_(options) {}

  // What the table is of, and its titles.
  void begin(const std::string& model, const LoadedNetwork& loaded) {
    if (options_.json) return;
    table_ = Table(options_.folder.empty() ? network_columns(has_tiles(loaded)) : file_columns());
    print(
        fmt::format("{} on {}{}\n", strong(model), loaded.isa, loaded.has_formula_weights ? ", formula weights" : ""));
    print(table_.title_line());
    flush();
  }

  void add(const LoadedNetwork& loaded, const BenchmarkLoad& load, const BenchmarkResult& result) {
    const double gflops = result.gflop / result.latency.median;
    const NetworkCost cost = count_cost(loaded.card.network, load.resolution, load.resolution);
    std::vector<ProfileRow> profile;
    if (result.profile && result.profile->total_nanoseconds() > 0) profile = profile_rows(loaded, load, result);
    if (options_.json) {
      Json& json = rows_.emplace_back(row_json(loaded, load));
      add_latency(json, load, result.latency);
      json["runs"] = result.runs;
      json["gmac"] = cost.gmac;
      if (cost.gmac_attention > 0) json["gmac_attention"] = cost.gmac_attention;
      json["gflops"] = gflops;
      const bool has_peak = result.peak.pointwise > 0;
      json["peak_gflops"] = has_peak ? Json(result.peak.pointwise) : Json();
      json["depthwise_peak_gflops"] = has_peak ? Json(result.peak.depthwise) : Json();
      json["vector_peak_gflops"] = has_peak ? Json(result.peak.vectors) : Json();
      json["roofline_fraction"] = has_peak ? Json(result.roofline) : Json();
      json["vector_roofline_fraction"] = has_peak ? Json(result.vector_roofline) : Json();
      add_memory(json, loaded, result.peak_memory);
      if (result.profile) json["profile"] = profile_json(profile);
      return;
    }
    std::vector<std::string> cells = combination_cells(loaded, load);
    add_latency_cells(cells, load, result.latency);
    cells.push_back(fmt::format("{:.0f}", gflops));
    cells.push_back(result.peak.pointwise > 0 ? fmt::format("{:.0f}", result.peak.pointwise) : "");
    cells.push_back(result.peak.pointwise > 0 ? fmt::format("{:.1f} %", 100 * result.roofline) : "");
    if (has_tiles(loaded)) cells.push_back(fmt::format("{:.1f} %", 100 * result.vector_roofline));
    cells.push_back(format_bytes(loaded.executable->weight_bytes()));
    cells.push_back(format_bytes(result.peak_memory));
    show_row(std::move(cells));
    if (!result.profile) return;
    profiles_ += fmt::format(
        "\n{}\n{}", strong(combination_text(loaded, load)),
        profile.empty() ? fmt::format("the {} engine keeps no profile\n", loaded.isa) : profile_text(profile));
  }

  void add(const LoadedNetwork& loaded, const BenchmarkLoad& load, const FileBenchmarkResult& result) {
    const double pictures = static_cast<double>(result.pictures);
    if (options_.json) {
      Json& json = rows_.emplace_back(row_json(loaded, load));
      add_latency(json, load, result.latency);
      json["pictures_per_second"] = pictures / result.seconds;
      json["pictures"] = result.pictures;
      json["seconds"] = result.seconds;
      json["decode_seconds"] = result.decode_seconds;
      json["resize_seconds"] = result.resize_seconds;
      json["network_seconds"] = result.network_seconds;
      add_memory(json, loaded, result.peak_memory);
      return;
    }
    std::vector<std::string> cells = combination_cells(loaded, load);
    cells.push_back(fmt::format("{:.1f}", pictures / result.seconds));
    cells.push_back(fmt::format("{:.1f} %", 100 * result.latency.spread));
    for (const double seconds :
         {result.decode_seconds, result.resize_seconds, result.network_seconds, result.seconds}) {
      cells.push_back(fmt::format("{:.2f}", milliseconds(seconds / pictures)));
    }
    for (const double seconds : {result.decode_seconds, result.resize_seconds, result.network_seconds}) {
      cells.push_back(fmt::format("{:.0f} %", 100 * seconds / result.seconds));
    }
    cells.push_back(format_bytes(result.peak_memory));
    show_row(std::move(cells));
  }

  void end() const {
    if (options_.json) {
      print_document(rows_);
    } else {
      print(profiles_);
    }
  }

 private:
  void show_row(std::vector<std::string> cells) {
    table_.add(std::move(cells));
    print(table_.last_line());
    flush();
  }

  // There are two roofs then.
  static bool has_tiles(const LoadedNetwork& loaded) { return loaded.isa == name_of(Isa::kAmx); }

  static std::vector<Table::Column> network_columns(bool has_tiles) {
    using enum Table::Align;
    std::vector<Table::Column> columns = {{"pixels", kRight},
                                          {"precision"},
                                          {"threads", kRight},
                                          {"batch", kRight},
                                          {"pictures/s", kRight},
                                          {"best", kRight, kRateWidth},
                                          {"spread", kRight, kPercentWidth},
                                          {"p50 ms", kRight, kTimeWidth},
                                          {"p95", kRight, kTimeWidth},
                                          {"p99", kRight, kTimeWidth},
                                          {"GFLOP/s", kRight},
                                          {"peak", kRight, kPeakWidth},
                                          {"of roof", kRight}};
    if (has_tiles) columns.push_back({"of vectors", kRight});
    columns.push_back({"weights", kRight, kBytesWidth});
    columns.push_back({"memory", kRight, kBytesWidth});
    return columns;
  }

  static std::vector<Table::Column> file_columns() {
    using enum Table::Align;
    return {{"pixels", kRight},
            {"precision"},
            {"threads", kRight},
            {"batch", kRight},
            {"pictures/s", kRight},
            {"spread", kRight, kPercentWidth},
            {"decode ms", kRight},
            {"resize", kRight, kTimeWidth},
            {"network", kRight, kTimeWidth},
            {"whole", kRight, kTimeWidth},
            {"decode", kRight},
            {"resize", kRight},
            {"network", kRight},
            {"memory", kRight, kBytesWidth}};
  }

  static void add_latency_cells(std::vector<std::string>& cells, const BenchmarkLoad& load,
                                const Distribution& latency) {
    cells.push_back(fmt::format("{:.1f}", load.batch / latency.median));
    cells.push_back(fmt::format("{:.1f}", load.batch / latency.smallest));
    cells.push_back(fmt::format("{:.1f} %", 100 * latency.spread));
    for (const double seconds : {latency.median, latency.p95, latency.p99}) {
      cells.push_back(fmt::format("{:.2f}", milliseconds(seconds)));
    }
  }

  const BenchOptions& options_;
  Table table_{std::vector<Table::Column>()};
  std::string profiles_;
  Json rows_ = Json::array();
};

ExitCode bench(const BenchOptions& options) {
  if (!options.folder.empty() && options.profile) {
    throw UsageError("--profile is of the network alone: leave --from-files out");
  }
  const std::string model = model_or_shipped(options.model);
  std::vector<int> thread_counts = options.threads;
  if (thread_counts.empty()) thread_counts.push_back(available_threads());
  std::vector<std::filesystem::path> files;
  if (!options.folder.empty()) files = picture_files(options.folder);

  Report results(options);
  bool first = true;
  ProgressLine progress(
      Progress("combinations",
               static_cast<std::int64_t>(options.precisions.size() * thread_counts.size() * options.batches.size() *
                                         std::max<std::size_t>(options.resolutions.size(), 1))));
  for (const std::string& precision : options.precisions) {
    const LoadedNetwork loaded = load(options, model, precision_from_name(precision), std::ranges::max(thread_counts));
    if (!options.folder.empty() && class_count(loaded.card.network) == 0) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("this {} has no classifier: --from-files ends with a label", loaded.card.architecture));
    }
    if (first) {
      progress.clear();
      if (loaded.has_formula_weights) {
        report(fmt::format("'{}' is a registered name: its weights are a formula's, not trained ones", model));
      }
      results.begin(model, loaded);
      first = false;
    }
    std::vector<int> resolutions = options.resolutions;
    if (resolutions.empty()) resolutions.push_back(loaded.card.preprocessing.resolution);
    for (const int resolution : resolutions) {
      for (const int threads : thread_counts) {
        for (const int batch : options.batches) {
          const BenchmarkLoad load = {.batch = batch,
                                      .resolution = resolution,
                                      .threads = threads,
                                      .seconds = options.seconds,
                                      .on_progress = [&progress](double) { progress.advance(0); }};
          if (files.empty()) {
            const BenchmarkResult result = measure_network(loaded.network(), load, options.profile);
            progress.clear();
            results.add(loaded, load, result);
          } else {
            const FileBenchmarkResult result =
                measure_from_files(loaded.network(), load, files, loaded.card.preprocessing);
            progress.clear();
            results.add(loaded, load, result);
          }
          progress.advance(1);
        }
      }
    }
  }
  progress.clear();
  results.end();
  return kDone;
}

}  // namespace

void add_bench(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = program.add_subcommand("bench", "Measure how fast a network runs here, and what holds it up");
  add_model_options(*command, options->model)
      .description("A model file, or a registered name (with the weights of a formula)");
  command->add_option("--batch", options->batches, "Pictures in a batch (default: 1)")
      ->delimiter(',')
      ->check(CLI::Range(1, kMaxBatch))
      ->type_name("LIST");
  command->add_option("--resolution", options->resolutions, "Sides of the square input, pixels (default: the model's)")
      ->delimiter(',')
      ->check(CLI::Range(1, kMaxResolution))
      ->type_name("LIST");
  command->add_option("--precision", options->precisions, "fp32, bf16, int8 (default: fp32)")
      ->delimiter(',')
      ->check(problem_of(precision_from_name))
      ->type_name("LIST");
  command->add_option("--threads", options->threads, "Threads to use (default: all that the process may use)")
      ->delimiter(',')
      ->check(CLI::Range(1, kMaxThreads))
      ->type_name("LIST");
  command->add_option("--seconds", options->seconds, "Time for each combination of these (default: 3)")
      ->check(CLI::Range(0.0, kMaxSeconds))
      ->type_name("S");
  command
      ->add_option("--from-files", options->folder,
                   "From the pictures of a folder to labels, with the time of each step")
      ->type_name("FOLDER");
  command->add_flag("--profile", options->profile, "Where the time goes, by part of the network and operation");
  add_network_options(*command, options->network);
  add_json_option(*command, options->json);
  command->footer(
      "Every combination of the lists is a row. The roof is what the arithmetic units reach with nothing else to do, "
      "measured on the same threads around each sample.\n"
      "Example: convnext bench --model convnext_tiny --batch 1,16 --threads 1,2");
  command->callback([&chosen, options] { chosen = [options] { return bench(*options); }; });
}

}  // namespace convnext::apps
