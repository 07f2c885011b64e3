#include "detect/detector_evaluation.h"

#include <fmt/format.h>

#include <utility>

#include "convnext/error.h"
#include "core/progress.h"
#include "detect/picture_detection.h"
#include "io/quoted.h"

namespace convnext {
namespace {

// In the mode of evaluation for as long as it lives.
class InEvaluation {
 public:
  explicit InEvaluation(Detector& detector) : detector_(detector), was_training_(detector.is_training()) {
    detector_.eval();
  }
  ~InEvaluation() { detector_.train(was_training_); }
  InEvaluation(const InEvaluation&) = delete;
  InEvaluation& operator=(const InEvaluation&) = delete;

 private:
  Detector& detector_;
  bool was_training_;
};

void check_pictures(const CocoPictures& pictures) {
  const CocoDataset& dataset = pictures.dataset();
  const auto refuse = [&](std::string_view why) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("no detector can be judged on {}: {}", in_quotes(dataset.path.string()), why));
  };
  if (!pictures.has_areas()) refuse("it was opened without the areas of its objects");
  if (pictures.size() != dataset.pictures.size()) refuse("it was opened without the pictures that show nothing");
}

// A category's id stands for its name where the file has none.
bool has_name(const CocoCategory& category) { return category.name != fmt::format("{}", category.id); }

}  // namespace

void check_categories(const DetectorCard& card, const CocoDataset& dataset) {
  const auto classes = static_cast<std::size_t>(card.detector.classes);
  if (classes != dataset.categories.size()) {
    throw Error(ErrorCode::kMismatch, fmt::format("the detector knows {} classes, and {} has {} categories", classes,
                                                  in_quotes(dataset.path.string()), dataset.categories.size()));
  }
  for (std::size_t i = 0; i < card.labels.size(); ++i) {
    const CocoCategory& category = dataset.categories[i];
    if (!has_name(category) || category.name == card.labels[i]) continue;
    throw Error(ErrorCode::kMismatch,
                fmt::format("class {} of the detector is {}, and the category in its place in {} (by ascending id) is "
                            "{} (id {}); 'convnext convert --labels FILE' gives the classes other names",
                            i, in_quotes(card.labels[i]), in_quotes(dataset.path.string()), in_quotes(category.name),
                            category.id));
  }
}

CocoDetection to_coco(const PictureDetection& found, int picture) {
  const double x = found.box.x1, y = found.box.y1;
  return {.picture = picture,
          .category = found.class_index,
          .box = {x, y, found.box.x2 - x, found.box.y2 - y},
          .area = static_cast<double>(mask_area(found.mask)),
          .score = found.score,
          .segmentation = found.mask};
}

DetectorScores evaluate_detector(Detector& detector, const DetectorCard& card, const CocoPictures& pictures,
                                 ThreadPool& pool, const std::function<void(std::int64_t pictures)>& progress,
                                 const DetectorEvaluationOptions& options) {
  check_pictures(pictures);
  check_categories(card, pictures.dataset());
  const InEvaluation mode(detector);
  DetectorScores scores;
  const Progress clock("pictures");
  detect_on_pictures(detector, card, pictures.size(), pool,
                     {.open = [&](std::size_t number) { return pictures.image(number, options.decode); },
                      .take =
                          [&](DetectedPicture& found) {
                            ++scores.pictures;
                            if (!found.error.empty()) scores.failures.push_back(std::move(found.error));
                            for (const PictureDetection& detection : found.detections) {
                              scores.detections.push_back(to_coco(detection, static_cast<int>(found.number)));
                            }
                            if (progress) progress(1);
                          },
                      .batch_size = options.batch_size});
  scores.seconds = clock.seconds();

  // Sizes of boxes decide among boxes, those of masks among masks, as mmdetection judges.
  std::vector<CocoDetection>& detections = scores.detections;
  scores.masks = evaluate_coco(pictures.dataset(), detections, CocoType::kMasks, pool);
  std::vector<double> areas;
  areas.reserve(detections.size());
  for (CocoDetection& detection : detections) {
    areas.push_back(std::exchange(detection.area, detection.box.width * detection.box.height));
  }
  scores.boxes = evaluate_coco(pictures.dataset(), detections, CocoType::kBoxes, pool);
  for (std::size_t i = 0; i < areas.size(); ++i) detections[i].area = areas[i];
  return scores;
}

}  // namespace convnext
