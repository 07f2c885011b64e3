// A ground truth of COCO, results for it behind the first line feed, and the measure of both.
#include <algorithm>

#include "convnext/thread_pool.h"
#include "fuzz/input.h"
#include "metrics/coco_evaluation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace convnext;
  // Outlines may be walked around pictures many times their size: few of them, so that none takes too long.
  constexpr std::size_t kMost = 4;
  static ThreadPool pool(1);
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto line = static_cast<std::size_t>(std::ranges::find(bytes, std::byte{'\n'}) - bytes.begin());
  const InputFile truth_file(bytes.first(line));
  const InputFile results_file(bytes.subspan(std::min(line + 1, size)));
  for (const CocoType type : {CocoType::kBoxes, CocoType::kMasks}) {
    read_or_refuse([&] {
      const bool masks = type == CocoType::kMasks;
      const CocoDataset truth =
          read_coco_dataset(truth_file.path(), masks ? CocoFields::for_masks() : CocoFields::for_boxes());
      if (truth.annotations.size() > kMost || truth.categories.size() > kMost) return;
      const CocoResults results = read_coco_results(results_file.path(), truth, masks);
      if (results.detections.size() > kMost) return;
      const CocoEvaluation evaluation = evaluate_coco(truth, results.detections, type, pool);
      for (const double stat : evaluation.stats) require(stat == -1 || (stat >= 0 && stat <= 1));
    });
  }
  return 0;
}
