#include "metrics/coco_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "io/quoted.h"

namespace convnext {
namespace {

constexpr std::array<Named<CocoType>, 2> kTypes = {{{CocoType::kBoxes, "bbox"}, {CocoType::kMasks, "segm"}}};

struct AreaRange {
  std::string_view name;
  double low;
  double high;

  bool has(double area) const { return !(area < low || area > high); }
};
constexpr std::array<AreaRange, kCocoAreas> kAreas = {{{"all", 0.0, 1e10},
                                                       {"small", 0.0, 32.0 * 32.0},
                                                       {"medium", 32.0 * 32.0, 96.0 * 96.0},
                                                       {"large", 96.0 * 96.0, 1e10}}};
constexpr std::size_t kMost = kCocoMaxDetections.size() - 1;  // the index of the largest

// One of the twelve figures.
struct Stat {
  std::string_view name;
  bool is_precision;
  int threshold;  // an index, or -1 for the mean over all
  CocoArea area;
  std::size_t detections;  // an index in kCocoMaxDetections
};
constexpr std::array<Stat, kCocoStats> kStats = {{{"AP", true, -1, CocoArea::kAll, kMost},
                                                  {"AP50", true, 0, CocoArea::kAll, kMost},
                                                  {"AP75", true, 5, CocoArea::kAll, kMost},
                                                  {"APs", true, -1, CocoArea::kSmall, kMost},
                                                  {"APm", true, -1, CocoArea::kMedium, kMost},
                                                  {"APl", true, -1, CocoArea::kLarge, kMost},
                                                  {"AR1", false, -1, CocoArea::kAll, 0},
                                                  {"AR10", false, -1, CocoArea::kAll, 1},
                                                  {"AR100", false, -1, CocoArea::kAll, kMost},
                                                  {"ARs", false, -1, CocoArea::kSmall, kMost},
                                                  {"ARm", false, -1, CocoArea::kMedium, kMost},
                                                  {"ARl", false, -1, CocoArea::kLarge, kMost}}};

// numpy.linspace(first, last, count).
template <std::size_t count>
std::array<double, count> linspace(double first, double last) {
  const double step = (last - first) / static_cast<double>(count - 1);
  std::array<double, count> values;
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) * step + first;
  values[count - 1] = last;
  return values;
}

// The objects and detections of one category in one picture: ranges of the sorted lists.
struct Pair {
  int category = 0;
  int picture = 0;
  std::size_t first_object = 0, objects = 0;
  std::size_t first_detection = 0, detections = 0;     // of these the first hundred are judged
  std::array<std::uint32_t, kCocoAreas> regular = {};  // objects that should be found
};

// What became of a detection, a bit for each threshold.
struct Outcome {
  double score = 0.0;
  std::uint32_t rank = 0;  // in its pair
  std::array<std::uint16_t, kCocoAreas> matched = {};
  std::array<std::uint16_t, kCocoAreas> ignored = {};
};
static_assert(kCocoThresholds <= 16);

class Evaluator {
 public:
  Evaluator(const CocoDataset& truth, std::span<const CocoDetection> detections, CocoType type)
      : truth_(truth), detections_(detections), type_(type), thresholds_(coco_thresholds()), recalls_(coco_recalls()) {
    check();
    sort();
    pair_up();
  }

  CocoEvaluation run(ThreadPool& pool) {
    // Pairs are small: some at a time.
    constexpr std::size_t kPairsATask = 32;
    const std::size_t tasks = (pairs_.size() + kPairsATask - 1) / kPairsATask;
    pool.run(static_cast<int>(tasks), [&](int task, int) {
      const std::size_t first = static_cast<std::size_t>(task) * kPairsATask;
      for (std::size_t i = first; i < std::min(first + kPairsATask, pairs_.size()); ++i) judge(pairs_[i]);
    });

    CocoEvaluation evaluation;
    evaluation.categories = truth_.categories.size();
    const std::size_t settings = evaluation.categories * kCocoAreas * kCocoMaxDetections.size();
    evaluation.precision.assign(kCocoThresholds * kCocoRecalls * settings, -1.0);
    evaluation.recall.assign(kCocoThresholds * settings, -1.0);
    evaluation.counts.resize(evaluation.categories);
    const auto categories = static_cast<int>(evaluation.categories);
    pool.run(categories, [&](int category, int) { order(static_cast<std::size_t>(category)); });
    pool.run(categories * static_cast<int>(kCocoAreas), [&](int task, int) {
      const auto i = static_cast<std::size_t>(task);
      accumulate(i / kCocoAreas, i % kCocoAreas, evaluation);
    });
    for (const Pair& pair : pairs_) {
      CocoEvaluation::Counts& counts = evaluation.counts[static_cast<std::size_t>(pair.category)];
      counts.detections += static_cast<std::int64_t>(pair.detections);
      for (std::size_t i = 0; i < pair.objects; ++i) counts.objects += object(pair, i).crowd ? 0 : 1;
    }
    return evaluation;
  }

 private:
  const CocoAnnotation& object(const Pair& pair, std::size_t i) const {
    return truth_.annotations[object_order_[pair.first_object + i]];
  }
  const CocoDetection& detection(const Pair& pair, std::size_t i) const {
    return detections_[detection_order_[pair.first_detection + i]];
  }
  static std::size_t judged(const Pair& pair) {
    return std::min(pair.detections, static_cast<std::size_t>(kCocoMaxDetections.back()));
  }

  // Files have been checked by their reader; a detector may hand over anything.
  void check() const {
    const auto is_index = [](int index, std::size_t size) {
      return index >= 0 && static_cast<std::size_t>(index) < size;
    };
    for (const CocoDetection& detection : detections_) {
      if (std::isfinite(detection.score) && is_index(detection.picture, truth_.pictures.size()) &&
          is_index(detection.category, truth_.categories.size())) {
        continue;
      }
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("detection {} has the score {}, picture {} of {} and category {} of {}",
                              &detection - detections_.data(), detection.score, detection.picture,
                              truth_.pictures.size(), detection.category, truth_.categories.size()));
    }
  }

  // By category, then by picture; of equal ones in the order of the files, and detections by score.
  void sort() {
    object_order_.resize(truth_.annotations.size());
    std::iota(object_order_.begin(), object_order_.end(), std::size_t{0});
    std::ranges::stable_sort(object_order_, {}, [&](std::size_t i) {
      return std::pair(truth_.annotations[i].category, truth_.annotations[i].picture);
    });
    detection_order_.resize(detections_.size());
    std::iota(detection_order_.begin(), detection_order_.end(), std::size_t{0});
    std::ranges::stable_sort(detection_order_, {}, [&](std::size_t i) {
      const CocoDetection& detection = detections_[i];
      return std::tuple(detection.category, detection.picture, -detection.score);
    });
  }

  void pair_up() {
    std::size_t objects = 0, detections = 0;
    first_pair_.assign(truth_.categories.size() + 1, 0);
    while (objects < object_order_.size() || detections < detection_order_.size()) {
      constexpr std::pair kNone(std::numeric_limits<int>::max(), 0);
      const auto of_object = [&] {
        if (objects == object_order_.size()) return kNone;
        const CocoAnnotation& annotation = truth_.annotations[object_order_[objects]];
        return std::pair(annotation.category, annotation.picture);
      };
      const auto of_detection = [&] {
        if (detections == detection_order_.size()) return kNone;
        const CocoDetection& detection = detections_[detection_order_[detections]];
        return std::pair(detection.category, detection.picture);
      };
      const std::pair<int, int> next = std::min(of_object(), of_detection());
      Pair pair = {.category = next.first,
                   .picture = next.second,
                   .first_object = objects,
                   .objects = 0,
                   .first_detection = detections,
                   .detections = 0};
      for (; of_object() == next; ++objects) ++pair.objects;
      for (; of_detection() == next; ++detections) ++pair.detections;
      first_outcome_.push_back(outcomes_.size());
      outcomes_.resize(outcomes_.size() + judged(pair));
      ++first_pair_[static_cast<std::size_t>(pair.category) + 1];
      pairs_.push_back(pair);
    }
    first_outcome_.push_back(outcomes_.size());
    std::partial_sum(first_pair_.begin(), first_pair_.end(), first_pair_.begin());
  }

  MaskRle mask_of_object(const CocoAnnotation& annotation, const CocoPicture& picture) const {
    try {
      return mask_of(annotation.segmentation, picture.height, picture.width);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: annotation {}: 'segmentation': {}", in_quotes(truth_.path.string()),
                                            annotation.id, error.what()));
    }
  }

  MaskRle mask_of_detection(const CocoDetection& detection, const CocoPicture& picture) const {
    try {
      if (std::holds_alternative<std::monostate>(detection.segmentation)) {
        return mask_from_box(detection.box, picture.height, picture.width);
      }
      return mask_of(detection.segmentation, picture.height, picture.width);
    } catch (const Error& error) {
      throw Error(
          error.code(),
          fmt::format("detection {} (category {}, picture {}): {}", &detection - detections_.data(),
                      truth_.categories[static_cast<std::size_t>(detection.category)].id, picture.id, error.what()));
    }
  }

  // (detections that are judged, objects).
  std::vector<double> overlaps(const Pair& pair) const {
    // Masks that nothing can overlap with are not drawn.
    if (pair.detections == 0 || pair.objects == 0) return {};
    std::vector<std::uint8_t> crowds;
    for (std::size_t i = 0; i < pair.objects; ++i) crowds.push_back(object(pair, i).crowd ? 1 : 0);
    if (type_ == CocoType::kBoxes) {
      std::vector<BoundingBox> found, there;
      for (std::size_t i = 0; i < judged(pair); ++i) found.push_back(detection(pair, i).box);
      for (std::size_t i = 0; i < pair.objects; ++i) there.push_back(object(pair, i).box);
      return box_iou(found, there, crowds);
    }
    const CocoPicture& picture = truth_.pictures[static_cast<std::size_t>(pair.picture)];
    std::vector<MaskRle> found, there;
    for (std::size_t i = 0; i < judged(pair); ++i) found.push_back(mask_of_detection(detection(pair, i), picture));
    for (std::size_t i = 0; i < pair.objects; ++i) there.push_back(mask_of_object(object(pair, i), picture));
    return mask_iou(found, there, crowds);
  }

  void judge(Pair& pair) {
    const std::span<Outcome> outcomes =
        std::span(outcomes_).subspan(first_outcome_[static_cast<std::size_t>(&pair - pairs_.data())], judged(pair));
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      outcomes[i].score = detection(pair, i).score;
      outcomes[i].rank = static_cast<std::uint32_t>(i);
    }
    const std::vector<double> ious = overlaps(pair);
    for (std::size_t area = 0; area < kCocoAreas; ++area) match(pair, ious, area, outcomes);
  }

  void match(Pair& pair, const std::vector<double>& ious, std::size_t area, std::span<Outcome> outcomes) const {
    const AreaRange& range = kAreas[area];
    // Objects that need not be found, crowds among them, come last.
    const auto is_ignored = [&](std::size_t i) { return object(pair, i).crowd || !range.has(object(pair, i).area); };
    std::vector<std::size_t> order(pair.objects);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, is_ignored);
    std::size_t regular = 0;
    while (regular < order.size() && !is_ignored(order[regular])) ++regular;
    pair.regular[area] = static_cast<std::uint32_t>(regular);

    std::vector<bool> taken;
    for (std::size_t t = 0; t < kCocoThresholds; ++t) {
      taken.assign(order.size(), false);
      const auto bit = static_cast<std::uint16_t>(1u << t);
      for (std::size_t d = 0; d < outcomes.size(); ++d) {
        double best_iou = std::min(thresholds_[t], 1 - 1e-10);
        std::size_t best = order.size();
        for (std::size_t g = 0; g < order.size(); ++g) {
          // Only a crowd can be found more than once; who has a regular object does not look at the others.
          if (taken[g] && !object(pair, order[g]).crowd) continue;
          if (best < regular && g >= regular) break;
          const double iou = ious[d * order.size() + order[g]];
          if (iou < best_iou) continue;
          best_iou = iou;
          best = g;
        }
        if (best < order.size()) {
          taken[best] = true;
          if (best >= regular) outcomes[d].ignored[area] |= bit;
          if (object(pair, order[best]).id != 0) outcomes[d].matched[area] |= bit;
        }
        const bool is_matched = (outcomes[d].matched[area] & bit) != 0;
        if (!is_matched && !range.has(detection(pair, d).area)) outcomes[d].ignored[area] |= bit;
      }
    }
  }

  std::span<Outcome> outcomes_of(std::size_t category) {
    const std::size_t first = first_outcome_[first_pair_[category]];
    return std::span(outcomes_).subspan(first, first_outcome_[first_pair_[category + 1]] - first);
  }

  // All pictures' detections of a category together; the ranks tell later which are among the first of their picture.
  void order(std::size_t category) {
    std::ranges::stable_sort(outcomes_of(category),
                             [](const Outcome& a, const Outcome& b) { return a.score > b.score; });
  }

  void accumulate(std::size_t category, std::size_t area, CocoEvaluation& evaluation) {
    std::uint64_t objects = 0;
    for (std::size_t i = first_pair_[category]; i < first_pair_[category + 1]; ++i) objects += pairs_[i].regular[area];
    if (objects == 0) return;
    const std::span<const Outcome> outcomes = outcomes_of(category);
    const std::size_t settings = kCocoAreas * kCocoMaxDetections.size();
    std::vector<double> precision, recall;
    for (std::size_t m = 0; m < kCocoMaxDetections.size(); ++m) {
      for (std::size_t t = 0; t < kCocoThresholds; ++t) {
        precision.clear();
        recall.clear();
        double found = 0.0, wrong = 0.0;
        for (const Outcome& outcome : outcomes) {
          // What is ignored repeats the figures before it: leaving it out changes nothing.
          const bool counts =
              outcome.rank < static_cast<std::uint32_t>(kCocoMaxDetections[m]) && (outcome.ignored[area] >> t & 1) == 0;
          if (!counts) continue;
          ((outcome.matched[area] >> t & 1) != 0 ? found : wrong) += 1.0;
          recall.push_back(found / static_cast<double>(objects));
          precision.push_back(found / (wrong + found + std::numeric_limits<double>::epsilon()));
        }
        for (std::size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);

        const std::size_t setting = area * kCocoMaxDetections.size() + m;
        evaluation.recall[(t * evaluation.categories + category) * settings + setting] =
            recall.empty() ? 0.0 : recall.back();
        for (std::size_t r = 0; r < kCocoRecalls; ++r) {
          const auto at = static_cast<std::size_t>(std::ranges::lower_bound(recall, recalls_[r]) - recall.begin());
          evaluation.precision[((t * kCocoRecalls + r) * evaluation.categories + category) * settings + setting] =
              at < precision.size() ? precision[at] : 0.0;
        }
      }
    }
  }

  const CocoDataset& truth_;
  std::span<const CocoDetection> detections_;
  CocoType type_;
  std::array<double, kCocoThresholds> thresholds_;
  std::array<double, kCocoRecalls> recalls_;
  std::vector<std::size_t> object_order_;     // indices in truth_.annotations
  std::vector<std::size_t> detection_order_;  // indices in detections_
  std::vector<Pair> pairs_;                   // by category, then by picture
  std::vector<std::size_t> first_pair_;       // of each category, and the end
  std::vector<std::size_t> first_outcome_;    // of each pair, and the end
  std::vector<Outcome> outcomes_;
};

// numpy.sum() of numbers that lie together: eight sums side by side in blocks of at most 128, and those added in pairs.
// Added one after the other, a mean could print another third digit.
double pairwise_sum(std::span<const double> values) {
  if (values.size() > 128) {
    const std::size_t half = values.size() / 2 / 8 * 8;
    return pairwise_sum(values.first(half)) + pairwise_sum(values.subspan(half));
  }
  std::size_t i = 0;
  double sum = 0.0;
  if (values.size() >= 8) {
    std::array<double, 8> sums = {};
    for (; i + 8 <= values.size(); i += 8) {
      for (std::size_t k = 0; k < 8; ++k) sums[k] += values[i + k];
    }
    sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }
  for (; i < values.size(); ++i) sum += values[i];
  return sum;
}

// Over the categories from `first` to before `end`.
double stat_of(const CocoEvaluation& evaluation, const Stat& stat, std::size_t first, std::size_t end) {
  std::vector<double> known;
  const std::size_t setting = static_cast<std::size_t>(stat.area) * kCocoMaxDetections.size() + stat.detections;
  const std::size_t settings = kCocoAreas * kCocoMaxDetections.size();
  const std::size_t recalls = stat.is_precision ? kCocoRecalls : 1;
  const std::vector<double>& values = stat.is_precision ? evaluation.precision : evaluation.recall;
  for (std::size_t t = 0; t < kCocoThresholds; ++t) {
    if (stat.threshold >= 0 && t != static_cast<std::size_t>(stat.threshold)) continue;
    for (std::size_t r = 0; r < recalls; ++r) {
      for (std::size_t k = first; k < end; ++k) {
        const double value = values[((t * recalls + r) * evaluation.categories + k) * settings + setting];
        if (value > -1) known.push_back(value);
      }
    }
  }
  return known.empty() ? -1.0 : pairwise_sum(known) / static_cast<double>(known.size());
}

std::array<double, kCocoStats> stats_over(const CocoEvaluation& evaluation, std::size_t first, std::size_t end) {
  std::array<double, kCocoStats> stats;
  for (std::size_t i = 0; i < kCocoStats; ++i) stats[i] = stat_of(evaluation, kStats[i], first, end);
  return stats;
}

}  // namespace

std::string_view name_of(CocoType type) { return find_name(kTypes, type); }
CocoType coco_type_named(std::string_view name) { return find_value(kTypes, name, "--type"); }

std::array<double, kCocoThresholds> coco_thresholds() { return linspace<kCocoThresholds>(0.5, 0.95); }
std::array<double, kCocoRecalls> coco_recalls() { return linspace<kCocoRecalls>(0.0, 1.0); }

std::span<const std::string_view, kCocoStats> coco_stat_names() {
  static constexpr auto kNames = [] {
    std::array<std::string_view, kCocoStats> names;
    for (std::size_t i = 0; i < kCocoStats; ++i) names[i] = kStats[i].name;
    return names;
  }();
  return kNames;
}

std::array<double, kCocoStats> CocoEvaluation::stats_of(std::size_t category) const {
  return stats_over(*this, category, category + 1);
}

CocoEvaluation evaluate_coco(const CocoDataset& truth, std::span<const CocoDetection> detections, CocoType type,
                             ThreadPool& pool) {
  CocoEvaluation evaluation = Evaluator(truth, detections, type).run(pool);
  evaluation.stats = stats_over(evaluation, 0, evaluation.categories);
  const bool has_zero = std::ranges::any_of(
      truth.annotations, [](const CocoAnnotation& annotation) { return annotation.id == 0 && !annotation.crowd; });
  if (has_zero) {
    evaluation.warnings.push_back(
        {.count = 1,
         .text =
             "annotation 0: as in pycocotools, what finds an object of this id counts as false; number them from 1"});
  }
  return evaluation;
}

std::string coco_summary(const std::array<double, kCocoStats>& stats) {
  std::string text;
  for (std::size_t i = 0; i < kCocoStats; ++i) {
    const Stat& stat = kStats[i];
    text +=
        fmt::format(" {:<18} {} @[ IoU={:<9} | area={:>6} | maxDets={:>3} ] = {:0.3f}\n",
                    stat.is_precision ? "Average Precision" : "Average Recall", stat.is_precision ? "(AP)" : "(AR)",
                    stat.threshold < 0    ? "0.50:0.95"
                    : stat.threshold == 0 ? "0.50"
                                          : "0.75",
                    kAreas[static_cast<std::size_t>(stat.area)].name, kCocoMaxDetections[stat.detections], stats[i]);
  }
  return text;
}

}  // namespace convnext
