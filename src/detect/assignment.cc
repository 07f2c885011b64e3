#include "detect/assignment.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace convnext {
namespace {

// `count` of `from`, each equally likely, ascending.
std::vector<int> chosen(std::vector<int> from, std::size_t count,
                        const std::function<std::uint64_t(std::uint64_t)>& draw) {
  if (from.size() <= count) return from;
  for (std::size_t i = 0; i < count; ++i) {
    const auto other = i + static_cast<std::size_t>(draw(from.size() - i));
    std::swap(from[i], from[other]);
  }
  from.resize(count);
  std::ranges::sort(from);
  return from;
}

}  // namespace

std::vector<int> assign(std::span<const Box> boxes, std::span<const Box> objects, const AssignmentOptions& options) {
  std::vector<int> assigned(boxes.size(), kBackground);
  if (objects.empty()) return assigned;
  // Kept for the second pass; a row an object.
  std::vector<float> overlaps(boxes.size() * objects.size());
  std::vector<float> most(boxes.size(), -1.0f);
  std::vector<int> best(boxes.size(), 0);
  for (std::size_t o = 0; o < objects.size(); ++o) {
    float* row = overlaps.data() + o * boxes.size();
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      row[b] = intersection_over_union(boxes[b], objects[o]);
      if (row[b] > most[b]) {
        most[b] = row[b];
        best[b] = static_cast<int>(o);
      }
    }
  }
  for (std::size_t b = 0; b < boxes.size(); ++b) {
    if (most[b] >= options.positive) {
      assigned[b] = best[b];
    } else if (!(most[b] < options.negative)) {
      assigned[b] = kLeftOut;
    }
  }
  if (!options.low_quality) return assigned;
  for (std::size_t o = 0; o < objects.size(); ++o) {
    const std::span<const float> row(overlaps.data() + o * boxes.size(), boxes.size());
    const float largest = row.empty() ? 0.0f : std::ranges::max(row);
    if (!(largest >= options.low_quality_least)) continue;
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      if (row[b] == largest) assigned[b] = static_cast<int>(o);
    }
  }
  return assigned;
}

SampledBoxes sample(std::span<const int> assigned, int count, double positive_share,
                    const std::function<std::uint64_t(std::uint64_t)>& draw) {
  SampledBoxes all;
  for (std::size_t b = 0; b < assigned.size(); ++b) {
    if (assigned[b] >= 0) all.positive.push_back(static_cast<int>(b));
    if (assigned[b] == kBackground) all.negative.push_back(static_cast<int>(b));
  }
  const auto most = static_cast<std::size_t>(static_cast<double>(count) * positive_share);
  all.positive = chosen(std::move(all.positive), most, draw);
  all.negative = chosen(std::move(all.negative), static_cast<std::size_t>(count) - all.positive.size(), draw);
  return all;
}

}  // namespace convnext
