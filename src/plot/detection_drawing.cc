#include "plot/detection_drawing.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

#include "convnext/error.h"
#include "plot/axis.h"
#include "plot/outline.h"
#include "plot/text.h"

namespace convnext {
namespace {

constexpr int kMaxSide = 32'767;  // cairo's
constexpr const char* kFont = "sans-serif";

// Parts of the geometric mean of the sides, and the least in pixels.
constexpr double kLinePart = 0.0034, kLeastLine = 1.0;
constexpr double kLettersPart = 0.024, kLeastLetters = 9.0;
constexpr double kLeastReadable = 5.0;  // letters that are lower are left out
constexpr double kMaskOpacity = 0.35, kPlateOpacity = 0.93, kScoreOpacity = 0.85, kShadeOpacity = 0.4;

// In heights of letters.
constexpr double kPlateHeight = 1.36, kPlateMargin = 0.34, kBaseline = 1.02, kScoreGap = 0.32;

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
using Canvas = std::unique_ptr<cairo_t, decltype(&cairo_destroy)>;

struct Rgb {
  double red = 0, green = 0, blue = 0;
};

double gamma_of(double linear) {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
}
double linear_of(double gamma) { return gamma <= 0.04045 ? gamma / 12.92 : std::pow((gamma + 0.055) / 1.055, 2.4); }

// From lightness, chroma and hue as the eye has them (Björn Ottosson's Oklab), before they are cut to what a screen
// shows.
Rgb from_oklch(double lightness, double chroma, double hue) {
  const double a = chroma * std::cos(hue), b = chroma * std::sin(hue);
  const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
  const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
  const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

Rgb colour_of(int class_index) {
  constexpr double kFirstHue = 0.72, kChroma = 0.2;  // an orange-red
  // Hues by the golden angle: however many there are, the next one falls into the widest gap. What comes after a round
  // of them is lighter or darker, too.
  constexpr std::array kLightness = {0.68, 0.78, 0.60};
  const auto index = static_cast<std::size_t>(std::max(class_index, 0));
  const double hue = kFirstHue + static_cast<double>(index) * 2 * std::numbers::pi * (1 - 1 / std::numbers::phi);
  const double lightness = kLightness[index / 2 % kLightness.size()];
  const auto on_screen = [](const Rgb& rgb) {
    const auto is = [](double value) { return value >= -1e-9 && value <= 1 + 1e-9; };
    return is(rgb.red) && is(rgb.green) && is(rgb.blue);
  };
  double chroma = kChroma;
  Rgb rgb = from_oklch(lightness, chroma, hue);
  while (!on_screen(rgb) && chroma > 0) rgb = from_oklch(lightness, chroma -= 0.005, hue);
  const auto shown = [](double linear) { return std::clamp(gamma_of(std::clamp(linear, 0.0, 1.0)), 0.0, 1.0); };
  return {shown(rgb.red), shown(rgb.green), shown(rgb.blue)};
}

// Whether dark letters are read better on it than white ones (WCAG's contrast).
bool wants_dark_letters(const Rgb& colour) {
  const double luminance =
      0.2126 * linear_of(colour.red) + 0.7152 * linear_of(colour.green) + 0.0722 * linear_of(colour.blue);
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05);
}

void set_colour(cairo_t* canvas, const Rgb& rgb, double opacity = 1.0) {
  cairo_set_source_rgba(canvas, rgb.red, rgb.green, rgb.blue, opacity);
}

void check(cairo_status_t status) {
  if (status == CAIRO_STATUS_SUCCESS) return;
  if (status == CAIRO_STATUS_NO_MEMORY) throw std::bad_alloc();
  throw Error(ErrorCode::kUnsupported, fmt::format("cannot draw: {}", cairo_status_to_string(status)));
}

Surface surface_of(const Image& picture) {
  Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, picture.width, picture.height),
                  &cairo_surface_destroy);
  check(cairo_surface_status(surface.get()));
  cairo_surface_flush(surface.get());
  unsigned char* rows = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  const std::uint8_t* from = picture.pixels.data();
  for (int y = 0; y < picture.height; ++y) {
    auto* row = reinterpret_cast<std::uint32_t*>(rows + static_cast<std::ptrdiff_t>(y) * stride);
    for (int x = 0; x < picture.width; ++x, from += 3) {
      row[x] = static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2];
    }
  }
  cairo_surface_mark_dirty(surface.get());
  return surface;
}

Image image_of(cairo_surface_t* surface, int width, int height) {
  cairo_surface_flush(surface);
  const unsigned char* rows = cairo_image_surface_get_data(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  Image image{.width = width, .height = height, .pixels = {}};
  image.pixels.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (int y = 0; y < height; ++y) {
    const auto* row = reinterpret_cast<const std::uint32_t*>(rows + static_cast<std::ptrdiff_t>(y) * stride);
    for (int x = 0; x < width; ++x) {
      for (const int shift : {16, 8, 0}) image.pixels.push_back(static_cast<std::uint8_t>(row[x] >> shift));
    }
  }
  return image;
}

void rounded_path(cairo_t* canvas, const Rectangle& box, double radius) {
  const double r = std::min({radius, box.width / 2, box.height / 2}), quarter = std::numbers::pi / 2;
  const double left = box.left, top = box.top, right = box.left + box.width, bottom = box.top + box.height;
  cairo_new_sub_path(canvas);
  cairo_arc(canvas, right - r, top + r, r, -quarter, 0);
  cairo_arc(canvas, right - r, bottom - r, r, 0, quarter);
  cairo_arc(canvas, left + r, bottom - r, r, quarter, 2 * quarter);
  cairo_arc(canvas, left + r, top + r, r, 2 * quarter, 3 * quarter);
  cairo_close_path(canvas);
}

// A plate's text with what it takes to write it.
struct Label {
  std::string name, score;
  double letters = 0;  // height
  double name_width = 0;
  double width = 0, height = 0;  // of the plate
  bool is_empty() const { return letters == 0; }
};

class Drawing {
 public:
  Drawing(cairo_t* canvas, const Image& picture)
      : canvas_(canvas),
        field_{0, 0, static_cast<double>(picture.width), static_cast<double>(picture.height)},
        line_(std::max(kLeastLine, kLinePart * side())) {
    cairo_set_line_join(canvas_, CAIRO_LINE_JOIN_ROUND);
    cairo_set_fill_rule(canvas_, CAIRO_FILL_RULE_EVEN_ODD);
  }

  void mask(const DrawnObject& object, const Rgb& colour) {
    const BoundingBox bounds = mask_bounds(*object.mask);
    const int left = static_cast<int>(bounds.x), top = static_cast<int>(bounds.y);
    const int width = static_cast<int>(bounds.width), height = static_cast<int>(bounds.height);
    if (width == 0 || height == 0) return;
    const std::vector<std::uint8_t> whole = decode_mask(*object.mask, std::numeric_limits<std::int64_t>::max());
    std::vector<std::uint8_t> part;
    for (int y = top; y < top + height; ++y) {
      const auto row = whole.begin() + static_cast<std::ptrdiff_t>(y) * object.mask->width + left;
      part.insert(part.end(), row, row + width);
    }
    for (const std::vector<Point>& line : outlines_of(part, height, width)) {
      cairo_new_sub_path(canvas_);  // else a line joins it with the one before
      for (const Point& point : line) cairo_line_to(canvas_, left + point.x, top + point.y);
      cairo_close_path(canvas_);
    }
    set_colour(canvas_, colour, kMaskOpacity);
    cairo_fill_preserve(canvas_);
    stroke(colour, 0.75 * line_);
  }

  void box(const DrawnObject& object, const Rgb& colour) {
    Rectangle box = on_picture(object.box);
    if (box.width <= 0 || box.height <= 0) return;
    // The line lies within the box, and so on the picture.
    const double inset = std::min({line_ / 2, box.width / 2, box.height / 2});
    box = {box.left + inset, box.top + inset, box.width - 2 * inset, box.height - 2 * inset};
    rounded_path(canvas_, box, 2 * line_);
    stroke(colour, line_);
  }

  Label label(const DrawnObject& object) {
    Label label{.name = drawable_text(object.name), .score = object.score ? fmt::format("{:.2f}", *object.score) : ""};
    if (label.name.empty() && label.score.empty()) return {};
    label.letters = std::max(kLeastLetters, kLettersPart * side());
    measure(label);
    // A name that is too long for the picture is cut short; where even a few letters do not fit, they get smaller.
    constexpr std::size_t kFewLetters = 6;
    for (std::size_t kept = letters(label.name); label.width > field_.width && kept > kFewLetters;) {
      label.name = cut_short(label.name, --kept);
      measure(label);
    }
    const double fitting = std::min(field_.width / label.width, field_.height / label.height);
    if (fitting < 1) {
      label.letters *= fitting;
      if (label.letters < kLeastReadable) return {};
      measure(label);
    }
    return label;
  }

  // Where the plate of an object goes: off the plates that are there already, and off small objects.
  Rectangle place(const Label& label, const DrawnObject& object, std::span<const DrawnObject> objects,
                  const std::vector<Rectangle>& taken) const {
    const Rectangle box = on_picture(object.box);
    const double right = box.left + box.width - label.width, bottom = box.top + box.height;
    // Above the box, within it, below; at its left side before its right one.
    std::vector<std::pair<double, double>> corners;
    for (const double top : {box.top - label.height, box.top, bottom, bottom - label.height}) {
      corners.emplace_back(box.left, top);
      corners.emplace_back(right, top);
    }
    // Then anywhere down its sides.
    constexpr int kSteps = 12;
    for (int i = 1; i < kSteps; ++i) {
      const double top = box.top + (box.height - label.height) * i / kSteps;
      corners.emplace_back(box.left, top);
      corners.emplace_back(right, top);
    }
    Rectangle best;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < corners.size(); ++i) {
      const Rectangle plate = within_picture({corners[i].first, corners[i].second, label.width, label.height});
      const double area = label.width * label.height;
      const double moved = std::abs(plate.left - corners[i].first) + std::abs(plate.top - corners[i].second);
      double price = 0.01 * static_cast<double>(i) + 0.1 * moved / label.height;
      for (const Rectangle& other : taken) price += 10 * overlap(plate, other) / area;
      for (const DrawnObject& other : objects) {
        const Rectangle hidden = on_picture(other.box);
        price += overlap(plate, hidden) / std::max(1.0, hidden.width * hidden.height);
      }
      if (price >= least) continue;
      least = price;
      best = plate;
    }
    return best;
  }

  void plate(const Label& label, const Rectangle& plate, const Rgb& colour) {
    rounded_path(canvas_, plate, 0.22 * label.height);
    set_colour(canvas_, colour, kPlateOpacity);
    cairo_fill(canvas_);
    const Rgb ink = wants_dark_letters(colour) ? Rgb{0.06, 0.06, 0.08} : Rgb{1, 1, 1};
    const double left = plate.left + kPlateMargin * label.letters, base = plate.top + kBaseline * label.letters;
    set_colour(canvas_, ink);
    write(label.name, left, base, label.letters, CAIRO_FONT_WEIGHT_BOLD);
    const double gap = label.name.empty() ? 0 : kScoreGap * label.letters;
    set_colour(canvas_, ink, kScoreOpacity);
    write(label.score, left + label.name_width + gap, base, label.letters, CAIRO_FONT_WEIGHT_NORMAL);
  }

 private:
  double side() const { return std::sqrt(field_.width * field_.height); }

  // The path in its colour, on a wider and darker one that sets it off from whatever it crosses.
  void stroke(const Rgb& colour, double width) {
    cairo_set_line_width(canvas_, width + line_);
    cairo_set_source_rgba(canvas_, 0, 0, 0, kShadeOpacity);
    cairo_stroke_preserve(canvas_);
    cairo_set_line_width(canvas_, width);
    set_colour(canvas_, colour);
    cairo_stroke(canvas_);
  }

  void choose_font(double letters, cairo_font_weight_t weight) {
    cairo_select_font_face(canvas_, kFont, CAIRO_FONT_SLANT_NORMAL, weight);
    cairo_set_font_size(canvas_, letters);
  }
  double width_of(const std::string& text, double letters, cairo_font_weight_t weight) {
    choose_font(letters, weight);
    cairo_text_extents_t extents{};
    cairo_text_extents(canvas_, text.c_str(), &extents);
    return extents.x_advance;
  }
  void write(const std::string& text, double left, double base, double letters, cairo_font_weight_t weight) {
    choose_font(letters, weight);
    cairo_move_to(canvas_, left, base);
    cairo_show_text(canvas_, text.c_str());
    cairo_new_path(canvas_);
  }

  void measure(Label& label) {
    label.name_width = width_of(label.name, label.letters, CAIRO_FONT_WEIGHT_BOLD);
    const double score = width_of(label.score, label.letters, CAIRO_FONT_WEIGHT_NORMAL);
    const double gap = label.name.empty() || label.score.empty() ? 0 : kScoreGap * label.letters;
    label.width = label.name_width + gap + score + 2 * kPlateMargin * label.letters;
    label.height = kPlateHeight * label.letters;
  }

  Rectangle on_picture(const Rectangle& box) const {
    const double left = std::clamp(box.left, 0.0, field_.width), top = std::clamp(box.top, 0.0, field_.height);
    return {left, top, std::clamp(box.left + box.width, 0.0, field_.width) - left,
            std::clamp(box.top + box.height, 0.0, field_.height) - top};
  }
  Rectangle within_picture(Rectangle plate) const {
    plate.left = std::clamp(plate.left, 0.0, std::max(0.0, field_.width - plate.width));
    plate.top = std::clamp(plate.top, 0.0, std::max(0.0, field_.height - plate.height));
    return plate;
  }

  cairo_t* canvas_;
  Rectangle field_;
  double line_;  // width
};

}  // namespace

std::array<std::uint8_t, 3> class_colour(int class_index) {
  const Rgb rgb = colour_of(class_index);
  const auto byte = [](double value) { return static_cast<std::uint8_t>(std::lround(255 * value)); };
  return {byte(rgb.red), byte(rgb.green), byte(rgb.blue)};
}

Image draw_objects(const Image& picture, std::span<const DrawnObject> objects) {
  const std::size_t values = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) * 3;
  if (picture.width < 1 || picture.height < 1 || picture.pixels.size() != values) {
    throw Error(ErrorCode::kInvalidArgument, "there is nothing to draw on: the picture has no pixels");
  }
  if (picture.width > kMaxSide || picture.height > kMaxSide) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a picture of {}x{} pixels is too large to be drawn on: a side has {} at most",
                            picture.width, picture.height, kMaxSide));
  }
  for (const DrawnObject& object : objects) {
    if (!object.mask || (object.mask->width == picture.width && object.mask->height == picture.height)) continue;
    throw Error(ErrorCode::kMismatch, fmt::format("a mask of {}x{} pixels on a picture of {}x{}", object.mask->width,
                                                  object.mask->height, picture.width, picture.height));
  }
  // Lowest first: what is drawn last lies on top.
  std::vector<std::size_t> order(objects.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return objects[i].score.value_or(0); });

  const Surface surface = surface_of(picture);
  const Canvas canvas(cairo_create(surface.get()), &cairo_destroy);
  Drawing drawing(canvas.get(), picture);
  for (const std::size_t i : order) {
    if (objects[i].mask) drawing.mask(objects[i], colour_of(objects[i].class_index));
  }
  for (const std::size_t i : order) drawing.box(objects[i], colour_of(objects[i].class_index));
  std::vector<Label> labels(objects.size());
  std::vector<Rectangle> plates(objects.size()), taken;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    labels[*i] = drawing.label(objects[*i]);
    if (labels[*i].is_empty()) continue;
    plates[*i] = drawing.place(labels[*i], objects[*i], objects, taken);
    taken.push_back(plates[*i]);
  }
  for (const std::size_t i : order) {
    if (!labels[i].is_empty()) drawing.plate(labels[i], plates[i], colour_of(objects[i].class_index));
  }
  check(cairo_status(canvas.get()));
  return image_of(surface.get(), picture.width, picture.height);
}

}  // namespace convnext
