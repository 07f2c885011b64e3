#include "plot/label_placement.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>

namespace convnext {
namespace {

// Pixels between a mark and its name.
constexpr std::array kGaps = {3.0, 8.0, 16.0, 28.0, 42.0, 60.0, 82.0, 110.0, 145.0};
constexpr double kApart = 12.0;  // from here on a line joins them
constexpr double kMargin = 1.5;  // between two names
constexpr int kDirections = 16;
constexpr int kSweeps = 30;
constexpr std::size_t kBeginnings = 16;
// What is bad about a place: names on names above all, then names on marks, then lines through them
// and distance.
constexpr double kOnName = 40.0, kOnMark = 60.0, kOnOwnMark = 400.0, kOnStroke = 0.8, kOnLeader = 4.0, kDistance = 1.0;

struct Place {
  Rectangle box;
  Stroke leader;       // from the mark's centre, where a line has to join them; else a point
  double price = 0.0;  // of the place itself
  bool apart = false;
};

Rectangle widened(const Rectangle& box, double margin) {
  return {box.left - margin, box.top - margin, box.width + 2 * margin, box.height + 2 * margin};
}

bool contains(const Rectangle& field, const Rectangle& box) {
  return box.left >= field.left && box.top >= field.top && box.left + box.width <= field.left + field.width &&
         box.top + box.height <= field.top + field.height;
}

// `box`, moved as little as brings it into the field.
Rectangle within(const Rectangle& field, Rectangle box) {
  box.left = std::max(field.left, std::min(box.left, field.left + field.width - box.width));
  box.top = std::max(field.top, std::min(box.top, field.top + field.height - box.height));
  return box;
}

// From the mark's centre to the nearest point of the box.
Stroke leader_to(const Rectangle& box, const LabelledMark& mark) {
  return {mark.x, mark.y, std::clamp(mark.x, box.left, box.left + box.width),
          std::clamp(mark.y, box.top, box.top + box.height)};
}

// All places for the name of mark `index`, with what is bad about each whatever the other names do.
std::vector<Place> places_of(std::size_t index, const std::vector<LabelledMark>& marks, const Rectangle& field,
                             const std::vector<Stroke>& strokes) {
  const LabelledMark& mark = marks[index];
  std::vector<Place> places;
  for (const double gap : kGaps) {
    for (int i = 0; i < kDirections; ++i) {
      const double angle = 2 * std::numbers::pi * i / kDirections;
      const double right = std::cos(angle), down = std::sin(angle);
      // The box leans with its nearest side or corner on a circle around the mark.
      const double x = mark.x + (mark.radius + gap) * right, y = mark.y + (mark.radius + gap) * down;
      const Rectangle box = {x + (right - 1) / 2 * mark.label_width, y + (down - 1) / 2 * mark.label_height,
                             mark.label_width, mark.label_height};
      if (!contains(field, box)) continue;
      Place place{.box = box, .leader = {}, .price = kDistance * gap, .apart = gap >= kApart};
      if (place.apart) place.leader = leader_to(box, mark);
      // To the right is where one looks first, then to the left, then straight above and below.
      place.price += 1.5 * (1 - right) + (i % (kDirections / 4) == 0 ? 0.0 : 2.0);
      for (std::size_t other = 0; other < marks.size(); ++other) {
        place.price += (other == index ? kOnOwnMark : kOnMark) * reach(marks[other], widened(box, kMargin / 2));
      }
      for (const Stroke& stroke : strokes) place.price += kOnStroke * length_within(stroke, box);
      places.push_back(place);
    }
  }
  if (places.empty()) {
    const Rectangle box = {mark.x + mark.radius + kGaps[0], mark.y - mark.label_height / 2, mark.label_width,
                           mark.label_height};
    places.push_back({.box = within(field, box), .leader = {}});
  }
  return places;
}

// Which of its places each name has taken; none yet.
using Choice = std::vector<std::optional<std::size_t>>;

// What is bad about a place as the other names lie.
double price_at(const Place& place, std::size_t index, const std::vector<std::vector<Place>>& places,
                const std::vector<std::size_t>& named, const Choice& choice, double enough) {
  double price = place.price;
  const Rectangle box = widened(place.box, kMargin);
  for (const std::size_t j : named) {
    if (price >= enough) break;
    if (j == index || !choice[j]) continue;
    const Place& other = places[j][*choice[j]];
    const double shared = overlap(box, other.box);
    if (shared > 0) price += kOnName + shared;
    if (place.apart) price += kOnLeader * length_within(place.leader, other.box);
    if (other.apart) price += kOnLeader * length_within(other.leader, box);
  }
  return price;
}

// Each in turn takes the place that is best as the others lie, until nothing moves any more.
Choice settle(const std::vector<std::vector<Place>>& places, const std::vector<std::size_t>& order) {
  Choice choice(places.size());
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool moved = false;
    for (const std::size_t i : order) {
      double least = std::numeric_limits<double>::infinity();
      std::size_t best = 0;
      for (std::size_t k = 0; k < places[i].size(); ++k) {
        const double price = price_at(places[i][k], i, places, order, choice, least);
        if (price < least) {
          least = price;
          best = k;
        }
      }
      moved = moved || choice[i] != best;
      choice[i] = best;
    }
    if (!moved) break;
  }
  return choice;
}

double price_of(const std::vector<std::vector<Place>>& places, const std::vector<std::size_t>& named,
                const Choice& choice) {
  double price = 0;
  for (const std::size_t i : named) {
    price += price_at(places[i][*choice[i]], i, places, named, choice, std::numeric_limits<double>::infinity());
  }
  return price;
}

}  // namespace

double overlap(const Rectangle& a, const Rectangle& b) {
  const double width = std::min(a.left + a.width, b.left + b.width) - std::max(a.left, b.left);
  const double height = std::min(a.top + a.height, b.top + b.height) - std::max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0.0;
}

double reach(const LabelledMark& mark, const Rectangle& box) {
  const double dx = mark.x - std::clamp(mark.x, box.left, box.left + box.width);
  const double dy = mark.y - std::clamp(mark.y, box.top, box.top + box.height);
  return std::max(0.0, mark.radius - std::hypot(dx, dy));
}

double length_within(const Stroke& stroke, const Rectangle& box) {
  // The part of the stroke, from 0 to 1, that is between each pair of the box's sides.
  double from = 0.0, to = 1.0;
  const auto clip = [&](double start, double step, double low, double high) {
    if (step == 0) {
      if (start < low || start > high) to = -1.0;
      return;
    }
    const double a = (low - start) / step, b = (high - start) / step;
    from = std::max(from, std::min(a, b));
    to = std::min(to, std::max(a, b));
  };
  const double dx = stroke.to_x - stroke.from_x, dy = stroke.to_y - stroke.from_y;
  clip(stroke.from_x, dx, box.left, box.left + box.width);
  clip(stroke.from_y, dy, box.top, box.top + box.height);
  return std::max(0.0, to - from) * std::hypot(dx, dy);
}

std::vector<PlacedLabel> place_labels(const std::vector<LabelledMark>& marks, const Rectangle& field,
                                      const std::vector<Stroke>& strokes) {
  std::vector<std::vector<Place>> places;
  std::vector<std::size_t> order;  // of the marks that have names
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const bool named = marks[i].label_width > 0;
    places.push_back(named ? places_of(i, marks, field, strokes) : std::vector<Place>(1));
    if (named) order.push_back(i);
  }
  // What comes out depends on who chooses first.
  Choice best(marks.size());
  double least = std::numeric_limits<double>::infinity();
  const std::size_t beginnings = std::min(order.size(), kBeginnings);
  for (std::size_t i = 0; i < beginnings; ++i) {
    std::vector<std::size_t> rotated = order;
    std::ranges::rotate(rotated, rotated.begin() + static_cast<std::ptrdiff_t>(i * order.size() / beginnings));
    Choice choice = settle(places, rotated);
    const double price = price_of(places, rotated, choice);
    if (price < least) {
      least = price;
      best = std::move(choice);
    }
  }
  std::vector<PlacedLabel> labels;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const Place& place = places[i][best[i].value_or(0)];
    labels.push_back({place.box, place.apart});
  }
  return labels;
}

}  // namespace convnext
