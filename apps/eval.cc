#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/commands.h"
#include "apps/detector_eval.h"
#include "apps/evaluation_report.h"
#include "apps/picture_runner.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "engine/picture_batches.h"
#include "model/checkpoint.h"
#include "model/detector_checkpoint.h"

namespace convnext::apps {
namespace {

namespace fs = std::filesystem;

struct EvalOptions {
  EvaluationCommand evaluation;
  DecodeOptions decode;
  std::optional<Precision> against;
  // Of detectors.
  std::string pictures;
  DetectedSizeOptions size;
  bool per_category = false;
  std::string results;
};

bool is_coco_file(const std::string& data) {
  std::error_code ignored;
  return fs::path(data).extension() == ".json" && !fs::is_directory(data, ignored);
}

// Options that one kind of model has and the other one does not.
void refuse(bool given, std::string_view option, std::string_view goes_with) {
  if (given) throw UsageError(fmt::format("{} goes with {}", option, goes_with));
}

ExitCode eval_on_coco(const EvalOptions& all_options) {
  const EvaluationCommand& options = all_options.evaluation;
  constexpr std::string_view kWhere = "--pictures FOLDER says where they lie";
  if (!is_coco_file(options.data)) {
    throw UsageError(fmt::format("--pictures goes with a JSON file of COCO's, and '{}' is none", options.data));
  }
  if (all_options.pictures.empty()) {
    throw UsageError(fmt::format("'{}' names pictures: {}", options.data, kWhere));
  }
  for (const auto& [given, option] : std::initializer_list<std::pair<bool, std::string_view>>{
           {!options.model.architecture.empty(), "--architecture"},
           {options.preprocessing.any(), "an option of preprocessing"},
           {!options.labels.empty(), "--labels"},
           {options.by_index, "--by-index"},
           {!options.class_map.empty(), "--class-map"},
           {!options.confusion.empty(), "--confusion"},
           {options.device.precision.has_value(), "--precision"},
           {all_options.against.has_value(), "--against"}}) {
    refuse(given, option, "a classifier and folders of pictures");
  }
  if (options.model.model.empty()) {
    throw UsageError(fmt::format("a detector is judged on '{}': --model names it", options.data));
  }
  require_folder_of(all_options.results);
  const fs::path file = model_file(options.model.model);
  if (!is_detector(open_tensor_file(weights_file(file), options.model.file_options))) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("'{}' holds no detector, and only detectors are judged on COCO's "
                            "annotations ('{}'): a classifier is evaluated on folders of pictures",
                            file.string(), options.data));
  }
  return eval_detector({.annotations = options.data,
                        .pictures = all_options.pictures,
                        .model = file.string(),
                        .file_options = options.model.file_options,
                        .device = options.device,
                        .decode = all_options.decode,
                        .size = all_options.size,
                        .batch_size = std::max(options.batch_size, 1),
                        .per_category = all_options.per_category,
                        .results = all_options.results,
                        .json = options.json});
}

void refuse_detector(const EvaluationCommand& options) {
  if (options.model.model.empty()) return;
  const fs::path file = model_file(options.model.model);
  if (!holds_detector(file, options.model.file_options)) return;
  throw Error(
      ErrorCode::kMismatch,
      fmt::format("'{}' is a detector, which is judged on a JSON file of COCO's and its pictures: convnext eval "
                  "VAL.json --pictures FOLDER --model '{}'",
                  file.string(), options.model.model));
}

ExitCode eval(const EvalOptions& all_options) {
  const EvaluationCommand& options = all_options.evaluation;
  if (is_coco_file(options.data) || !all_options.pictures.empty()) return eval_on_coco(all_options);
  refuse(all_options.per_category, "--per-category", "a detector");
  refuse(!all_options.results.empty(), "--results", "a detector");
  refuse(all_options.size.any(), "--short-side and --long-side", "a detector");
  check_evaluation_options(options);
  refuse_detector(options);
  const Model model = adjusted(load_model(options.model, options.device), options.preprocessing, options.labels);
  require_classifier(model);
  const EvaluationData data = open_evaluation_data(options, {.count = model.classes(), .labels = model.labels()});
  std::optional<Model> other;
  std::optional<EvaluationAgainst> against;
  if (all_options.against) {
    DeviceOptions device = options.device;
    device.precision = all_options.against;
    other = adjusted(load_model(options.model, device), options.preprocessing, options.labels);
    against = EvaluationAgainst{.precision = std::string(name_of(*all_options.against)),
                                .metrics = ClassificationMetrics(model.classes())};
  }

  ClassificationMetrics metrics(model.classes());
  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(data.samples.size())));
  PictureRunner runner(
      model, PictureOutput::kLogits, options.batch_size, all_options.decode,
      [&](const PictureResult& result) {
        if (result.error.empty()) {
          metrics.add(result.values, result.target);
          if (against) against->add(result.values, result.other, result.target);
        } else {
          progress.clear();
          report(result.error);
        }
        progress.advance(1);
      },
      other ? &*other : nullptr);
  for (const Sample& sample : data.samples) runner.add(sample.picture, sample.label);
  runner.finish();
  progress.clear();
  return finish_evaluation(options, {.architecture = model.architecture(),
                                     .data = data.name,
                                     .labels = model.labels(),
                                     .metrics = metrics,
                                     .against = against ? &*against : nullptr,
                                     .failed = runner.failed(),
                                     .seconds = progress.progress().seconds()});
}

}  // namespace

void add_eval(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = program.add_subcommand("eval", "Measure the accuracy of a model on labelled pictures");
  add_evaluation_options(*command, options->evaluation);
  command
      ->add_option("--pictures", options->pictures,
                   "Of a detector: the folder of the pictures that DATA, a JSON file of "
                   "COCO's, names")
      ->type_name("FOLDER");
  command->add_flag("--per-category", options->per_category,
                    "Of a detector: print the figures of each category, too (--json has them)");
  command->add_option("--results", options->results, "Of a detector: write what it found, in COCO's format of results")
      ->type_name("FILE");
  add_detected_size_options(*command, options->size);
  add_decode_options(*command, options->decode);
  command
      ->add_option_function<std::string>(
          "--against", [options](const std::string& name) { options->against = precision_from_name(name); },
          "Compute in this precision too, and tell how near the answers are to it: fp32, bf16 or int8")
      ->check(problem_of(precision_from_name))
      ->type_name("NAME");
  command->footer(
      "Examples: convnext eval cifar10/test --model models/convnext_cifar10.safetensors\n"
      "          convnext eval cifar10/test --model convnext_cifar10 --precision bf16 --against fp32\n"
      "          convnext eval instances_val.json --pictures val --model detector.safetensors");
  command->callback([&chosen, options] { chosen = [options] { return eval(*options); }; });
}

}  // namespace convnext::apps
