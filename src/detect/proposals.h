// From what a region proposal network says of its anchors to the boxes that are looked at closer (Ren et al. 2015,
// section 3; mmdet's RPNHead).
#pragma once

#include <span>
#include <vector>

#include "detect/box.h"

namespace convnext {

// Of one level of a pyramid, for one picture.
struct ScoredAnchors {
  std::span<const Box> anchors;
  std::span<const float> logits;  // of an object, one an anchor
  std::span<const float> deltas;  // four an anchor: x, y, width, height
};

struct ProposalOptions {
  int best_of_level = 1000;  // by score, before suppression
  int kept = 1000;           // of all levels, after it
  float overlap = 0.7f;      // of suppression, which is within a level
};

struct ScoredBox {
  Box box;
  float score = 0.0f;
};

// Best first, within a picture of that size, all with an area. Anchors whose scores or deltas are not finite are left
// out. Levels do not depend on each other: threads can share them out.
std::vector<ScoredBox> propose_of_level(const ScoredAnchors& level, int height, int width,
                                        const ProposalOptions& options);

// What propose_of_level() gave for every level of a picture, the best together; of equal ones those of the level that
// comes first.
std::vector<Box> best_of_levels(std::span<const std::vector<ScoredBox>> levels, const ProposalOptions& options);

}  // namespace convnext
