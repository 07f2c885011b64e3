#include "image/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "convnext/error.h"

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

// Weights are fixed point. With 8 bits of pixel, 22 of weight leave room in 32 for the negative lobes: the absolute
// weights of an output add up to less than 2.
constexpr int kWeightBits = 32 - 8 - 2;

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= std::numbers::pi;
  // The window's constants are float32 in Pillow, and differ from 0.54 and 0.46 in the eighth digit.
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

struct Filter {
  double (*weight)(double x);
  double support;  // half the width, in pixels of the smaller picture
};

Filter filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBox:
      return {box, 0.5};
    case Interpolation::kBilinear:
      return {bilinear, 1.0};
    case Interpolation::kHamming:
      return {hamming, 1.0};
    case Interpolation::kBicubic:
      return {bicubic, 2.0};
    case Interpolation::kLanczos:
      return {lanczos, 3.0};
  }
  throw std::logic_error("filter_of: not an Interpolation");
}

// The input pixels under one output pixel: `count` from `first` on, with weights from `weights` on.
struct Window {
  std::size_t first;
  std::size_t count;
  std::size_t weights;
};

// One axis of a resize: windows of the outputs [begin, begin + outputs).
struct Axis {
  std::vector<Window> windows;
  std::vector<std::int32_t> weights;

  std::size_t first_input() const { return windows.front().first; }
  std::size_t end_input() const { return windows.back().first + windows.back().count; }
};

Axis make_axis(int input, std::int64_t output, Interpolation interpolation, std::int64_t begin, int outputs) {
  const Filter filter = filter_of(interpolation);
  const double scale = static_cast<double>(input) / static_cast<double>(output);
  const double filter_scale = std::max(scale, 1.0);  // reduction widens the filter: antialiasing
  const double support = filter.support * filter_scale;
  const double inverse = 1.0 / filter_scale;

  Axis axis;
  axis.windows.reserve(static_cast<std::size_t>(outputs));
  std::vector<double> exact;
  for (int i = 0; i < outputs; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    // Pillow cuts towards zero, here and at the end.  NOLINTNEXTLINE(bugprone-incorrect-roundings)
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = static_cast<int>(std::min(center + support + 0.5, static_cast<double>(input)));
    exact.clear();
    double sum = 0.0;
    for (int x = first; x < end; ++x) {
      exact.push_back(filter.weight((x - center + 0.5) * inverse));
      sum += exact.back();
    }
    axis.windows.push_back({static_cast<std::size_t>(first), exact.size(), axis.weights.size()});
    for (double weight : exact) {
      if (sum != 0.0) weight /= sum;
      axis.weights.push_back(static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kWeightBits)));
    }
  }
  return axis;
}

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

std::uint8_t to_byte(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// Part of a picture: `image` holds its columns and rows from these on. Windows count from the picture's own edge.
struct Part {
  const Image& image;
  std::size_t first_column = 0;
  std::size_t first_row = 0;

  const std::uint8_t* pixel(std::size_t column, std::size_t row) const {
    const std::size_t at = (row - first_row) * static_cast<std::size_t>(image.width) + column - first_column;
    return image.pixels.data() + at * kChannels;
  }
};

Image make_image(std::size_t width, std::size_t height) {
  return {static_cast<int>(width), static_cast<int>(height), std::vector<std::uint8_t>(width * height * kChannels)};
}

// Rows [first_row, first_row + rows) of the picture, as wide as the axis has windows.
Image resize_horizontally(const Part& part, const Axis& axis, std::size_t first_row, std::size_t rows) {
  Image out = make_image(axis.windows.size(), rows);
  std::uint8_t* to = out.pixels.data();
  for (std::size_t y = 0; y < rows; ++y) {
    for (const Window& window : axis.windows) {
      const std::uint8_t* pixel = part.pixel(window.first, first_row + y);
      const std::int32_t* const weights = axis.weights.data() + window.weights;
      std::int32_t red = kHalf;
      std::int32_t green = kHalf;
      std::int32_t blue = kHalf;
      for (std::size_t k = 0; k < window.count; ++k, pixel += kChannels) {
        red += pixel[0] * weights[k];
        green += pixel[1] * weights[k];
        blue += pixel[2] * weights[k];
      }
      to[0] = to_byte(red);
      to[1] = to_byte(green);
      to[2] = to_byte(blue);
      to += kChannels;
    }
  }
  return out;
}

// Columns [first_column, first_column + columns) of the picture, as tall as the axis has windows.
Image resize_vertically(const Part& part, const Axis& axis, std::size_t first_column, std::size_t columns) {
  Image out = make_image(columns, axis.windows.size());
  const std::size_t values = columns * kChannels;
  std::vector<std::int32_t> sums(values);
  std::uint8_t* to = out.pixels.data();
  for (const Window& window : axis.windows) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (std::size_t k = 0; k < window.count; ++k) {
      const std::uint8_t* const row = part.pixel(first_column, window.first + k);
      const std::int32_t weight = axis.weights[window.weights + k];
      for (std::size_t i = 0; i < values; ++i) sums[i] += row[i] * weight;
    }
    for (std::size_t i = 0; i < values; ++i) to[i] = to_byte(sums[i]);
    to += values;
  }
  return out;
}

// The result of the first pass is rounded to 8 bits, so the order of the two shows. Pillow 13 begins with the rows
// where that takes away more than twice as many of them as the other pass does of columns; earlier versions did so only
// for pictures more than a hundred times as tall as wide.
bool vertical_pass_first(const Image& image, std::int64_t width, std::int64_t height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

Image copy_region(const Image& in, const Region& region) {
  Image out = make_image(static_cast<std::size_t>(region.width), static_cast<std::size_t>(region.height));
  const std::size_t values = static_cast<std::size_t>(region.width) * kChannels;
  for (std::size_t y = 0; y < static_cast<std::size_t>(region.height); ++y) {
    std::memcpy(out.pixels.data() + y * values,
                Part{in}.pixel(static_cast<std::size_t>(region.left), static_cast<std::size_t>(region.top) + y),
                values);
  }
  return out;
}

void check(const Image& image, std::int64_t width, std::int64_t height, const Region& region) {
  const auto refuse = [](std::string_view what) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("resize: {}", what));
  };
  if (image.width < 1 || image.height < 1 ||
      image.pixels.size() !=
          static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * kChannels) {
    refuse(fmt::format("a picture of {} x {} with {} bytes", image.width, image.height, image.pixels.size()));
  }
  if (width < 1 || height < 1) refuse(fmt::format("to {} x {}, expected at least 1 x 1", width, height));
  if (region.width < 1 || region.height < 1 || region.left < 0 || region.top < 0 ||
      region.left > width - region.width || region.top > height - region.height) {
    refuse(fmt::format("the region {} x {} at ({}, {}) is not inside {} x {}", region.width, region.height, region.left,
                       region.top, width, height));
  }
}

}  // namespace

Image resize_region(const Image& image, std::int64_t width, std::int64_t height, Interpolation interpolation,
                    const Region& region) {
  check(image, width, height, region);
  if (width == image.width && height == image.height) return copy_region(image, region);
  const Part whole{image};
  const auto left = static_cast<std::size_t>(region.left);
  const auto top = static_cast<std::size_t>(region.top);
  const auto columns = static_cast<std::size_t>(region.width);
  const auto rows = static_cast<std::size_t>(region.height);
  if (height == image.height) {
    return resize_horizontally(whole, make_axis(image.width, width, interpolation, region.left, region.width), top,
                               rows);
  }
  const Axis down = make_axis(image.height, height, interpolation, region.top, region.height);
  if (width == image.width) return resize_vertically(whole, down, left, columns);

  // The first pass makes only what the second one reads.
  const Axis across = make_axis(image.width, width, interpolation, region.left, region.width);
  if (vertical_pass_first(image, width, height)) {
    const Image lowered =
        resize_vertically(whole, down, across.first_input(), across.end_input() - across.first_input());
    return resize_horizontally({.image = lowered, .first_column = across.first_input()}, across, 0, rows);
  }
  const Image narrowed = resize_horizontally(whole, across, down.first_input(), down.end_input() - down.first_input());
  return resize_vertically({.image = narrowed, .first_row = down.first_input()}, down, 0, columns);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize_region(image, width, height, interpolation, {0, 0, width, height});
}

}  // namespace convnext
