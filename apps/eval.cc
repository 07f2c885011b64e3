#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/evaluation_report.h"
#include "apps/picture_runner.h"
#include "apps/terminal.h"
#include "engine/picture_batches.h"

namespace convnext::apps {
namespace {

struct EvalOptions {
  EvaluationCommand evaluation;
  DecodeOptions decode;
};

ExitCode eval(const EvalOptions& all_options) {
  const EvaluationCommand& options = all_options.evaluation;
  check_evaluation_options(options);
  const Model model = adjusted(load_model(options.model, options.device), options.preprocessing, options.labels);
  require_classifier(model);
  const EvaluationData data = open_evaluation_data(options, {.count = model.classes(), .labels = model.labels()});

  ClassificationMetrics metrics(model.classes());
  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(data.samples.size())));
  PictureRunner runner(model, PictureOutput::kLogits, options.batch_size, all_options.decode,
                       [&](const PictureResult& result) {
                         if (result.error.empty()) {
                           metrics.add(result.values, result.target);
                         } else {
                           progress.clear();
                           report(result.error);
                         }
                         progress.advance(1);
                       });
  for (const Sample& sample : data.samples) runner.add(sample.picture, sample.label);
  runner.finish();
  progress.clear();
  return finish_evaluation(options, {.architecture = model.architecture(),
                                     .data = data.name,
                                     .labels = model.labels(),
                                     .metrics = metrics,
                                     .failed = runner.failed(),
                                     .seconds = progress.progress().seconds()});
}

}  // namespace

void add_eval(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = program.add_subcommand("eval", "Measure the accuracy of a model on labelled pictures");
  add_evaluation_options(*command, options->evaluation);
  add_decode_options(*command, options->decode);
  command->footer("Example: convnext eval cifar10/test --model models/convnext_cifar10.safetensors");
  command->callback([&chosen, options] { chosen = [options] { return eval(*options); }; });
}

}  // namespace convnext::apps
