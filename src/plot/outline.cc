#include "plot/outline.h"

#include <array>
#include <cstddef>

namespace convnext {
namespace {

// Steps along the edges between pixels, with the mask on the right: each turn is one further.
enum Step : std::uint8_t { kRight, kDown, kLeft, kUp };
constexpr std::array<int, 4> kAcross = {1, 0, -1, 0}, kAlong = {0, 1, 0, -1};

constexpr std::size_t kLeastToEvenOut = 16;  // steps

// Which steps lead on from each corner between pixels, a bit each.
class Corners {
 public:
  Corners(std::span<const std::uint8_t> mask, int height, int width) : columns_(width + 1) {
    steps_.resize(static_cast<std::size_t>(height + 1) * static_cast<std::size_t>(columns_));
    const auto is_in = [&](int y, int x) {
      if (y < 0 || x < 0 || y >= height || x >= width) return false;
      return mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] != 0;
    };
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        if (!is_in(y, x)) continue;
        if (!is_in(y - 1, x)) add(y, x, kRight);
        if (!is_in(y, x + 1)) add(y, x + 1, kDown);
        if (!is_in(y + 1, x)) add(y + 1, x + 1, kLeft);
        if (!is_in(y, x - 1)) add(y + 1, x, kUp);
      }
    }
  }

  std::size_t size() const { return steps_.size(); }
  int columns() const { return columns_; }
  bool leads_on(std::size_t corner) const { return steps_[corner] != 0; }

  // Takes the step that turns most to the right, so that pixels which only touch at a corner are apart.
  Step take(std::size_t corner, Step before) {
    for (const int turn : {1, 0, 3, 2}) {
      const auto step = static_cast<Step>((before + turn) % 4);
      const auto bit = static_cast<std::uint8_t>(1u << step);
      if ((steps_[corner] & bit) == 0) continue;
      steps_[corner] = static_cast<std::uint8_t>(steps_[corner] & ~bit);
      return step;
    }
    return before;
  }

 private:
  void add(int y, int x, Step step) {
    std::uint8_t& steps =
        steps_[static_cast<std::size_t>(y) * static_cast<std::size_t>(columns_) + static_cast<std::size_t>(x)];
    steps = static_cast<std::uint8_t>(steps | (1u << step));
  }

  int columns_;
  std::vector<std::uint8_t> steps_;
};

// Each point between its neighbours: what is left of the steps of a slanted edge after their middles were taken.
std::vector<Point> evened_out(const std::vector<Point>& line) {
  const std::size_t n = line.size();
  std::vector<Point> even(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Point &before = line[(i + n - 1) % n], &here = line[i], &after = line[(i + 1) % n];
    even[i] = {(before.x + 2 * here.x + after.x) / 4, (before.y + 2 * here.y + after.y) / 4};
  }
  return even;
}

}  // namespace

std::vector<std::vector<Point>> outlines_of(std::span<const std::uint8_t> mask, int height, int width) {
  Corners corners(mask, height, width);
  std::vector<std::vector<Point>> outlines;
  for (std::size_t first = 0; first < corners.size(); ++first) {
    while (corners.leads_on(first)) {
      std::vector<Point> line;
      int x = static_cast<int>(first) % corners.columns(), y = static_cast<int>(first) / corners.columns();
      std::size_t corner = first;
      Step step = kRight;
      do {
        step = corners.take(corner, step);
        line.push_back({x + 0.5 * kAcross[step], y + 0.5 * kAlong[step]});
        x += kAcross[step];
        y += kAlong[step];
        corner =
            static_cast<std::size_t>(y) * static_cast<std::size_t>(corners.columns()) + static_cast<std::size_t>(x);
      } while (corner != first);
      // Little would be left of a pixel or two.
      if (line.size() >= kLeastToEvenOut) line = evened_out(evened_out(line));
      outlines.push_back(std::move(line));
    }
  }
  return outlines;
}

}  // namespace convnext
