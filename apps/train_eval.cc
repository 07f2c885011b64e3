// convnext-train eval: a model's accuracy by the libtorch network, to hold the runtime's against.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "io/image_folder.h"
#include "train/evaluation.h"

namespace convnext::apps {

ExitCode evaluate_command(int argc, char** argv) {
  std::filesystem::path data;
  ModelOptions model;
  int threads = 0;
  int batch_size = 250;
  bool json = false;
  CLI::App command{"Accuracy of a model by the libtorch network (convnext eval is the runtime's).",
                   "convnext-train eval"};
  command.add_option("data", data, "Folder of class folders, or one that holds val or test")->required();
  add_model_options(command, model).required();
  add_threads_option(command, threads);
  command.add_option("--batch-size", batch_size, "Pictures at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  add_json_option(command, json);
  command.footer("Example: convnext-train eval pictures --model runs/first");
  if (!parse_command_line(command, argc, argv)) return kDone;

  const Checkpoint checkpoint = read_model(model_file(model.model), model.architecture);
  if (checkpoint.card.labels.empty()) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("'{}' has no labels to match folders with", checkpoint.path.string()));
  }
  ThreadPool pool(threads > 0 ? threads : available_threads());
  at::set_num_threads(pool.threads());
  const PictureSource source(read_image_folder(split_folder(data, {"val", "test"}), checkpoint.card.labels),
                             checkpoint.card.preprocessing, pool);
  const auto network = make_network(checkpoint.card.network);
  load_weights(*network, checkpoint.weights);
  const ClassificationMetrics metrics = evaluate(*network, source, class_count(checkpoint.card.network), batch_size);
  for (const std::string& failure : source.failures()) report(failure);
  if (json) {
    print_document(nlohmann::ordered_json{{"top1", metrics.top1()},
                                          {"top5", metrics.top5()},
                                          {"loss", metrics.loss()},
                                          {"pictures", metrics.pictures()},
                                          {"failed", source.failures().size()}});
  } else {
    print(fmt::format("top-1 {}  top-5 {}  loss {:.4f}  {} pictures\n", format_percent(metrics.top1()),
                      format_percent(metrics.top5()), metrics.loss(), format_count(metrics.pictures())));
  }
  return source.failures().empty() ? kDone : kFailed;
}

}  // namespace convnext::apps
