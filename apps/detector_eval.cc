#include "apps/detector_eval.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/coco_report.h"
#include "apps/loaded_detector.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "detect/detector_evaluation.h"
#include "io/file.h"
#include "metrics/coco_results.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

double pictures_per_second(const DetectorScores& scores) {
  return scores.seconds > 0 ? static_cast<double>(scores.pictures) / scores.seconds : 0.0;
}

Json to_json(const DetectorScores& scores, const LoadedDetector& loaded, const CocoDataset& truth) {
  const auto figures = [&truth](const CocoEvaluation& evaluation) {
    return Json{{"stats", evaluation.stats}, {"per_category", category_rows(truth, evaluation)}};
  };
  return {{"architecture", loaded.card.architecture},
          {"data", truth.path.string()},
          {"pictures", scores.pictures},
          {"failed", scores.failures.size()},
          {"detections", scores.detections.size()},
          {"seconds", scores.seconds},
          {"pictures_per_second", pictures_per_second(scores)},
          {"bbox", figures(scores.boxes)},
          {"segm", figures(scores.masks)}};
}

void print_report(const DetectorScores& scores, const LoadedDetector& loaded, const CocoDataset& truth,
                  bool per_category) {
  print(fmt::format("{} on {}: {} pictures in {}, {:.1f} a second, {} detections\n\n", strong(loaded.card.architecture),
                    truth.path.string(), format_count(scores.pictures), format_duration(scores.seconds),
                    pictures_per_second(scores), format_count(static_cast<std::int64_t>(scores.detections.size()))));
  using enum Table::Align;
  Table table({{""}, {"boxes", kRight}, {"masks", kRight}});
  for (std::size_t i = 0; i < kCocoStats; ++i) {
    table.add(
        {std::string(coco_stat_names()[i]), format_stat(scores.boxes.stats[i]), format_stat(scores.masks.stats[i])});
  }
  print(table.text());
  if (!per_category) return;
  print(strong("\nBoxes\n") + category_table(truth, scores.boxes));
  print(strong("\nMasks\n") + category_table(truth, scores.masks));
}

}  // namespace

ExitCode eval_detector(const DetectorEvalOptions& options) {
  const CocoPictures pictures = CocoPictures::open(options.annotations, options.pictures, {.areas = true});
  const CocoDataset& truth = pictures.dataset();
  for (const CocoWarning& warning : pictures.warnings()) report(describe(warning, truth.path));
  LoadedDetector loaded = load_detector(options.model, options.device, options.file_options);
  adjust(loaded.card, options.size);

  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(pictures.size())));
  const DetectorScores scores = evaluate_detector(*loaded.detector, loaded.card, pictures, *loaded.pool,
                                                  [&progress](std::int64_t done) { progress.advance(done); },
                                                  {.decode = options.decode, .batch_size = options.batch_size});
  progress.clear();
  for (const std::string& failure : scores.failures) report(failure);
  for (const CocoWarning& warning : scores.boxes.warnings) report(describe(warning, truth.path));
  const auto failed = static_cast<std::int64_t>(scores.failures.size());
  if (failed == scores.pictures) {
    throw Error(ErrorCode::kDamaged, fmt::format("none of the {} pictures of '{}' could be read from '{}'",
                                                 scores.pictures, options.annotations, options.pictures));
  }
  if (!options.results.empty()) write_file_atomically(options.results, coco_results_text(truth, scores.detections));
  if (options.json) {
    print_document(to_json(scores, loaded, truth));
  } else {
    print_report(scores, loaded, truth, options.per_category);
  }
  if (failed == 0) return kDone;
  report(fmt::format("{} of {} pictures could not be read: they count as pictures on which nothing was found", failed,
                     scores.pictures));
  return kFailed;
}

}  // namespace convnext::apps
