// convnext-train eval: a model's accuracy by the libtorch network, to hold the runtime's against.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/evaluation_report.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "train/evaluation.h"

namespace convnext::apps {
namespace {

// Large enough for the network, and small enough for the memory at any resolution.
int fitting_batch(const Preprocessing& preprocessing) {
  constexpr std::int64_t kMaxBatch = 250;
  constexpr std::int64_t kMaxBytes = std::int64_t{64} << 20;
  const std::int64_t side = preprocessing.resolution;
  return static_cast<int>(std::clamp<std::int64_t>(kMaxBytes / (3 * side * side * 4), 1, kMaxBatch));
}

}  // namespace

ExitCode evaluate_command(int argc, char** argv) {
  EvaluationCommand options;
  CLI::App command{"Accuracy of a model by the libtorch network (convnext eval is the runtime's).",
                   "convnext-train eval"};
  add_evaluation_options(command, options);
  command.footer("Example: convnext-train eval pictures --model runs/first");
  if (!parse_command_line(command, argc, argv)) return kDone;

  check_evaluation_options(options);
  require_cpu(options.device);
  const Precision precision = options.device.precision.value_or(Precision::kFp32);
  if (precision != Precision::kFp32) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("--precision {}: the libtorch network computes in fp32, to be what the engine is held "
                            "against; 'convnext eval' has {}",
                            name_of(precision), name_of(precision)));
  }
  const Checkpoint checkpoint = read_model(model_file(model_or_shipped(options.model)), options.model.architecture);
  Card card = checkpoint.card;
  adjust(card, options.preprocessing, options.labels);
  const int classes = class_count(card.network);
  if (classes == 0) {
    throw Error(ErrorCode::kUnsupported, fmt::format("'{}' has no classifier", checkpoint.path.string()));
  }
  EvaluationData data = open_evaluation_data(options, {.count = classes, .labels = card.labels});
  const auto network = make_network(card.network);
  load_weights(*network, checkpoint.weights);

  ThreadPool pool(options.device.threads > 0 ? options.device.threads : available_threads());
  at::set_num_threads(pool.threads());
  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(data.samples.size())));
  // Each picture is looked at once: there is nothing to keep them for.
  const PictureSource source({.classes = card.labels, .samples = std::move(data.samples)}, card.preprocessing, pool,
                             {.memory_limit = 0});
  auto failed = static_cast<std::int64_t>(source.failures().size());
  const auto tell = [&](const std::string& error) {
    progress.clear();
    report(error);
  };
  for (const std::string& error : source.failures()) tell(error);
  progress.advance(failed);
  const ClassificationMetrics metrics = evaluate(
      *network, source, classes, options.batch_size > 0 ? options.batch_size : fitting_batch(card.preprocessing),
      {.pool = &pool,
       .advance = [&](std::int64_t pictures) { progress.advance(pictures); },
       .failure =
           [&](const std::string& error) {
             tell(error);
             ++failed;
           }});
  progress.clear();
  return finish_evaluation(options, {.architecture = card.architecture,
                                     .data = data.name,
                                     .labels = card.labels,
                                     .metrics = metrics,
                                     .failed = failed,
                                     .seconds = progress.progress().seconds()});
}

}  // namespace convnext::apps
