#include "apps/evaluation_report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/terminal.h"
#include "convnext/error.h"
#include "io/file.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxClassRows = 50;
constexpr std::size_t kMaxMatrixInTable = 20;
constexpr std::size_t kMaxMatrixInJson = 200;
constexpr std::size_t kShownConfusions = 10;

std::string label_of(const EvaluationReport& result, std::size_t index) {
  return result.labels.empty() ? fmt::format("class {}", index) : result.labels[index];
}

double pictures_per_second(const EvaluationReport& result) {
  return result.seconds > 0 ? static_cast<double>(result.metrics.pictures()) / result.seconds : 0.0;
}

// The classes that the data has.
std::vector<std::size_t> classes_of_data(const ClassificationMetrics& metrics) {
  std::vector<std::size_t> classes;
  for (std::size_t i = 0; i < metrics.per_class().size(); ++i) {
    if (metrics.per_class()[i].pictures > 0) classes.push_back(i);
  }
  return classes;
}

// A field of a CSV file (RFC 4180).
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

// A row a class of the pictures, a column a class they were taken for, for all classes of the model.
void write_confusion(const fs::path& path, const EvaluationReport& result) {
  const std::size_t classes = result.metrics.per_class().size();
  write_file_atomically(path, [&](const ByteSink& sink) {
    const auto write_line = [&](std::string line) {
      line += '\n';
      sink(std::as_bytes(std::span(line.data(), line.size())));
    };
    std::string line = "class";
    for (std::size_t i = 0; i < classes; ++i) line += ',' + csv_field(label_of(result, i));
    write_line(std::move(line));
    for (std::size_t target = 0; target < classes; ++target) {
      line = csv_field(label_of(result, target));
      for (std::size_t predicted = 0; predicted < classes; ++predicted) {
        line += fmt::format(",{}", result.metrics.confusion(static_cast<int>(target), static_cast<int>(predicted)));
      }
      write_line(std::move(line));
    }
  });
}

Json to_json(const EvaluationReport& result) {
  const ClassificationMetrics& metrics = result.metrics;
  Json json = {{"architecture", result.architecture},
               {"data", result.data},
               {"top1", metrics.top1()},
               {"top5", metrics.top5()},
               {"loss", metrics.loss()},
               {"calibration_error", metrics.calibration_error()},
               {"pictures", metrics.pictures()},
               {"failed", result.failed},
               {"seconds", result.seconds},
               {"pictures_per_second", pictures_per_second(result)}};
  if (const EvaluationAgainst* against = result.against) {
    json["against"] = {{"precision", against->precision},           {"top1", against->metrics.top1()},
                       {"top5", against->metrics.top5()},           {"loss", against->metrics.loss()},
                       {"agreement", against->answers.agreement()}, {"cosine", against->answers.cosine()}};
  }
  json["per_class"] = Json::array();
  json["reliability"] = Json::array();
  for (const std::size_t i : classes_of_data(metrics)) {
    const auto& count = metrics.per_class()[i];
    json["per_class"].push_back({{"label", label_of(result, i)},
                                 {"pictures", count.pictures},
                                 {"correct", count.correct},
                                 {"top1", count.recall()},
                                 {"precision", count.precision()},
                                 {"recall", count.recall()},
                                 {"f1", count.f1()}});
  }
  for (const auto& bin : metrics.reliability()) {
    json["reliability"].push_back(
        {{"pictures", bin.pictures}, {"confidence", bin.confidence()}, {"accuracy", bin.accuracy()}});
  }
  const std::size_t classes = metrics.per_class().size();
  if (classes > kMaxMatrixInJson) return json;
  json["labels"] = Json::array();
  json["confusion"] = Json::array();
  for (std::size_t target = 0; target < classes; ++target) {
    json["labels"].push_back(label_of(result, target));
    Json row = Json::array();
    for (std::size_t predicted = 0; predicted < classes; ++predicted) {
      row.push_back(metrics.confusion(static_cast<int>(target), static_cast<int>(predicted)));
    }
    json["confusion"].push_back(std::move(row));
  }
  return json;
}

void print_classes(const EvaluationReport& result) {
  constexpr int kBarWidth = 30;
  const auto& per_class = result.metrics.per_class();
  std::vector<std::size_t> classes = classes_of_data(result.metrics);
  if (classes.size() > kMaxClassRows) {
    std::ranges::stable_sort(classes, {}, [&](std::size_t i) { return per_class[i].recall(); });
    print(fmt::format("The {} classes of the lowest top-1, of {} (all with --json):\n", kMaxClassRows, classes.size()));
    classes.resize(kMaxClassRows);
  }
  using enum Table::Align;
  Table table({{"class"}, {"pictures", kRight}, {"top-1", kRight}, {"precision", kRight}, {"F1", kRight}, {""}});
  for (const std::size_t i : classes) {
    const auto& count = per_class[i];
    table.add({label_of(result, i), format_count(count.pictures), format_percent(count.recall()),
               format_percent(count.precision()), format_percent(count.f1()), bar(count.recall() / 100.0, kBarWidth)});
  }
  print(table.text());
}

void print_confusions(const EvaluationReport& result) {
  const auto confusions = result.metrics.most_confused(kShownConfusions);
  if (confusions.empty()) return;
  print(strong("\nMistakes that happen most\n"));
  for (const auto& [target, predicted, pictures] : confusions) {
    print(fmt::format("{} taken for {} {} {}\n", label_of(result, static_cast<std::size_t>(target)),
                      label_of(result, static_cast<std::size_t>(predicted)), format_count(pictures),
                      pictures == 1 ? "time" : "times"));
  }
}

// Of the classes that occur; columns have numbers in the place of names, so that it fits a terminal.
void print_matrix(const EvaluationReport& result) {
  std::vector<std::size_t> classes;
  for (std::size_t i = 0; i < result.metrics.per_class().size(); ++i) {
    const auto& count = result.metrics.per_class()[i];
    if (count.pictures > 0 || count.predicted > 0) classes.push_back(i);
  }
  if (classes.size() > kMaxMatrixInTable) return;
  using enum Table::Align;
  std::vector<Table::Column> columns = {{"", kRight}, {"class"}};
  for (const std::size_t i : classes) columns.push_back({fmt::format("{}", i), kRight});
  Table table(std::move(columns));
  for (const std::size_t target : classes) {
    std::vector<std::string> cells = {fmt::format("{}", target), label_of(result, target)};
    for (const std::size_t predicted : classes) {
      const std::int64_t count = result.metrics.confusion(static_cast<int>(target), static_cast<int>(predicted));
      cells.push_back(count == 0 ? "." : fmt::format("{}", count));
    }
    table.add(std::move(cells));
  }
  print("\nA row for what pictures show, a column for what they were taken for\n");
  print(table.text());
}

void print_report(const EvaluationReport& result) {
  const ClassificationMetrics& metrics = result.metrics;
  print(fmt::format("{} on {}: {} pictures of {} classes in {}, {:.1f} a second\n\n", strong(result.architecture),
                    result.data, format_count(metrics.pictures()), classes_of_data(metrics).size(),
                    format_duration(result.seconds), pictures_per_second(result)));
  print(fmt::format("top-1              {}\ntop-5              {}\nloss               {:.4f}\n",
                    strong(format_percent(metrics.top1())), format_percent(metrics.top5()), metrics.loss()));
  print(fmt::format("calibration error  {}\n", format_percent(metrics.calibration_error())));
  if (const EvaluationAgainst* against = result.against) {
    print(fmt::format("against {:<10} {} top-1; the same class for {:.2f} % of pictures, cosine of the logits {:.6f}\n",
                      against->precision, format_percent(against->metrics.top1()), against->answers.agreement(),
                      against->answers.cosine()));
  }
  print("\n");
  print_classes(result);
  print_confusions(result);
  print_matrix(result);
}

}  // namespace

void add_evaluation_options(CLI::App& command, EvaluationCommand& options) {
  command
      .add_option("DATA", options.data,
                  "A folder of class folders, a folder of shards, or one that holds val, validation or test; for a "
                  "detector COCO's JSON")
      ->required();
  add_model_options(command, options.model);
  add_preprocessing_options(command, options.preprocessing);
  add_labels_option(command, options.labels);
  command.add_flag("--by-index", options.by_index, "Take the classes of the data for the model's in their order");
  command.add_option("--class-map", options.class_map, "A file of lines 'folder label-or-index'")->type_name("FILE");
  command.add_option("--batch-size", options.batch_size, "Pictures at a time (default: as fits)")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  command.add_option("--confusion", options.confusion, "Write the confusion matrix to a CSV file")->type_name("FILE");
  add_device_options(command, options.device);
  add_precision_option(command, options.device);
  add_json_option(command, options.json);
}

void check_evaluation_options(const EvaluationCommand& options) {
  if (options.by_index && !options.class_map.empty()) {
    throw UsageError("--by-index and --class-map contradict each other: give one of them");
  }
  require_folder_of(options.confusion);
}

EvaluationData open_evaluation_data(const EvaluationCommand& options, const ModelClasses& classes) {
  const Split split = find_held_out_split(options.data).value_or(Split{.folder = options.data, .shards = {}});
  Dataset dataset = open_dataset(split);
  std::vector<int> targets(dataset.classes.size());
  if (!dataset.has_class_names && options.class_map.empty()) {
    // Their numbers are all there is to match, which has to be said like any other match by order.
    if (!options.by_index) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("the shards of '{}' number their classes and name none: say --by-index when the numbers "
                              "are the model's, or put a classes.txt beside them, one name a line",
                              split.name()));
    }
    if (dataset.classes.size() > static_cast<std::size_t>(classes.count)) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' has a picture of class {}, but the model has {} classes",
                                                    split.name(), dataset.classes.back(), classes.count));
    }
    for (std::size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<int>(i);
  } else if (options.by_index) {
    targets = match_classes_by_index(dataset.classes, classes);
  } else {
    // classes.txt may list more than the shards hold, and more than the model knows.
    std::vector<bool> occurs(dataset.classes.size());
    for (const Sample& sample : dataset.samples) occurs[static_cast<std::size_t>(sample.label)] = true;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < occurs.size(); ++i) {
      if (occurs[i]) names.push_back(dataset.classes[i]);
    }
    const ClassMap map = options.class_map.empty() ? ClassMap() : read_class_map(options.class_map);
    const std::vector<int> matches = match_classes(names, classes, map);
    auto match = matches.begin();
    for (std::size_t i = 0; i < occurs.size(); ++i) {
      if (occurs[i]) targets[i] = *match++;
    }
  }
  for (Sample& sample : dataset.samples) sample.label = targets[static_cast<std::size_t>(sample.label)];
  return {.name = split.name(), .samples = std::move(dataset.samples)};
}

ExitCode finish_evaluation(const EvaluationCommand& options, const EvaluationReport& result) {
  const std::int64_t total = result.metrics.pictures() + result.failed;
  if (result.metrics.pictures() == 0) {
    throw Error(ErrorCode::kDamaged, fmt::format("none of the {} pictures of '{}' could be read", total, result.data));
  }
  if (!options.confusion.empty()) write_confusion(options.confusion, result);
  if (options.json) {
    print_document(to_json(result));
  } else {
    print_report(result);
  }
  if (result.failed == 0) return kDone;
  report(fmt::format("{} of {} pictures were skipped", result.failed, total));
  return kFailed;
}

}  // namespace convnext::apps
