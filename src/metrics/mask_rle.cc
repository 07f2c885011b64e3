#include "metrics/mask_rle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

#include "convnext/error.h"

namespace convnext {
namespace {

// A polygon's boundary is walked in steps of a fifth of a pixel.
constexpr int kScale = 5;
constexpr double kMaxCoordinate = (1 << 30) / kScale;  // so that differences of two fit into 32 bits, too
constexpr std::int64_t kMaxSteps = std::int64_t{30} << 20;

void check_size(int height, int width) {
  if (height <= 0 || width <= 0 || std::int64_t{height} * width > kMaxMaskPixels) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a mask of {} x {} pixels (width x height): both must be positive, and at most {} together",
                            width, height, kMaxMaskPixels));
  }
}

void check_sum(const MaskRle& mask) {
  std::uint64_t sum = 0;
  for (const std::uint32_t count : mask.counts) sum += count;
  const std::int64_t pixels = std::int64_t{mask.height} * mask.width;
  if (sum != static_cast<std::uint64_t>(pixels)) {
    throw Error(ErrorCode::kDamaged, fmt::format("its counts add up to {}, but {} x {} pixels (width x height) are {}",
                                                 sum, mask.width, mask.height, pixels));
  }
}

// The runs of two masks side by side.
class Runs {
 public:
  explicit Runs(const MaskRle& mask) : counts_(mask.counts) { take_next(); }

  std::uint32_t left() const { return left_; }
  bool is_one() const { return is_one_; }
  bool at_end() const { return left_ == 0 && next_ == counts_.size(); }
  // At most one run further, as maskApi.c goes: runs of nothing count as runs.
  void advance(std::uint32_t pixels) {
    left_ -= pixels;
    if (left_ == 0 && next_ < counts_.size()) {
      take_next();
      is_one_ = !is_one_;
    }
  }

 private:
  void take_next() {
    if (next_ < counts_.size()) left_ = counts_[next_++];
  }

  std::span<const std::uint32_t> counts_;
  std::size_t next_ = 0;
  std::uint32_t left_ = 0;
  bool is_one_ = false;
};

MaskRle merge_two(const MaskRle& a, const MaskRle& b, MaskMerge merge) {
  if (a.height != b.height || a.width != b.width) {
    throw Error(ErrorCode::kMismatch, fmt::format("cannot merge masks of {} x {} and {} x {} pixels (width x height)",
                                                  a.width, a.height, b.width, b.height));
  }
  MaskRle merged = {.height = a.height, .width = a.width, .counts = {}};
  Runs in_a(a), in_b(b);
  std::uint32_t run = 0;
  bool is_one = false;
  for (bool more = true; more;) {
    const std::uint32_t both = std::min(in_a.left(), in_b.left());
    run += both;
    in_a.advance(both);
    in_b.advance(both);
    more = !in_a.at_end() || !in_b.at_end();
    const bool next = merge == MaskMerge::kIntersection ? in_a.is_one() && in_b.is_one()  //
                                                        : in_a.is_one() || in_b.is_one();
    if (next != is_one || !more) {
      merged.counts.push_back(run);
      run = 0;
    }
    is_one = next;
  }
  return merged;
}

double intersection_over_union(const MaskRle& detection, const MaskRle& object, bool crowd) {
  Runs in_detection(detection), in_object(object);
  std::uint32_t intersection = 0, joined = 0;
  do {
    const std::uint32_t both = std::min(in_detection.left(), in_object.left());
    if (in_detection.is_one() || in_object.is_one()) joined += both;
    if (in_detection.is_one() && in_object.is_one()) intersection += both;
    in_detection.advance(both);
    in_object.advance(both);
  } while (in_detection.left() > 0 || in_object.left() > 0);
  if (intersection == 0) return 0.0;
  return static_cast<double>(intersection) / static_cast<double>(crowd ? mask_area(detection) : joined);
}

// Round to the nearest, halves up, as C's cast does it for numbers that are not negative.
int scaled(double coordinate) { return static_cast<int>(kScale * coordinate + 0.5); }

int ceil_divide(int value, int divisor) { return value >= 0 ? (value + divisor - 1) / divisor : -(-value / divisor); }

// Points on the boundary of a polygon, one after the other; of them those where it crosses the middle of a column.
class BoundaryWalk {
 public:
  BoundaryWalk(int height, int width) : height_(height), width_(width) {}

  void line(int x0, int y0, int x1, int y1) {
    int dx = std::abs(x1 - x0), dy = std::abs(y1 - y0);
    const bool flat = dx >= dy;
    // Each line is walked from the same end in whatever direction it goes: neighbours share their boundary.
    const bool flip = flat ? x0 > x1 : y0 > y1;
    if (flip) {
      std::swap(x0, x1);
      std::swap(y0, y1);
    }
    if (dx == 0 && dy == 0) return point(x0, y0);
    const double slope = flat ? static_cast<double>(y1 - y0) / dx : static_cast<double>(x1 - x0) / dy;
    const int steps = flat ? dx : dy;
    for (int i = 0; i <= steps; ++i) {
      const int t = flip ? steps - i : i;
      if (flat) {
        point(t + x0, static_cast<int>(y0 + slope * t + 0.5));
      } else {
        point(static_cast<int>(x0 + slope * t + 0.5), t + y0);
      }
    }
  }

  // In the order of the columns.
  std::vector<std::uint32_t> take_crossings() {
    std::ranges::sort(crossings_);
    return std::move(crossings_);
  }

 private:
  void point(int x, int y) {
    if (std::exchange(begun_, true) && x != x_) cross(x < x_ ? x : x - 1, std::min(y, y_));
    x_ = x;
    y_ = y;
  }

  // The middle of column c is at 5 c + 2.
  void cross(int x, int y) {
    if (x < 2 || (x - 2) % kScale != 0) return;
    const int column = (x - 2) / kScale;
    if (column > width_ - 1) return;
    const int row = std::clamp(ceil_divide(y - 2, kScale), 0, height_);
    crossings_.push_back(static_cast<std::uint32_t>(column * height_ + row));
  }

  int height_;
  int width_;
  bool begun_ = false;
  int x_ = 0;
  int y_ = 0;
  std::vector<std::uint32_t> crossings_;
};

}  // namespace

MaskRle encode_mask(std::span<const std::uint8_t> pixels, int height, int width) {
  check_size(height, width);
  if (pixels.size() != static_cast<std::size_t>(height) * static_cast<std::size_t>(width)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} pixels are no mask of {} x {} (width x height)", pixels.size(), width, height));
  }
  MaskRle mask = {.height = height, .width = width, .counts = {}};
  bool is_one = false;
  std::uint32_t run = 0;
  for (int x = 0; x < width; ++x) {
    for (int y = 0; y < height; ++y) {
      const bool next =
          pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] != 0;
      if (next != is_one) {
        mask.counts.push_back(std::exchange(run, 0));
        is_one = next;
      }
      ++run;
    }
  }
  mask.counts.push_back(run);
  return mask;
}

std::vector<std::uint8_t> decode_mask(const MaskRle& mask, std::int64_t max_pixels) {
  if (std::int64_t{mask.height} * mask.width > max_pixels) {
    throw Error(ErrorCode::kUnsupported, fmt::format("a mask of {} x {} pixels (width x height) is more than {}",
                                                     mask.width, mask.height, max_pixels));
  }
  check_sum(mask);
  const auto height = static_cast<std::size_t>(mask.height), width = static_cast<std::size_t>(mask.width);
  std::vector<std::uint8_t> pixels(height * width);
  std::size_t place = 0;
  for (std::size_t i = 0; i < mask.counts.size(); ++i) {
    const std::size_t end = place + mask.counts[i];
    if (i % 2 == 0) {
      place = end;
      continue;
    }
    std::size_t x = place / height, y = place % height;
    for (; place < end; ++place) {
      pixels[y * width + x] = 1;
      if (++y == height) {
        y = 0;
        ++x;
      }
    }
  }
  return pixels;
}

std::string compressed_counts(const MaskRle& mask) {
  std::string text;
  for (std::size_t i = 0; i < mask.counts.size(); ++i) {
    std::int64_t value = mask.counts[i];
    if (i > 2) value -= mask.counts[i - 2];
    for (bool more = true; more;) {
      auto group = static_cast<int>(value & 0x1f);
      value >>= 5;
      more = (group & 0x10) != 0 ? value != -1 : value != 0;
      if (more) group |= 0x20;
      text += static_cast<char>(group + 48);
    }
  }
  return text;
}

MaskRle mask_from_compressed_counts(std::string_view text, int height, int width) {
  check_size(height, width);
  MaskRle mask = {.height = height, .width = width, .counts = {}};
  std::vector<std::uint32_t>& counts = mask.counts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    std::int64_t value = 0;
    int bits = 0;
    for (bool more = true; more;) {
      if (at == text.size()) throw Error(ErrorCode::kDamaged, "its text of counts is cut off");
      const int group = static_cast<unsigned char>(text[at]) - 48;
      if (group < 0 || group > 0x3f) {
        throw Error(ErrorCode::kDamaged, fmt::format("character {} of its counts is none of '0' to 'o'", at));
      }
      // 33 bits and a sign at most: differences of two counts of 32 bits.
      if (bits == 35) throw Error(ErrorCode::kDamaged, fmt::format("count {} has more than 35 bits", counts.size()));
      value |= static_cast<std::int64_t>(group & 0x1f) << bits;
      bits += 5;
      more = (group & 0x20) != 0;
      if (!more && (group & 0x10) != 0) value -= std::int64_t{1} << bits;
      ++at;
    }
    if (counts.size() > 2) value += counts[counts.size() - 2];
    if (value < 0 || value > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("count {} (character {}) is {}: no number of pixels", counts.size(), start, value));
    }
    counts.push_back(static_cast<std::uint32_t>(value));
  }
  check_sum(mask);
  return mask;
}

MaskRle mask_from_counts(std::vector<std::uint32_t> counts, int height, int width) {
  check_size(height, width);
  MaskRle mask = {.height = height, .width = width, .counts = std::move(counts)};
  check_sum(mask);
  return mask;
}

void check_polygon(std::span<const double> points) {
  if (points.size() % 2 != 0) {
    throw Error(ErrorCode::kDamaged, fmt::format("a polygon of {} numbers: an x or a y is missing", points.size()));
  }
  if (points.size() < 6) {
    throw Error(ErrorCode::kDamaged, fmt::format("a polygon of {} points: there must be 3", points.size() / 2));
  }
  for (const double coordinate : points) {
    if (!(std::abs(coordinate) <= kMaxCoordinate)) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("a polygon with a corner at {}: far outside of any picture", coordinate));
    }
  }
}

MaskRle mask_from_polygon(std::span<const double> points, int height, int width) {
  check_size(height, width);
  check_polygon(points);
  const std::size_t corners = points.size() / 2;
  const auto corner = [&](std::size_t i) {
    return std::pair(scaled(points[2 * (i % corners)]), scaled(points[2 * (i % corners) + 1]));
  };
  std::int64_t steps = 0;
  for (std::size_t i = 0; i < corners; ++i) {
    const auto [x0, y0] = corner(i);
    const auto [x1, y1] = corner(i + 1);
    steps += std::max(std::abs(x1 - x0), std::abs(y1 - y0)) + 1;
  }
  if (steps > kMaxSteps) {
    throw Error(ErrorCode::kDamaged, fmt::format("a polygon with a boundary of {} pixels: at most {} are walked",
                                                 steps / kScale, kMaxSteps / kScale));
  }
  BoundaryWalk walk(height, width);
  for (std::size_t i = 0; i < corners; ++i) {
    const auto [x0, y0] = corner(i);
    const auto [x1, y1] = corner(i + 1);
    walk.line(x0, y0, x1, y1);
  }

  // Between crossings in and out lie the runs. Two at one place cancel out.
  std::vector<std::uint32_t> places = walk.take_crossings();
  places.push_back(static_cast<std::uint32_t>(height * width));
  MaskRle mask = {.height = height, .width = width, .counts = {}};
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::uint32_t run = places[i] - std::exchange(last, places[i]);
    if (i == 0 || run > 0) {
      mask.counts.push_back(run);
    } else if (++i < places.size()) {
      mask.counts.back() += places[i] - std::exchange(last, places[i]);
    }
  }
  return mask;
}

MaskRle mask_from_polygons(std::span<const std::vector<double>> polygons, int height, int width) {
  if (polygons.empty()) throw Error(ErrorCode::kDamaged, "it has no polygon");
  MaskRle mask = mask_from_polygon(polygons.front(), height, width);
  for (const std::vector<double>& polygon : polygons.subspan(1)) {
    mask = merge_two(mask, mask_from_polygon(polygon, height, width), MaskMerge::kUnion);
  }
  return mask;
}

MaskRle mask_from_box(const BoundingBox& box, int height, int width) {
  const double left = box.x, right = box.x + box.width, top = box.y, bottom = box.y + box.height;
  return mask_from_polygon(std::array{left, top, left, bottom, right, bottom, right, top}, height, width);
}

std::uint32_t mask_area(const MaskRle& mask) {
  std::uint32_t area = 0;
  for (std::size_t i = 1; i < mask.counts.size(); i += 2) area += mask.counts[i];
  return area;
}

BoundingBox mask_bounds(const MaskRle& mask) {
  if (mask.counts.size() < 2) return {};
  const auto height = static_cast<std::uint32_t>(mask.height);
  std::uint32_t left = static_cast<std::uint32_t>(mask.width), top = height, right = 0, bottom = 0;
  std::uint32_t place = 0;
  for (std::size_t i = 1; i < mask.counts.size(); i += 2) {
    const std::uint32_t first = place + mask.counts[i - 1];
    place = first + mask.counts[i];
    if (mask.counts[i] == 0) continue;
    const std::uint32_t last = place - 1;
    left = std::min(left, first / height);
    right = std::max(right, last / height);
    if (first / height < last / height) {
      top = 0;
      bottom = height - 1;
    }
    top = std::min(top, first % height);
    bottom = std::max(bottom, last % height);
  }
  // Where all runs of ones are of length 0 these differences wrap around, there as here.
  return {.x = static_cast<double>(left),
          .y = static_cast<double>(top),
          .width = static_cast<double>(right - left + 1),
          .height = static_cast<double>(bottom - top + 1)};
}

MaskRle merge_masks(std::span<const MaskRle> masks, MaskMerge merge) {
  if (masks.empty()) throw Error(ErrorCode::kInvalidArgument, "there is no mask to merge");
  MaskRle merged = masks.front();
  for (const MaskRle& mask : masks.subspan(1)) merged = merge_two(merged, mask, merge);
  return merged;
}

std::vector<double> box_iou(std::span<const BoundingBox> detections, std::span<const BoundingBox> objects,
                            std::span<const std::uint8_t> crowds) {
  std::vector<double> ious(detections.size() * objects.size(), 0.0);
  for (std::size_t d = 0; d < detections.size(); ++d) {
    const BoundingBox& a = detections[d];
    const double area = a.width * a.height;
    for (std::size_t g = 0; g < objects.size(); ++g) {
      const BoundingBox& b = objects[g];
      const double width = std::fmin(a.width + a.x, b.width + b.x) - std::fmax(a.x, b.x);
      if (width <= 0) continue;
      const double height = std::fmin(a.height + a.y, b.height + b.y) - std::fmax(a.y, b.y);
      if (height <= 0) continue;
      const double intersection = width * height;
      ious[d * objects.size() + g] = intersection / (crowds[g] != 0 ? area : area + b.width * b.height - intersection);
    }
  }
  return ious;
}

std::vector<double> mask_iou(std::span<const MaskRle> detections, std::span<const MaskRle> objects,
                             std::span<const std::uint8_t> crowds) {
  const auto bounds = [](std::span<const MaskRle> masks) {
    std::vector<BoundingBox> boxes;
    for (const MaskRle& mask : masks) boxes.push_back(mask_bounds(mask));
    return boxes;
  };
  std::vector<double> ious = box_iou(bounds(detections), bounds(objects), crowds);
  for (std::size_t d = 0; d < detections.size(); ++d) {
    for (std::size_t g = 0; g < objects.size(); ++g) {
      double& iou = ious[d * objects.size() + g];
      if (!(iou > 0)) continue;
      const bool same_size = detections[d].height == objects[g].height && detections[d].width == objects[g].width;
      iou = same_size ? intersection_over_union(detections[d], objects[g], crowds[g] != 0) : -1.0;
    }
  }
  return ious;
}

}  // namespace convnext
