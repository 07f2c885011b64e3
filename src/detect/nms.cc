#include "detect/nms.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>

namespace convnext {
namespace {

// By score downwards; `indices` that are equal keep their order.
void sort_by_score(std::vector<int>& indices, std::span<const float> scores) {
  const auto key = [scores](int i) {
    const float score = scores[static_cast<std::size_t>(i)];
    return std::isnan(score) ? -INFINITY : score;
  };
  std::ranges::stable_sort(indices, [&key](int a, int b) { return key(a) > key(b); });
}

// Corners and areas in the order of the scores, each in a row of its own: the inner loop runs over one box after
// another.
struct SortedBoxes {
  std::vector<float> x1, y1, x2, y2, area;

  SortedBoxes(std::span<const Box> boxes, const std::vector<int>& order) {
    for (std::vector<float>* row : {&x1, &y1, &x2, &y2, &area}) row->reserve(order.size());
    for (const int i : order) {
      const Box& box = boxes[static_cast<std::size_t>(i)];
      x1.push_back(box.x1);
      y1.push_back(box.y1);
      x2.push_back(box.x2);
      y2.push_back(box.y2);
      area.push_back(box.area());
    }
  }

  // Marks those behind `best` that overlap it too much.
  void suppress(std::size_t best, float threshold, std::vector<std::uint8_t>& gone) const {
    for (std::size_t i = best + 1; i < gone.size(); ++i) {
      const float width = std::max(0.0f, std::min(x2[best], x2[i]) - std::max(x1[best], x1[i]));
      const float height = std::max(0.0f, std::min(y2[best], y2[i]) - std::max(y1[best], y1[i]));
      const float shared = width * height;
      const float overlap = shared / (area[best] + area[i] - shared);
      gone[i] = static_cast<std::uint8_t>(gone[i] | static_cast<std::uint8_t>(overlap > threshold));
    }
  }
};

// The members of `order`, which is sorted, that stay.
std::vector<int> kept(std::span<const Box> boxes, const std::vector<int>& order, float threshold) {
  const SortedBoxes sorted(boxes, order);
  std::vector<std::uint8_t> gone(order.size(), 0);
  std::vector<int> result;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (gone[i]) continue;
    result.push_back(order[i]);
    sorted.suppress(i, threshold, gone);
  }
  return result;
}

}  // namespace

std::vector<int> non_maximum_suppression(std::span<const Box> boxes, std::span<const float> scores, float threshold) {
  std::vector<int> order(boxes.size());
  std::iota(order.begin(), order.end(), 0);
  sort_by_score(order, scores);
  return kept(boxes, order, threshold);
}

std::vector<int> non_maximum_suppression(std::span<const Box> boxes, std::span<const float> scores,
                                         std::span<const int> groups, float threshold) {
  std::map<int, std::vector<int>> members;
  for (std::size_t i = 0; i < boxes.size(); ++i) members[groups[i]].push_back(static_cast<int>(i));
  std::vector<int> all;
  for (auto& [group, indices] : members) {
    sort_by_score(indices, scores);
    const std::vector<int> stay = kept(boxes, indices, threshold);
    all.insert(all.end(), stay.begin(), stay.end());
  }
  // Of equal scores in different groups, too, the one that comes first.
  std::ranges::sort(all);
  sort_by_score(all, scores);
  return all;
}

}  // namespace convnext
