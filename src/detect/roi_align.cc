#include "detect/roi_align.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace convnext {
namespace {

// A row or column of the map with what it counts in a bin.
struct Tap {
  int at = 0;
  float weight = 0.0f;
};

// The taps of every bin along one axis, one bin after another.
struct AxisTaps {
  std::vector<Tap> taps;
  std::vector<std::size_t> ends;  // of each bin's taps

  std::span<const Tap> bin(int i) const {
    const std::size_t first = i == 0 ? 0 : ends[static_cast<std::size_t>(i) - 1];
    return std::span(taps).subspan(first, ends[static_cast<std::size_t>(i)] - first);
  }
};

// Points of neighbouring places share their rows.
void add_tap(std::vector<Tap>& taps, std::size_t first, int at, float weight) {
  if (weight == 0.0f) return;
  for (std::size_t i = taps.size(); i > first && i + 2 > taps.size(); --i) {
    if (taps[i - 1].at == at) {
      taps[i - 1].weight += weight;
      return;
    }
  }
  taps.push_back({at, weight});
}

// From `start` to `end` in pixels of the map, pixel i having its middle at i.
void find_taps(float start, float end, int bins, int side, AxisTaps& axis) {
  axis.taps.clear();
  axis.ends.clear();
  const float bin = (end - start) / static_cast<float>(bins);
  const float rounded = std::ceil(bin);
  // Beyond the map nothing is seen: more points than it has pixels, several times over, make no difference to a mean.
  const int points = rounded > 0 ? static_cast<int>(std::min(rounded, 4096.0f)) : 0;
  for (int b = 0; b < bins; ++b) {
    const std::size_t first = axis.taps.size();
    for (int p = 0; p < points; ++p) {
      float at =
          start + static_cast<float>(b) * bin + (static_cast<float>(p) + 0.5f) * bin / static_cast<float>(points);
      if (at < -1.0f || at > static_cast<float>(side)) continue;
      at = std::max(at, 0.0f);
      const int low = static_cast<int>(at);
      const float share = 1.0f / static_cast<float>(points);
      if (low >= side - 1) {
        add_tap(axis.taps, first, side - 1, share);
        continue;
      }
      const float above = at - static_cast<float>(low);
      add_tap(axis.taps, first, low, (1.0f - above) * share);
      add_tap(axis.taps, first, low + 1, above * share);
    }
    axis.ends.push_back(axis.taps.size());
  }
}

struct RegionTaps {
  AxisTaps rows, columns;

  // False when the region has no point.
  bool find(const RegionOfInterest& region, const MapBatch& size, const RoiAlignOptions& options) {
    // Half a pixel back: places count from the middle of a pixel, boxes from its edge.
    const auto on_map = [&options](float at) { return at * options.scale - 0.5f; };
    const Box& box = region.box;
    if (!std::isfinite(box.x1) || !std::isfinite(box.y1) || !std::isfinite(box.x2) || !std::isfinite(box.y2)) {
      return false;
    }
    find_taps(on_map(box.y1), on_map(box.y2), options.bins, size.height, rows);
    find_taps(on_map(box.x1), on_map(box.x2), options.bins, size.width, columns);
    return !rows.taps.empty() && !columns.taps.empty();
  }
};

std::ptrdiff_t map_offset(const MapBatch& size, int picture, int row, int column) {
  return ((static_cast<std::ptrdiff_t>(picture) * size.height + row) * size.width + column) * size.channels;
}

}  // namespace

void roi_align(const float* map, const MapBatch& size, std::span<const RegionOfInterest> regions,
               const RoiAlignOptions& options, float* out) {
  const int bins = options.bins;
  const std::ptrdiff_t region_values = static_cast<std::ptrdiff_t>(bins) * bins * size.channels;
  RegionTaps taps;
  float* bin = out;
  std::fill(out, out + static_cast<std::ptrdiff_t>(regions.size()) * region_values, 0.0f);
  for (const RegionOfInterest& region : regions) {
    if (!taps.find(region, size, options)) {
      bin += region_values;
      continue;
    }
    for (int y = 0; y < bins; ++y) {
      for (int x = 0; x < bins; ++x, bin += size.channels) {
        for (const Tap& row : taps.rows.bin(y)) {
          for (const Tap& column : taps.columns.bin(x)) {
            const float weight = row.weight * column.weight;
            const float* pixel = map + map_offset(size, region.picture, row.at, column.at);
            for (int c = 0; c < size.channels; ++c) bin[c] += weight * pixel[c];
          }
        }
      }
    }
  }
}

void roi_align_gradient(const float* out_gradient, const MapBatch& size, std::span<const RegionOfInterest> regions,
                        const RoiAlignOptions& options, int first_channel, int last_channel, float* map_gradient) {
  const int bins = options.bins;
  const int count = last_channel - first_channel;
  const std::ptrdiff_t region_values = static_cast<std::ptrdiff_t>(bins) * bins * size.channels;
  RegionTaps taps;
  for (std::size_t index = 0; index < regions.size(); ++index) {
    const RegionOfInterest& region = regions[index];
    if (!taps.find(region, size, options)) continue;
    const float* bin = out_gradient + static_cast<std::ptrdiff_t>(index) * region_values + first_channel;
    for (int y = 0; y < bins; ++y) {
      for (int x = 0; x < bins; ++x, bin += size.channels) {
        for (const Tap& row : taps.rows.bin(y)) {
          for (const Tap& column : taps.columns.bin(x)) {
            const float weight = row.weight * column.weight;
            float* pixel = map_gradient + map_offset(size, region.picture, row.at, column.at) + first_channel;
            for (int c = 0; c < count; ++c) pixel[c] += weight * bin[c];
          }
        }
      }
    }
  }
}

}  // namespace convnext
