#include "image/pixel_operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "convnext/error.h"

// Floating point: each operation below is rounded as it stands, in Pillow's order. A compiler that fuses a product and
// a sum changes last bits, so this file is compiled without contraction.

namespace convnext {
namespace {

constexpr std::size_t kChannels = 3;

std::size_t row_bytes(const Image& image) { return static_cast<std::size_t>(image.width) * kChannels; }
std::size_t rows(const Image& image) { return static_cast<std::size_t>(image.height); }

void check(const Image& image) {
  if (image.width < 1 || image.height < 1 || image.pixels.size() != row_bytes(image) * rows(image)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("augmentation: a picture of {} x {} with {} bytes",
                                                         image.width, image.height, image.pixels.size()));
  }
}

Image same_size(const Image& image) {
  return {image.width, image.height, std::vector<std::uint8_t>(image.pixels.size())};
}

// ---- tables ---------------------------------------------------------------------------------------------------------

using Table = std::array<std::uint8_t, 256>;

template <typename Function>
constexpr Table table_of(const Function& function) {
  Table table{};
  for (int value = 0; value < 256; ++value) {
    table[static_cast<std::size_t>(value)] = static_cast<std::uint8_t>(function(value));
  }
  return table;
}

constexpr Table kIdentity = table_of([](int value) { return value; });

Image look_up(const Image& image, const std::array<Table, kChannels>& tables) {
  Image out = same_size(image);
  const std::uint8_t* const from = image.pixels.data();
  std::uint8_t* const to = out.pixels.data();
  for (std::size_t i = 0; i < image.pixels.size(); i += kChannels) {
    for (std::size_t c = 0; c < kChannels; ++c) to[i + c] = tables[c][from[i + c]];
  }
  return out;
}

Image look_up(const Image& image, const Table& table) {
  check(image);
  return look_up(image, {table, table, table});
}

using Histogram = std::array<std::int64_t, 256>;

std::array<Histogram, kChannels> histograms(const Image& image) {
  check(image);
  std::array<Histogram, kChannels> counts{};
  for (std::size_t i = 0; i < image.pixels.size(); i += kChannels) {
    for (std::size_t c = 0; c < kChannels; ++c) ++counts[c][image.pixels[i + c]];
  }
  return counts;
}

Table contrast_table(const Histogram& histogram) {
  const auto present = [](std::int64_t count) { return count != 0; };
  const auto low = std::find_if(histogram.begin(), histogram.end(), present) - histogram.begin();
  const auto high = histogram.rend() - std::find_if(histogram.rbegin(), histogram.rend(), present) - 1;
  if (high <= low) return kIdentity;
  const double scale = 255.0 / static_cast<double>(high - low);
  const double offset = -static_cast<double>(low) * scale;
  return table_of([&](int value) { return std::clamp(static_cast<int>(value * scale + offset), 0, 255); });
}

Table equalizing_table(const Histogram& histogram) {
  std::int64_t total = 0;
  std::int64_t brightest = 0;  // how often the brightest value occurs
  for (const std::int64_t count : histogram) {
    total += count;
    if (count != 0) brightest = count;
  }
  const std::int64_t step = (total - brightest) / 255;
  if (step == 0) return kIdentity;
  std::int64_t below = step / 2;
  return table_of([&](int value) {
    const std::int64_t level = std::min<std::int64_t>(below / step, 255);
    below += histogram[static_cast<std::size_t>(value)];
    return level;
  });
}

template <typename MakeTable>
Image look_up_each(const Image& image, const MakeTable& make_table) {
  const auto counts = histograms(image);
  return look_up(image, {make_table(counts[0]), make_table(counts[1]), make_table(counts[2])});
}

// ---- blending -------------------------------------------------------------------------------------------------------

float blend_factor(double factor, const char* operation) {
  if (!std::isfinite(factor)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: factor is {}, expected a finite one", operation, factor));
  }
  return static_cast<float>(factor);
}

// From `degenerate` by `factor` of the way to `value`, cut to a whole number, not rounded.
std::uint8_t blend(int degenerate, int value, float factor) {
  const float mixed = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  const float positive = mixed > 0.0f ? mixed : 0.0f;
  return static_cast<std::uint8_t>(static_cast<int>(positive < 255.0f ? positive : 255.0f));
}

void blend(const std::uint8_t* degenerate, const std::uint8_t* values, float factor, std::size_t count,
           std::uint8_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = blend(degenerate[i], values[i], factor);
}

// ITU-R 601 luma in 16-bit fixed point, rounded.
std::uint8_t luma(const std::uint8_t* pixel) {
  return static_cast<std::uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
}

// The weights 1, 1, 1 / 1, 5, 1 / 1, 1, 1 over 13. Pillow adds in float32 and rounds; a sum of bytes over 13 is never
// nearer than 1/26 to where rounding changes, so that whole numbers give the same.
void smooth(const std::uint8_t* above, const std::uint8_t* row, const std::uint8_t* below, std::size_t values,
            std::uint8_t* out) {
  std::copy_n(row, kChannels, out);
  for (std::size_t i = kChannels; i < values - kChannels; ++i) {
    const int before = above[i - kChannels] + row[i - kChannels] + below[i - kChannels];
    const int after = above[i + kChannels] + row[i + kChannels] + below[i + kChannels];
    const int sum = before + above[i] + 5 * row[i] + below[i] + after;
    out[i] = static_cast<std::uint8_t>((2 * static_cast<unsigned>(sum) + 13) / 26);
  }
  std::copy_n(row + values - kChannels, kChannels, out + values - kChannels);
}

// ---- affine transform -----------------------------------------------------------------------------------------------

// What the samplers below read: a pixel of the picture by its coordinates.
class Source {
 public:
  explicit Source(const Image& image)
      : pixels_(image.pixels.data()), stride_(row_bytes(image)), right_(image.width - 1), bottom_(image.height - 1) {}

  const std::uint8_t* row(int y) const {
    return pixels_ + static_cast<std::size_t>(std::clamp(y, 0, bottom_)) * stride_;
  }
  std::size_t column(int x) const { return static_cast<std::size_t>(std::clamp(x, 0, right_)) * kChannels; }
  bool contains(double x, double y) const { return x >= 0.0 && x < right_ + 1 && y >= 0.0 && y < bottom_ + 1; }

 private:
  const std::uint8_t* pixels_;
  std::size_t stride_;
  int right_;
  int bottom_;
};

// A coordinate as the pixel whose centre lies at or before it, and the way on to the next.
struct Place {
  explicit Place(double coordinate) {
    const double from_centre = coordinate - 0.5;
    pixel = from_centre < 0.0 ? -1 : static_cast<int>(from_centre);
    fraction = from_centre - pixel;
  }
  int pixel;
  double fraction;
};

void sample_bilinear(const Source& source, double x, double y, std::uint8_t* to) {
  const Place across(x);
  const Place down(y);
  const std::uint8_t* const upper = source.row(down.pixel);
  const std::uint8_t* const lower = source.row(down.pixel + 1);
  const std::size_t left = source.column(across.pixel);
  const std::size_t right = source.column(across.pixel + 1);
  for (std::size_t c = 0; c < kChannels; ++c) {
    const double first = upper[left + c] + (upper[right + c] - upper[left + c]) * across.fraction;
    const double second = lower[left + c] + (lower[right + c] - lower[left + c]) * across.fraction;
    to[c] = static_cast<std::uint8_t>(static_cast<int>(first + (second - first) * down.fraction));
  }
}

template <typename Value>
double cubic(Value v1, Value v2, Value v3, Value v4, double d) {
  const double p1 = v2;
  const double p2 = -v1 + v3;
  const double p3 = 2 * (v1 - v2) + v3 - v4;
  const double p4 = -v1 + v2 - v3 + v4;
  return p1 + d * (p2 + d * (p3 + d * p4));
}

// Where the fraction is 0 the polynomial is the pixel itself. Shears and translations have it so on one axis at every
// pixel, which leaves them a quarter of the work.
void sample_bicubic(const Source& source, double x, double y, std::uint8_t* to) {
  const Place across(x);
  const Place down(y);
  std::array<const std::uint8_t*, 4> row;
  std::array<std::size_t, 4> column;
  for (int k = 0; k < 4; ++k) {
    row[static_cast<std::size_t>(k)] = source.row(down.pixel - 1 + k);
    column[static_cast<std::size_t>(k)] = source.column(across.pixel - 1 + k);
  }
  for (std::size_t c = 0; c < kChannels; ++c) {
    const auto along = [&](std::size_t k) -> double {
      const std::uint8_t* const values = row[k] + c;
      if (across.fraction == 0.0) return values[column[1]];
      return cubic<int>(values[column[0]], values[column[1]], values[column[2]], values[column[3]], across.fraction);
    };
    const double value =
        down.fraction == 0.0 ? along(1) : cubic<double>(along(0), along(1), along(2), along(3), down.fraction);
    to[c] = static_cast<std::uint8_t>(static_cast<int>(std::clamp(value, 0.0, 255.0)));
  }
}

template <void (*sample)(const Source&, double x, double y, std::uint8_t* to)>
void transform_smoothly(const Image& image, const AffineMatrix& matrix, Image& out) {
  const Source source(image);
  std::uint8_t* to = out.pixels.data();
  for (int row = 0; row < out.height; ++row) {
    const double y = row + 0.5;
    for (int column = 0; column < out.width; ++column, to += kChannels) {
      const double x = column + 0.5;
      const double from_x = matrix.a * x + matrix.b * y + matrix.c;
      const double from_y = matrix.d * x + matrix.e * y + matrix.f;
      if (source.contains(from_x, from_y)) sample(source, from_x, from_y, to);
    }
  }
}

// Pillow has three ways to the nearest pixel, which round differently: by columns and rows where the matrix only
// scales, in 16.16 fixed point where the coordinates fit, and by repeated addition.
void transform_to_nearest(const Image& image, const AffineMatrix& matrix, Image& out) {
  const Source source(image);
  std::uint8_t* to = out.pixels.data();
  const auto take = [&](std::int64_t x, std::int64_t y) {
    if (x >= 0 && x < image.width && y >= 0 && y < image.height) {
      const std::uint8_t* const from = source.row(static_cast<int>(y)) + source.column(static_cast<int>(x));
      for (std::size_t c = 0; c < kChannels; ++c) to[c] = from[c];
    }
    to += kChannels;
  };
  const auto pixel_at = [](double coordinate, int size) {
    return coordinate >= 0.0 && coordinate < size ? static_cast<int>(coordinate) : -1;
  };

  if (matrix.b == 0 && matrix.d == 0) {
    std::vector<int> columns;
    double x = matrix.c + matrix.a * 0.5;
    for (int column = 0; column < out.width; ++column, x += matrix.a) columns.push_back(pixel_at(x, image.width));
    double y = matrix.f + matrix.e * 0.5;
    for (int row = 0; row < out.height; ++row, y += matrix.e) {
      const int from_row = pixel_at(y, image.height);
      for (const int from_column : columns) take(from_column, from_row);
    }
    return;
  }

  const auto fits = [&](double x, double y) {
    return std::fabs(x * matrix.a + y * matrix.b + matrix.c) < 32768.0 &&
           std::fabs(x * matrix.d + y * matrix.e + matrix.f) < 32768.0;
  };
  if (fits(0, 0) && fits(out.width, out.height) && fits(0, out.height) && fits(out.width, 0)) {
    const auto fixed = [](double value) { return static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5)); };
    const std::int64_t a = fixed(matrix.a), b = fixed(matrix.b), d = fixed(matrix.d), e = fixed(matrix.e);
    std::int64_t first_x = fixed(matrix.c + matrix.a * 0.5 + matrix.b * 0.5);
    std::int64_t first_y = fixed(matrix.f + matrix.d * 0.5 + matrix.e * 0.5);
    for (int row = 0; row < out.height; ++row, first_x += b, first_y += e) {
      std::int64_t x = first_x;
      std::int64_t y = first_y;
      for (int column = 0; column < out.width; ++column, x += a, y += d) take(x >> 16, y >> 16);
    }
    return;
  }

  double first_x = matrix.c + matrix.b * 0.5 + matrix.a * 0.5;
  double first_y = matrix.f + matrix.e * 0.5 + matrix.d * 0.5;
  for (int row = 0; row < out.height; ++row, first_x += matrix.b, first_y += matrix.e) {
    double x = first_x;
    double y = first_y;
    for (int column = 0; column < out.width; ++column, x += matrix.a, y += matrix.d) {
      take(pixel_at(x, image.width), pixel_at(y, image.height));
    }
  }
}

// Python's round(value, 15): the nearest decimal of the exact binary value.
double round_to_15_places(double value) {
  std::array<char, 32> text;
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, 15);
  double rounded = 0;
  std::from_chars(text.data(), written.ptr, rounded);
  return rounded;
}

// An index outside [0, size) mirrored into it.
int reflect(int index, int size) {
  const int period = std::max(2 * (size - 1), 1);
  const int inside = std::abs(index) % period;
  return std::min(inside, period - inside);
}

}  // namespace

Image auto_contrast(const Image& image) { return look_up_each(image, contrast_table); }

Image equalize(const Image& image) { return look_up_each(image, equalizing_table); }

Image invert(const Image& image) {
  return look_up(image, table_of([](int value) { return 255 - value; }));
}

Image posterize(const Image& image, int bits) {
  const int dropped = 8 - std::clamp(bits, 0, 8);
  return look_up(image, table_of([&](int value) { return value >> dropped << dropped; }));
}

Image solarize(const Image& image, int threshold) {
  return look_up(image, table_of([&](int value) { return value < threshold ? value : 255 - value; }));
}

Image solarize_add(const Image& image, int amount, int threshold) {
  const int added = std::clamp(amount, 0, 255);
  return look_up(image, table_of([&](int value) { return value < threshold ? std::min(255, value + added) : value; }));
}

Image enhance_color(const Image& image, double factor) {
  check(image);
  const float by = blend_factor(factor, "color");
  Image out = same_size(image);
  const std::size_t stride = row_bytes(image);
  std::vector<std::uint8_t> grey(stride);
  for (std::size_t start = 0; start < image.pixels.size(); start += stride) {
    const std::uint8_t* const row = image.pixels.data() + start;
    for (std::size_t i = 0; i < stride; i += kChannels) grey[i] = grey[i + 1] = grey[i + 2] = luma(row + i);
    blend(grey.data(), row, by, stride, out.pixels.data() + start);
  }
  return out;
}

Image enhance_contrast(const Image& image, double factor) {
  check(image);
  const float by = blend_factor(factor, "contrast");
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += kChannels) sum += luma(image.pixels.data() + i);
  const std::size_t pixels = image.pixels.size() / kChannels;
  const double mean = static_cast<double>(sum) / static_cast<double>(pixels);
  const int grey = static_cast<int>(std::floor(mean + 0.5));
  return look_up(image, table_of([&](int value) { return blend(grey, value, by); }));
}

Image enhance_brightness(const Image& image, double factor) {
  const float by = blend_factor(factor, "brightness");
  return look_up(image, table_of([&](int value) { return blend(0, value, by); }));
}

Image enhance_sharpness(const Image& image, double factor) {
  check(image);
  const float by = blend_factor(factor, "sharpness");
  Image out = image;
  const std::size_t stride = row_bytes(image);
  std::vector<std::uint8_t> smoothed(stride);
  for (std::size_t y = 1; y < rows(image) - 1; ++y) {
    const std::uint8_t* const row = image.pixels.data() + y * stride;
    smooth(row - stride, row, row + stride, stride, smoothed.data());
    blend(smoothed.data(), row, by, stride, out.pixels.data() + y * stride);
  }
  return out;
}

Image flip_horizontally(const Image& image) {
  check(image);
  Image out = same_size(image);
  const std::size_t stride = row_bytes(image);
  for (std::size_t start = 0; start < image.pixels.size(); start += stride) {
    const std::uint8_t* from = image.pixels.data() + start;
    std::uint8_t* to = out.pixels.data() + start + stride;
    for (int x = 0; x < image.width; ++x, from += kChannels) {
      to -= kChannels;
      const Rgb pixel = {from[0], from[1], from[2]};
      std::copy(pixel.begin(), pixel.end(), to);
    }
  }
  return out;
}

Image shift(const Image& image, int dx, int dy, ShiftPadding padding) {
  check(image);
  Image out = same_size(image);
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x, to += kChannels) {
      int from_x = x + dx;
      int from_y = y + dy;
      if (padding == ShiftPadding::kReflection) {
        from_x = reflect(from_x, image.width);
        from_y = reflect(from_y, image.height);
      } else if (from_x < 0 || from_x >= image.width || from_y < 0 || from_y >= image.height) {
        continue;
      }
      const std::size_t from = static_cast<std::size_t>(from_y) * row_bytes(image);
      std::copy_n(&image.pixels[from + static_cast<std::size_t>(from_x) * kChannels], kChannels, to);
    }
  }
  return out;
}

Image crop(const Image& image, const Region& region) {
  return resize_region(image, image.width, image.height, {Interpolation::kBox}, region);
}

Image resized_crop(const Image& image, const Region& region, int width, int height, Interpolation interpolation) {
  return resize(crop(image, region), width, height, interpolation);
}

Image affine(const Image& image, const AffineMatrix& matrix, AffineFilter filter, Rgb fill) {
  check(image);
  for (const double entry : {matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f}) {
    if (!std::isfinite(entry)) {
      throw Error(ErrorCode::kInvalidArgument, fmt::format("affine: {} in the matrix, expected finite ones", entry));
    }
  }
  Image out = same_size(image);
  for (std::size_t i = 0; i < out.pixels.size(); i += kChannels) std::copy(fill.begin(), fill.end(), &out.pixels[i]);
  switch (filter) {
    case AffineFilter::kNearest:
      transform_to_nearest(image, matrix, out);
      return out;
    case AffineFilter::kBilinear:
      transform_smoothly<sample_bilinear>(image, matrix, out);
      return out;
    case AffineFilter::kBicubic:
      transform_smoothly<sample_bicubic>(image, matrix, out);
      return out;
  }
  throw std::logic_error("affine: not an AffineFilter");
}

AffineMatrix shear_x(double factor) { return {.b = factor}; }
AffineMatrix shear_y(double factor) { return {.d = factor}; }
AffineMatrix translate_x(double pixels) { return {.c = pixels}; }
AffineMatrix translate_y(double pixels) { return {.f = pixels}; }

AffineMatrix rotation(const Image& image, double degrees) {
  double angle = std::fmod(degrees, 360.0);
  if (angle < 0) angle += 360.0;
  angle *= -(std::numbers::pi / 180.0);
  const double cosine = round_to_15_places(std::cos(angle));
  const double sine = round_to_15_places(std::sin(angle));
  const double x = image.width / 2.0;
  const double y = image.height / 2.0;
  return {.a = cosine,
          .b = sine,
          .c = cosine * -x + sine * -y + x,
          .d = -sine,
          .e = cosine,
          .f = -sine * -x + cosine * -y + y};
}

}  // namespace convnext
