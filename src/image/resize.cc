#include "image/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "convnext/error.h"
#include "image/resample.h"

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

// Pillow's weights are fixed point. With 8 bits of pixel, 22 of weight leave room in 32 for the negative lobes: the
// absolute weights of an output add up to less than 2.
constexpr int kPillowWeightBits = 32 - 8 - 2;

// torchvision's weights are 16-bit integers, with as many bits after the point as leave room for the largest of the
// whole axis, whichever part is asked for.
int torchvision_weight_bits(double largest) {
  int bits = 0;
  while (bits < kPillowWeightBits && static_cast<int>(0.5 + largest * (1 << (bits + 1))) < 1 << 15) ++bits;
  return bits;
}

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

// The weights of one output in double precision, and the input that the first is of.
struct ExactWindow {
  int first = 0;
  std::vector<double> weights;
};

// One axis of a resize, before weights are rounded.
class Sampling {
 public:
  Sampling(int input, std::int64_t output, Interpolation interpolation)
      : filter_(filter_of(interpolation)),
        input_(input),
        scale_(static_cast<double>(input) / static_cast<double>(output)),
        filter_scale_(std::max(scale_, 1.0)) {}  // reduction widens the filter: antialiasing

  // Inputs under an output, away from the edges.
  double width() const { return 2 * filter_.support * filter_scale_ + 1; }

  void find(std::int64_t output, ExactWindow& window) const {
    const double support = filter_.support * filter_scale_;
    const double inverse = 1.0 / filter_scale_;
    const double center = (static_cast<double>(output) + 0.5) * scale_;
    // Pillow cuts towards zero, here and at the end.  NOLINTNEXTLINE(bugprone-incorrect-roundings)
    window.first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = static_cast<int>(std::min(center + support + 0.5, static_cast<double>(input_)));
    window.weights.clear();
    double sum = 0.0;
    for (int x = window.first; x < end; ++x) {
      window.weights.push_back(filter_.weight((x - center + 0.5) * inverse));
      sum += window.weights.back();
    }
    if (sum == 0.0) return;
    for (double& weight : window.weights) weight /= sum;
  }

 private:
  Filter filter_;
  int input_;
  double scale_;
  double filter_scale_;
};

// Where an axis grows there may be any number of outputs, and none needs a look: the first one's window is cut at the
// edge, which brings its largest weight to 1 or, by the negative lobes, up to 1.3. No other is larger, and every
// largest weight from 1 to below 2 leaves room for 14 bits.
int torchvision_weight_bits(const Sampling& sampling, int input, std::int64_t output) {
  constexpr int kBitsOfGrowth = 14;
  if (output >= input) return kBitsOfGrowth;
  ExactWindow window;
  double largest = 0.0;
  for (std::int64_t i = 0; i < output; ++i) {
    sampling.find(i, window);
    for (const double weight : window.weights) largest = std::max(largest, weight);
  }
  return torchvision_weight_bits(largest);
}

// One axis of a resize: windows of the outputs [begin, begin + outputs).
struct Axis {
  std::vector<Window> windows;
  std::vector<std::int32_t> weights;
  int weight_bits;

  std::size_t first_input() const { return windows.front().first; }
  std::size_t end_input() const { return windows.back().first + windows.back().count; }
  ResampleAxis from(std::size_t first_input) const { return {first_input, windows, weights, weight_bits}; }
};

Axis make_axis(int input, std::int64_t output, const Resampling& resampling, std::int64_t begin, int outputs) {
  const Sampling sampling(input, output, resampling.interpolation);
  check_weights(sampling.width(), input, output, outputs);
  ExactWindow window;
  Axis axis;
  axis.weight_bits =
      resampling.resizer == Resizer::kPillow ? kPillowWeightBits : torchvision_weight_bits(sampling, input, output);

  const double one = 1 << axis.weight_bits;
  axis.windows.reserve(static_cast<std::size_t>(outputs));
  for (int i = 0; i < outputs; ++i) {
    sampling.find(begin + i, window);
    axis.windows.push_back({static_cast<std::size_t>(window.first), window.weights.size(), axis.weights.size()});
    for (const double weight : window.weights) {
      axis.weights.push_back(static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * one));
    }
  }
  return axis;
}

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
  const std::size_t first = axis.first_input();
  const std::size_t stride = static_cast<std::size_t>(part.image.width) * kChannels;
  resample_passes().front().columns(axis.from(first), part.pixel(first, first_row), stride, axis.end_input() - first,
                                    rows, out.pixels.data());
  return out;
}

// Columns [first_column, first_column + columns) of the picture, as tall as the axis has windows.
Image resize_vertically(const Part& part, const Axis& axis, std::size_t first_column, std::size_t columns) {
  Image out = make_image(columns, axis.windows.size());
  const std::size_t first = axis.first_input();
  const std::size_t stride = static_cast<std::size_t>(part.image.width) * kChannels;
  resample_passes().front().rows(axis.from(first), part.pixel(first_column, first), stride, columns * kChannels,
                                 out.pixels.data());
  return out;
}

// The result of the first pass is rounded to 8 bits, so the order of the two shows. Pillow 13 begins with the rows
// where that takes away more than twice as many of them as the other pass does of columns; earlier versions did so only
// for pictures more than a hundred times as tall as wide.
// torchvision always begins with the columns.
bool vertical_pass_first(const Image& image, std::int64_t width, std::int64_t height, Resizer resizer) {
  return resizer == Resizer::kPillow && height < image.height && image.height - height > 2 * (image.width - width);
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

}  // namespace

void check_resize(const Image& image, std::int64_t width, std::int64_t height, const Region& region) {
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

void check_weights(double of_output, int input, std::int64_t output, int outputs) {
  // A picture of very many pixels in a row that shrinks to a few takes several weights for each of them, of four bytes
  // and more. No picture that anybody looks at has a side of a million pixels.
  constexpr double kMaxWeights = 1 << 24;
  const double weights = static_cast<double>(outputs) * std::min(of_output, static_cast<double>(input));
  if (weights <= kMaxWeights) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("resize: from {} to {} pixels takes {:.0f} weights, more than {:.0f} are refused: shrink the "
                          "picture before, or cut it",
                          input, output, weights, kMaxWeights));
}

Image resize_region(const Image& image, std::int64_t width, std::int64_t height, const Resampling& resampling,
                    const Region& region) {
  check_resize(image, width, height, region);
  if (resampling.resizer == Resizer::kTorchvision &&
      (resampling.interpolation == Interpolation::kBox || resampling.interpolation == Interpolation::kHamming)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("resize: torchvision knows bilinear, bicubic and lanczos interpolation, not {}",
                            name_of(resampling.interpolation)));
  }
  if (width == image.width && height == image.height) return copy_region(image, region);
  const Part whole{image};
  const auto left = static_cast<std::size_t>(region.left);
  const auto top = static_cast<std::size_t>(region.top);
  const auto columns = static_cast<std::size_t>(region.width);
  const auto rows = static_cast<std::size_t>(region.height);
  if (height == image.height) {
    return resize_horizontally(whole, make_axis(image.width, width, resampling, region.left, region.width), top, rows);
  }
  const Axis down = make_axis(image.height, height, resampling, region.top, region.height);
  if (width == image.width) return resize_vertically(whole, down, left, columns);

  // The first pass makes only what the second one reads.
  const Axis across = make_axis(image.width, width, resampling, region.left, region.width);
  if (vertical_pass_first(image, width, height, resampling.resizer)) {
    const Image lowered =
        resize_vertically(whole, down, across.first_input(), across.end_input() - across.first_input());
    return resize_horizontally({.image = lowered, .first_column = across.first_input()}, across, 0, rows);
  }
  const Image narrowed = resize_horizontally(whole, across, down.first_input(), down.end_input() - down.first_input());
  return resize_vertically({.image = narrowed, .first_row = down.first_input()}, down, 0, columns);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize_region(image, width, height, {interpolation}, {0, 0, width, height});
}

}  // namespace convnext
