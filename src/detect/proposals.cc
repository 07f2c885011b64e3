#include "detect/proposals.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "detect/box_coding.h"
#include "detect/nms.h"

namespace convnext {
namespace {

// The numbers of the `count` largest, largest first; of equal ones the first.
std::vector<int> largest(const std::vector<float>& scores, std::size_t count) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&scores](int a, int b) {
    const float left = scores[static_cast<std::size_t>(a)], right = scores[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  };
  count = std::min(count, order.size());
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(order.begin(), end, order.end(), before);
  order.resize(count);
  return order;
}

float probability(float logit) { return 1.0f / (1.0f + std::exp(-logit)); }

}  // namespace

std::vector<ScoredBox> propose_of_level(const ScoredAnchors& from, int height, int width,
                                        const ProposalOptions& options) {
  std::vector<float> of_level(from.logits.size());
  // What is no number orders nothing: it goes last, and then out.
  std::ranges::transform(from.logits, of_level.begin(),
                         [](float logit) { return std::isfinite(logit) ? probability(logit) : -1.0f; });
  std::vector<Box> boxes;
  std::vector<float> scores;
  for (const int number : largest(of_level, static_cast<std::size_t>(options.best_of_level))) {
    const auto i = static_cast<std::size_t>(number);
    const std::span<const float> d = from.deltas.subspan(4 * i, 4);
    if (of_level[i] < 0 || !std::ranges::all_of(d, [](float delta) { return std::isfinite(delta); })) continue;
    const Box box = clipped(decode(from.anchors[i], {d[0], d[1], d[2], d[3]}, {}), height, width);
    if (!(box.width() > 0 && box.height() > 0)) continue;
    boxes.push_back(box);
    scores.push_back(of_level[i]);
  }
  std::vector<ScoredBox> proposals;
  for (const int number : non_maximum_suppression(boxes, scores, options.overlap)) {
    const auto i = static_cast<std::size_t>(number);
    proposals.push_back({boxes[i], scores[i]});
  }
  return proposals;
}

std::vector<Box> best_of_levels(std::span<const std::vector<ScoredBox>> levels, const ProposalOptions& options) {
  std::vector<ScoredBox> all;
  for (const std::vector<ScoredBox>& level : levels) all.insert(all.end(), level.begin(), level.end());
  std::ranges::stable_sort(all, [](const ScoredBox& a, const ScoredBox& b) { return a.score > b.score; });
  all.resize(std::min(all.size(), static_cast<std::size_t>(options.kept)));
  std::vector<Box> proposals;
  for (const ScoredBox& one : all) proposals.push_back(one.box);
  return proposals;
}

}  // namespace convnext
