#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "apps/answer_comparison.h"
#include "apps/commands.h"
#include "apps/evaluation_report.h"
#include "apps/options.h"
#include "apps/picture_runner.h"
#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "engine/model_loading.h"
#include "engine/picture_batches.h"
#include "engine/verify.h"
#include "io/dataset.h"
#include "io/image_folder.h"
#include "metrics/classification.h"
#include "model/checkpoint.h"
#include "model/int8_weights.h"

namespace convnext::apps {
namespace {

struct QuantizeOptions {
  ModelOptions model;
  std::string output;
  std::string pictures;
  bool labels = false;
  double max_drop = 1.0;
  int threads = 0;
  int batch_size = 0;
  DecodeOptions decode;
  bool json = false;
};

// How near the answers of a model in int8 are to those in float32: its logits, or its features where it has no
// classifier.
struct Comparison {
  bool has_classes = false;
  bool has_labels = false;
  AnswerComparison answers;
  std::int64_t failed = 0;  // pictures
  std::optional<ClassificationMetrics> before;
  std::optional<ClassificationMetrics> after;

  // What is lost, in percent: of top-1 where labels are known, else of agreement, else of cosine.
  double drop() const {
    if (has_labels) return before->top1() - after->top1();
    return has_classes ? 100.0 - answers.agreement() : 100.0 * (1.0 - answers.cosine());
  }
  std::string_view drop_of() const { return has_labels ? "top-1" : has_classes ? "agreement" : "cosine"; }
};

std::vector<Sample> pictures_of(const QuantizeOptions& options, const Model& model) {
  if (options.labels) {
    EvaluationCommand evaluation;
    evaluation.data = options.pictures;
    return open_evaluation_data(evaluation, {.count = model.classes(), .labels = model.labels()}).samples;
  }
  std::vector<Sample> samples;
  walk_pictures(options.pictures, [&samples](const std::filesystem::path& file) {
    samples.push_back({.picture = {.path = file, .member = {}}, .label = 0});
    return true;
  });
  return samples;
}

Comparison compare(const Checkpoint& checkpoint, const QuantizeOptions& options, std::shared_ptr<ThreadPool> pool) {
  const std::unique_ptr<Backend> backend = program_backend(checkpoint.card);
  const auto in_precision = [&](Precision precision) {
    return ModelLoading::load(checkpoint, *backend, {.precision = precision, .pool = pool});
  };
  const Model before = in_precision(Precision::kFp32);
  const Model after = in_precision(Precision::kInt8);
  if (options.labels) require_classifier(before);
  const std::vector<Sample> samples = pictures_of(options, before);

  Comparison comparison;
  comparison.has_classes = before.classes() > 0;
  comparison.has_labels = options.labels;
  if (options.labels) {
    comparison.before.emplace(before.classes());
    comparison.after.emplace(before.classes());
  }
  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(samples.size())));
  const auto take = [&](const PictureResult& result) {
    if (result.error.empty()) {
      comparison.answers.add(result.values, result.other);
      if (options.labels) {
        comparison.before->add(result.values, result.target);
        comparison.after->add(result.other, result.target);
      }
    } else {
      ++comparison.failed;
      progress.clear();
      report(result.error);
    }
    progress.advance(1);
  };
  const PictureOutput output = comparison.has_classes ? PictureOutput::kLogits : PictureOutput::kPooled;
  PictureRunner runner(before, output, options.batch_size, options.decode, take, &after);
  for (const Sample& sample : samples) runner.add(sample.picture, sample.label);
  runner.finish();
  progress.clear();
  if (comparison.answers.pictures() == 0) {
    throw Error(ErrorCode::kDamaged, fmt::format("not one picture of '{}' could be read", options.pictures));
  }
  return comparison;
}

void show(const Comparison& comparison) {
  if (comparison.has_labels) {
    using enum Table::Align;
    Table table({{""}, {"fp32", kRight}, {"int8", kRight}});
    const ClassificationMetrics& before = *comparison.before;
    const ClassificationMetrics& after = *comparison.after;
    table.add({"top-1", format_percent(before.top1()), format_percent(after.top1())});
    table.add({"top-5", format_percent(before.top5()), format_percent(after.top5())});
    table.add({"loss", fmt::format("{:.4f}", before.loss()), fmt::format("{:.4f}", after.loss())});
    print(table.text());
  }
  const AnswerComparison& answers = comparison.answers;
  if (comparison.has_classes) print(fmt::format("same class  {:.2f} % of pictures\n", answers.agreement()));
  print(fmt::format("cosine      {:.6f}, the mean of {} pictures\n", answers.cosine(), answers.pictures()));
}

nlohmann::ordered_json to_json(const Comparison& comparison) {
  nlohmann::ordered_json json = {{"pictures", comparison.answers.pictures()},
                                 {"failed", comparison.failed},
                                 {"cosine", comparison.answers.cosine()}};
  if (comparison.has_classes) json["agreement"] = comparison.answers.agreement();
  if (comparison.has_labels) {
    for (const auto& [name, metrics] :
         {std::pair("fp32", &*comparison.before), std::pair("int8", &*comparison.after)}) {
      json[name] = {{"top1", metrics->top1()}, {"top5", metrics->top5()}, {"loss", metrics->loss()}};
    }
  }
  json["drop"] = comparison.drop();
  json["drop_of"] = comparison.drop_of();
  return json;
}

ExitCode quantize(const QuantizeOptions& options) {
  if (is_pytorch_output(options.output)) {
    throw UsageError(
        fmt::format("'{}' would be a PyTorch file, which holds no card: write safetensors", options.output));
  }
  Checkpoint checkpoint =
      read_model(model_file(options.model.model), options.model.architecture, options.model.file_options);
  if (!std::holds_alternative<ConvNextConfig>(checkpoint.card.network)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' is a {}: 8-bit integers are the engine's, which runs ConvNeXt",
                            checkpoint.path.string(), checkpoint.card.architecture));
  }
  if (checkpoint.card.precision == kInt8Precision) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}' holds 8-bit integers already: quantize the model it was made from",
                            checkpoint.path.string()));
  }
  for (const std::string& note : checkpoint.notes) report(note);
  const auto pool = std::make_shared<ThreadPool>(options.threads == 0 ? available_threads() : options.threads);
  const Comparison comparison = compare(checkpoint, options, pool);
  if (!options.json) show(comparison);
  if (!(comparison.drop() <= options.max_drop)) {
    if (options.json) print_document(to_json(comparison));
    report(fmt::format("int8 loses {:.2f} % of {}, more than --max-drop {:g}: nothing was written", comparison.drop(),
                       comparison.drop_of(), options.max_drop));
    return kFailed;
  }
  const WeightStore rounded = rounded_to_int8(checkpoint.weights);
  Card& card = checkpoint.card;
  card.precision = kInt8Precision;
  card.check = make_check_vector(card, rounded, pool.get());
  write_checkpoint(options.output, card, rounded);
  const std::uintmax_t bytes = std::filesystem::file_size(options.output);
  if (options.json) {
    nlohmann::ordered_json json = to_json(comparison);
    json["file"] = options.output;
    json["bytes"] = bytes;
    print_document(json);
  } else {
    print(fmt::format("{}: {} in int8, {}\n", options.output, card.architecture, format_bytes(bytes)));
  }
  return comparison.failed > 0 ? kFailed : kDone;
}

}  // namespace

void add_quantize(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command =
      program.add_subcommand("quantize", "Write a model with 8-bit weights, if it answers as well as before");
  command->add_option("MODEL", options->model.model, "A file of weights, or a folder with one")->required();
  command->add_option("OUTPUT", options->output, "The safetensors file to write")->required();
  add_architecture_option(*command, options->model.architecture);
  add_weight_file_options(*command, options->model.file_options);
  command->add_option("--calibrate", options->pictures, "Pictures to compare the answers on: a folder")
      ->required()
      ->type_name("PICTURES");
  command->add_flag("--labels", options->labels,
                    "The pictures lie in folders of their classes, as for eval: compare top-1");
  command
      ->add_option(
          "--max-drop", options->max_drop,
          "Percent that may be lost, of top-1 with --labels, else of pictures with the same class (default: 1)")
      ->check(CLI::Range(0.0, 100.0))
      ->type_name("PERCENT");
  command->add_option("--batch-size", options->batch_size, "Pictures in a batch (default: as fits)")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  add_decode_options(*command, options->decode);
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer(
      "Activations get their scales at run time, so nothing is fitted to the pictures: they only judge the result.\n"
      "Example: convnext quantize model.safetensors model-int8.safetensors --calibrate photos");
  command->callback([&chosen, options] { chosen = [options] { return quantize(*options); }; });
}

}  // namespace convnext::apps
