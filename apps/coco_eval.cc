// convnext coco-eval: a detector's results against COCO's ground truth.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/coco_report.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "convnext/thread_pool.h"
#include "metrics/coco_evaluation.h"

namespace convnext::apps {
namespace {

struct CocoEvalOptions {
  std::string truth;
  std::string results;
  std::string type = "bbox";
  bool per_category = false;
  int threads = 0;
  bool json = false;
};

ExitCode coco_eval(const CocoEvalOptions& options) {
  const CocoType type = coco_type_named(options.type);
  const bool masks = type == CocoType::kMasks;
  const Progress clock("detections");
  ThreadPool pool(options.threads == 0 ? available_threads() : options.threads);
  const auto [truth, results] = read_coco_files(
      options.truth, masks ? CocoFields::for_masks() : CocoFields::for_boxes(), options.results, masks, pool);
  const CocoEvaluation evaluation = evaluate_coco(truth, results.detections, type, pool);
  for (const CocoWarning& warning : truth.warnings) report(describe(warning, truth.path));
  for (const CocoWarning& warning : evaluation.warnings) report(describe(warning, truth.path));
  for (const CocoWarning& warning : results.warnings) report(describe(warning, results.path));

  const auto detections = static_cast<std::int64_t>(results.detections.size());
  const auto pictures = static_cast<std::int64_t>(truth.pictures.size());
  if (options.json) {
    nlohmann::ordered_json document = {{"type", options.type},
                                       {"stats", evaluation.stats},
                                       {"images", pictures},
                                       {"annotations", truth.annotations.size()},
                                       {"detections", detections},
                                       {"seconds", clock.seconds()},
                                       {"per_category", category_rows(truth, evaluation)}};
    print_document(document);
    return kDone;
  }
  print(fmt::format("{} pictures, {} annotations, {} detections, by {}\n", format_count(pictures),
                    format_count(static_cast<std::int64_t>(truth.annotations.size())), format_count(detections),
                    masks ? "masks" : "boxes"));
  print(coco_summary(evaluation.stats));
  if (options.per_category) print("\n" + category_table(truth, evaluation));
  return kDone;
}

}  // namespace

void add_coco_eval(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<CocoEvalOptions>();
  CLI::App* command = program.add_subcommand("coco-eval", "Judge a detector's results by COCO's own measure");
  command->add_option("GROUND_TRUTH", options->truth, "COCO's JSON of the pictures and their objects")->required();
  command
      ->add_option("RESULTS", options->results, "A JSON list of {image_id, category_id, score, bbox or segmentation}")
      ->required();
  command->add_option("--type", options->type, "Compare boxes (bbox) or masks (segm)")
      ->check(problem_of([](const std::string& name) { coco_type_named(name); }))
      ->type_name("TYPE")
      ->capture_default_str();
  command->add_flag("--per-category", options->per_category,
                    "Print the figures of each category, too (--json has them)");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer("Example: convnext coco-eval instances_val.json results.json --type segm");
  command->callback([&chosen, options] { chosen = [options] { return coco_eval(*options); }; });
}

}  // namespace convnext::apps
