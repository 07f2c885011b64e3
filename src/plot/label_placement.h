// Where names go beside round marks, so that none lies on another or on a mark.
#pragma once

#include <vector>

namespace convnext {

// Pixels, y downwards.
struct Rectangle {
  double left = 0.0;
  double top = 0.0;
  double width = 0.0;
  double height = 0.0;
};

struct LabelledMark {
  double x = 0.0;  // of its centre
  double y = 0.0;
  double radius = 0.0;
  double label_width = 0.0;  // 0: it has no name, and is only in the way
  double label_height = 0.0;
};

// A line between marks, which names had better not cross.
struct Stroke {
  double from_x = 0.0;
  double from_y = 0.0;
  double to_x = 0.0;
  double to_y = 0.0;
};

struct PlacedLabel {
  Rectangle box;
  bool apart = false;  // so far from its mark that a line has to join them
};

// One for each mark, in their order, within `field`: to the right of the mark where that is free, else around it, else
// further away. The same marks give the same places.
std::vector<PlacedLabel> place_labels(const std::vector<LabelledMark>& marks, const Rectangle& field,
                                      const std::vector<Stroke>& strokes = {});

// The area that two boxes share.
double overlap(const Rectangle& a, const Rectangle& b);
// How far a disc reaches into a box; 0 where they do not touch.
double reach(const LabelledMark& mark, const Rectangle& box);
// How much of a stroke lies in a box.
double length_within(const Stroke& stroke, const Rectangle& box);

}  // namespace convnext
