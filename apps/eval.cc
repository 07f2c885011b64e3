#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/picture_runner.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "io/image_folder.h"
#include "metrics/classification.h"
#include "model/class_matching.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

struct EvalOptions {
  std::string data;
  ModelOptions model;
  DeviceOptions device;
  bool by_index = false;
  std::string class_map;
  int batch_size = 0;
  bool json = false;
};

// The folders of the data with the class that each stands for.
struct LabelledFolders {
  std::vector<ClassFolder> folders;
  std::vector<int> classes;

  std::int64_t pictures() const {
    std::int64_t count = 0;
    for (const ClassFolder& folder : folders) count += static_cast<std::int64_t>(folder.pictures.size());
    return count;
  }
};

LabelledFolders labelled_folders(const fs::path& data, const EvalOptions& options, const Model& model) {
  LabelledFolders labelled;
  labelled.folders = list_class_folders(data);
  std::vector<std::string> names;
  for (const ClassFolder& folder : labelled.folders) names.push_back(folder.name);
  const ModelClasses classes = {.count = model.classes(), .labels = model.labels()};
  if (options.by_index) {
    labelled.classes = match_classes_by_index(names, classes);
  } else {
    const ClassMap map = options.class_map.empty() ? ClassMap() : read_class_map(options.class_map);
    labelled.classes = match_classes(names, classes, map);
  }
  return labelled;
}

struct ClassRow {
  std::string label;
  ClassificationMetrics::ClassCount count;
  double top1() const { return 100.0 * static_cast<double>(count.correct) / static_cast<double>(count.pictures); }
};

// Of the classes that the data has.
std::vector<ClassRow> class_rows(const ClassificationMetrics& metrics, const std::vector<std::string>& labels) {
  std::vector<ClassRow> rows;
  for (std::size_t i = 0; i < metrics.per_class().size(); ++i) {
    const auto& count = metrics.per_class()[i];
    if (count.pictures > 0) rows.push_back({labels.empty() ? fmt::format("class {}", i) : labels[i], count});
  }
  return rows;
}

void print_classes(std::vector<ClassRow> rows) {
  constexpr std::size_t kMaxRows = 50;
  constexpr int kBarWidth = 40;
  if (rows.size() > kMaxRows) {
    std::ranges::stable_sort(rows, {}, &ClassRow::top1);
    print(fmt::format("The {} classes of the lowest top-1, of {} (all with --json):\n", kMaxRows, rows.size()));
    rows.resize(kMaxRows);
  }
  using enum Table::Align;
  Table table({{"class"}, {"pictures", kRight}, {"top-1", kRight}, {""}});
  for (const ClassRow& row : rows) {
    table.add(
        {row.label, format_count(row.count.pictures), format_percent(row.top1()), bar(row.top1() / 100.0, kBarWidth)});
  }
  print(table.text());
}

ExitCode eval(const EvalOptions& options) {
  if (options.by_index && !options.class_map.empty()) {
    throw UsageError("--by-index and --class-map contradict each other: give one of them");
  }
  const Model model = load_model(options.model, options.device);
  require_classifier(model);
  const fs::path data = split_folder(options.data, {"val", "test"});
  const LabelledFolders labelled = labelled_folders(data, options, model);

  ClassificationMetrics metrics(model.classes());
  ProgressLine progress(Progress("pictures", labelled.pictures()));
  PictureRunner runner(model, PictureOutput::kLogits, options.device.threads, options.batch_size,
                       [&](const PictureResult& result) {
                         if (result.error.empty()) {
                           metrics.add(result.values, result.target);
                         } else {
                           progress.clear();
                           report(result.error);
                         }
                         progress.advance(1);
                       });
  for (std::size_t i = 0; i < labelled.folders.size(); ++i) {
    for (const fs::path& picture : labelled.folders[i].pictures) runner.add(picture, labelled.classes[i]);
  }
  runner.finish();
  progress.clear();
  const double per_second = progress.progress().per_second();
  if (metrics.pictures() == 0) {
    throw Error(ErrorCode::kDamaged,
                fmt::format("none of the {} pictures of '{}' could be read", runner.done(), data.string()));
  }

  const std::vector<ClassRow> rows = class_rows(metrics, model.labels());
  if (options.json) {
    nlohmann::ordered_json json = {{"architecture", model.architecture()},
                                   {"data", data.string()},
                                   {"top1", metrics.top1()},
                                   {"top5", metrics.top5()},
                                   {"loss", metrics.loss()},
                                   {"pictures", metrics.pictures()},
                                   {"failed", runner.failed()},
                                   {"per_class", nlohmann::ordered_json::array()}};
    for (const ClassRow& row : rows) {
      json["per_class"].push_back({{"label", row.label},
                                   {"pictures", row.count.pictures},
                                   {"correct", row.count.correct},
                                   {"top1", row.top1()}});
    }
    print_document(json);
  } else {
    print(fmt::format("{} on {}: {} pictures of {} classes, {:.1f} a second\n\n", strong(model.architecture()),
                      data.string(), format_count(metrics.pictures()), rows.size(), per_second));
    print(fmt::format("top-1  {}\ntop-5  {}\nloss   {:.4f}\n\n", strong(format_percent(metrics.top1())),
                      format_percent(metrics.top5()), metrics.loss()));
    print_classes(rows);
  }
  if (runner.failed() == 0) return kDone;
  report(fmt::format("{} of {} pictures were skipped", runner.failed(), runner.done()));
  return kFailed;
}

}  // namespace

void add_eval(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = program.add_subcommand("eval", "Measure the accuracy of a model on labelled pictures");
  command->add_option("DATA", options->data, "A folder of class folders, or one that holds val or test")->required();
  add_model_options(*command, options->model);
  command->add_flag("--by-index", options->by_index, "Take the sorted folders for the classes in their order");
  command->add_option("--class-map", options->class_map, "A file of lines 'folder label-or-index'")->type_name("FILE");
  command->add_option("--batch-size", options->batch_size, "Pictures at a time (default: as fits)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  add_device_options(*command, options->device);
  add_json_option(*command, options->json);
  command->footer("Example: convnext eval cifar10/test --model models/convnext_cifar10.safetensors");
  command->callback([&chosen, options] { chosen = [options] { return eval(*options); }; });
}

}  // namespace convnext::apps
