#include "plot/bubbles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "convnext/error.h"
#include "io/file.h"
#include "plot/gnuplot.h"
#include "plot/picture_format.h"

namespace convnext {
namespace {

// Pixels. The font is whatever the reader's sans-serif is, so widths of texts are estimates on the wide side.
constexpr double kEdge = 14, kTitle = 34, kLegendLine = 26, kLegendGap = 18, kLegendTextGap = 5, kLegendRadius = 6,
                 kPanelTitle = 30, kYLabel = 24, kXTicks = 28, kXLabel = 28;
constexpr double kLeft = 58, kGutter = 22, kFieldWidth = 560, kOnlyFieldWidth = 720, kFieldHeight = 430;
constexpr double kLargestRadius = 30, kTickDistance = 44, kMostXTicks = 9;
constexpr double kLetter = 7.3, kLegendLetter = 8.0, kAxisLetter = 8.3, kTitleLetter = 10.0, kNameHeight = 14;
constexpr int kNameFont = 12, kTitleFont = 17, kLegendFont = 13, kPanelFont = 15, kFont = 14;
constexpr std::size_t kLongestName = 32;
// Of the ranges of the values, on both sides: the largest mark on the outermost value is within the field.
constexpr double kRoomX = 0.085, kRoomY = 0.11;

// Of the bubbles that can be drawn.
struct Line {
  std::vector<Bubble> bubbles;
  Colour colour;
  bool hollow;
};

constexpr double opacity_of(bool hollow) { return hollow ? 0.0 : 0.5; }

// A panel in its place.
struct Field {
  const BubblePanel* panel = nullptr;
  std::vector<Line> lines;
  Rectangle box;
  Range x, y;
  bool first = false;  // of its row

  double pixel_x(double value) const { return box.left + box.width * x.place(value, panel->log_x); }
  double pixel_y(double value) const { return box.top + box.height * (1 - y.place(value, /*log=*/false)); }
};

// A disc and what it stands for; without a radius the text alone.
struct LegendItem {
  double x = 0.0;  // of its left end
  double y = 0.0;  // of its middle
  double radius = 0.0;
  double width = 0.0;
  std::string_view rgb;
  double opacity = opacity_of(/*hollow=*/false);
  std::string text;
};

struct Arrangement {
  double width = 0.0;
  double height = 0.0;
  std::vector<LegendItem> legend;
  double area_scale = 0.0;  // radius = area_scale * sqrt(size)
  std::vector<Field> fields;

  double radius(double size) const { return area_scale * std::sqrt(size); }
};

bool drawable_bubble(const Bubble& bubble, bool log_x) {
  return drawable(bubble.x, log_x) && drawable(bubble.y, false) && drawable(bubble.size, true);
}

// At least a factor of 1.5 on a logarithmic axis: what costs nearly the same stands nearly at the same place.
Range spread_out(const Range& range, bool log) {
  constexpr double kLeastFactor = 1.5;
  if (!log || range.high >= kLeastFactor * range.low) return range;
  const double middle = std::sqrt(range.low * range.high), half = std::sqrt(kLeastFactor);
  return {middle / half, middle * half};
}

// Of an x axis. Where it spans too little for several of 1, 2, 5, 10 there are ticks at equal distances.
std::vector<double> x_ticks(const Range& range, bool log) {
  constexpr std::size_t kFew = 3;
  std::vector<double> values = ticks(range, kMostXTicks, log, false);
  return values.size() < kFew ? ticks(range, kMostXTicks, false, false) : values;
}

LegendItem legend_item(double radius, std::string_view rgb, const std::string& name) {
  LegendItem item;
  item.radius = radius;
  item.rgb = rgb;
  item.text = cut_short(name, kLongestName);
  item.width = (radius > 0 ? 2 * radius + kLegendTextGap : 0) + static_cast<double>(letters(item.text)) * kLegendLetter;
  return item;
}

// The families' colours, then the areas together, from `top` on in as many lines as it takes. Gives back where they
// end.
double add_legend(const BubbleChart& chart, const std::vector<std::vector<Field>>& rows, double top,
                  Arrangement& layout) {
  std::vector<std::vector<LegendItem>> groups;  // of what stays on a line
  std::vector<std::string_view> known;
  for (const std::vector<Field>& row : rows) {
    for (const Field& field : row) {
      for (const BubbleFamily& family : field.panel->families) {
        if (family.name.empty() || std::ranges::find(known, family.name) != known.end()) continue;
        known.push_back(family.name);
        groups.push_back({legend_item(kLegendRadius, rgb_of(family.colour), family.name)});
        groups.back().front().opacity = opacity_of(family.hollow);
      }
    }
  }
  if (!chart.sizes.empty()) {
    std::vector<LegendItem>& sizes = groups.emplace_back();
    for (const double size : chart.sizes) {
      sizes.push_back(legend_item(layout.radius(size), "#888888", fmt::format("{:g}", size)));
      sizes.back().opacity = 0.2;
    }
    sizes.push_back(legend_item(0, {}, chart.size_label));
  }
  std::size_t first_of_line = 0;
  double x = kLeft, height = 0;
  const auto end_line = [&] {
    for (std::size_t i = first_of_line; i < layout.legend.size(); ++i) layout.legend[i].y = top + height / 2;
    first_of_line = layout.legend.size();
    top += height;
    x = kLeft;
    height = 0;
  };
  for (const std::vector<LegendItem>& group : groups) {
    double width = 0;
    for (const LegendItem& item : group) width += item.width + kLegendGap;
    if (x > kLeft && x + width - kLegendGap > layout.width - kEdge) end_line();
    for (const LegendItem& item : group) {
      layout.legend.push_back(item);
      layout.legend.back().x = x;
      x += item.width + kLegendGap;
      height = std::max({height, kLegendLine, 2 * item.radius + 4});
    }
  }
  end_line();
  return top;
}

Arrangement layout_of(const BubbleChart& chart) {
  Arrangement layout;
  double largest = 0.0;
  std::size_t columns = 0;
  std::vector<std::vector<Field>> rows;
  for (const std::vector<BubblePanel>& panels : chart.rows) {
    std::vector<Field> row;
    Range y;
    for (const BubblePanel& panel : panels) {
      Field field{.panel = &panel, .lines = {}, .box = {}, .x = {}, .y = {}};
      for (const BubbleFamily& family : panel.families) {
        for (const std::vector<Bubble>& line : family.lines) {
          Line kept{.bubbles = {}, .colour = family.colour, .hollow = family.hollow};
          for (const Bubble& bubble : line) {
            if (!drawable_bubble(bubble, panel.log_x)) continue;
            field.x.include(bubble.x);
            y.include(bubble.y);
            largest = std::max(largest, bubble.size);
            kept.bubbles.push_back(bubble);
          }
          if (!kept.bubbles.empty()) field.lines.push_back(std::move(kept));
        }
      }
      if (field.lines.empty()) continue;
      field.first = row.empty();
      field.x = widened(spread_out(field.x, panel.log_x), kRoomX, panel.log_x);
      row.push_back(std::move(field));
    }
    if (row.empty()) continue;
    // A unit on both sides where all have the same value.
    const Range room = y.low < y.high ? widened(y, kRoomY, /*log=*/false) : Range{y.low - 1, y.high + 1};
    for (Field& field : row) field.y = room;
    columns = std::max(columns, row.size());
    rows.push_back(std::move(row));
  }
  if (rows.empty()) throw Error(ErrorCode::kInvalidArgument, "a chart without a bubble cannot be drawn");

  layout.area_scale = kLargestRadius / std::sqrt(largest);
  const double field_width = columns == 1 ? kOnlyFieldWidth : kFieldWidth;
  layout.width = kLeft + static_cast<double>(columns) * (field_width + kGutter) + kEdge;
  double top = add_legend(chart, rows, kEdge + (chart.title.empty() ? 0 : kTitle), layout);
  for (std::vector<Field>& row : rows) {
    top += kPanelTitle + kYLabel;
    double left = kLeft;
    for (Field& field : row) {
      field.box = {left, top, field_width, kFieldHeight};
      left += field_width + kGutter;
      layout.fields.push_back(std::move(field));
    }
    top += kFieldHeight + kXTicks + kXLabel;
  }
  layout.height = std::ceil(top + kEdge);
  return layout;
}

std::string name_of(const Bubble& bubble) { return cut_short(bubble.name, kLongestName); }

std::vector<Stroke> strokes_of(const Line& line, const Field& field) {
  std::vector<Stroke> strokes;
  for (std::size_t i = 1; i < line.bubbles.size(); ++i) {
    const Bubble &from = line.bubbles[i - 1], &to = line.bubbles[i];
    strokes.push_back({field.pixel_x(from.x), field.pixel_y(from.y), field.pixel_x(to.x), field.pixel_y(to.y)});
  }
  return strokes;
}

std::vector<Stroke> strokes_of(const Field& field) {
  std::vector<Stroke> all;
  for (const Line& line : field.lines) {
    for (const Stroke& stroke : strokes_of(line, field)) all.push_back(stroke);
  }
  return all;
}

std::vector<DrawnBubble> drawn_in(const Field& field, const Arrangement& layout) {
  std::vector<LabelledMark> marks;
  std::vector<DrawnBubble> drawn;
  for (const Line& line : field.lines) {
    for (const Bubble& bubble : line.bubbles) {
      const std::string name = name_of(bubble);
      marks.push_back({.x = field.pixel_x(bubble.x),
                       .y = field.pixel_y(bubble.y),
                       .radius = layout.radius(bubble.size),
                       .label_width = static_cast<double>(letters(name)) * kLetter,
                       .label_height = kNameHeight});
      drawn.push_back({.name = name, .size = bubble.size, .mark = marks.back(), .label = {}});
    }
  }
  const std::vector<PlacedLabel> labels = place_labels(marks, field.box, strokes_of(field));
  for (std::size_t i = 0; i < drawn.size(); ++i) drawn[i].label = labels[i];
  return drawn;
}

// Writes the parts of a script; takes pixels from the upper left corner.
class Script {
 public:
  Script(const std::filesystem::path& path, const Arrangement& layout) : path_(path), layout_(layout) {
    text_ = "set encoding utf8\n" + terminal_for(path, layout.width, layout.height) +
            "unset key\nunset mxtics\nunset mytics\n";
  }

  void line(std::string_view text) { text_.append(text).append("\n"); }
  void raw(const std::string& text) { text_ += text; }

  // `style`: "left tc rgb '#444444'".
  void label(const std::string& text, double x, double y, double font, const std::string& style) {
    text_ += label_script(text, x / layout_.width, 1 - y / layout_.height,
                          fmt::format("{} font ',{:g}'", style, font_size_for(path_, font)));
  }
  void stroke(const Stroke& stroke, std::string_view style) {
    text_ += fmt::format("set arrow from screen {:.6f}, screen {:.6f} to screen {:.6f}, screen {:.6f} nohead {}\n",
                         stroke.from_x / layout_.width, 1 - stroke.from_y / layout_.height, stroke.to_x / layout_.width,
                         1 - stroke.to_y / layout_.height, style);
  }
  // gnuplot takes a circle's radius by the width of the picture.
  void circle(double x, double y, double radius, std::string_view rgb, double opacity) {
    text_ += fmt::format(
        "set object circle at screen {:.6f}, screen {:.6f} size screen {:.6f} front lw 1.2 fillcolor rgb '{}' "
        "fillstyle transparent solid {:.2f} border lc rgb '{}'\n",
        x / layout_.width, 1 - y / layout_.height, radius / layout_.width, rgb, opacity, rgb);
  }
  void margins(const Rectangle& box) {
    text_ += fmt::format(
        "set lmargin at screen {:.6f}\nset rmargin at screen {:.6f}\n"
        "set tmargin at screen {:.6f}\nset bmargin at screen {:.6f}\n",
        box.left / layout_.width, (box.left + box.width) / layout_.width, 1 - box.top / layout_.height,
        1 - (box.top + box.height) / layout_.height);
  }
  std::string text() const { return text_; }

 private:
  const std::filesystem::path& path_;
  const Arrangement& layout_;
  std::string text_;
};

void draw_legend(const Arrangement& layout, Script& script) {
  for (const LegendItem& item : layout.legend) {
    if (item.radius > 0) script.circle(item.x + item.radius, item.y, item.radius, item.rgb, item.opacity);
    const double text = item.x + (item.radius > 0 ? 2 * item.radius + kLegendTextGap : 0.0);
    script.label(item.text, text, item.y, kLegendFont, "left tc rgb '#222222'");
  }
}

void draw_field(const Field& field, const Arrangement& layout, std::size_t index, Script& script) {
  const std::vector<DrawnBubble> drawn = drawn_in(field, layout);
  script.line("unset label\nunset arrow\nunset object");
  script.margins(field.box);
  script.raw(axis_script('x', field.x, field.panel->log_x, x_ticks(field.x, field.panel->log_x)));
  script.raw(axis_script('y', field.y, false, ticks(field.y, kFieldHeight / kTickDistance, false, false)));
  script.line(field.first ? "set format y '%h'" : "set format y ''");

  const Rectangle& box = field.box;
  const auto fitting = [&](double letter) { return static_cast<std::size_t>(box.width / letter); };
  if (!field.panel->title.empty()) {
    script.label(cut_short(field.panel->title, fitting(kAxisLetter)), box.left, box.top - kYLabel - kPanelTitle / 2 + 4,
                 kPanelFont, "left tc rgb '#111111'");
  }
  if (field.first && !field.panel->y_label.empty()) {
    script.label(cut_short(field.panel->y_label, fitting(kAxisLetter)), kEdge, box.top - kYLabel / 2, kFont,
                 "left tc rgb '#444444'");
  }
  if (!field.panel->x_label.empty()) {
    script.label(cut_short(field.panel->x_label, fitting(kAxisLetter)), box.left + box.width / 2,
                 box.top + box.height + kXTicks + kXLabel / 2 - 4, kFont, "center tc rgb '#444444'");
  }

  for (const Line& line : field.lines) {
    for (const Stroke& stroke : strokes_of(line, field)) {
      script.stroke(stroke, fmt::format("back lw 1.2 lc rgb '{}'", rgb_of(line.colour)));
    }
  }
  // Small ones lie on top.
  std::vector<std::pair<const DrawnBubble*, const Line*>> order;
  std::size_t next = 0;
  for (const Line& line : field.lines) {
    for (std::size_t i = 0; i < line.bubbles.size(); ++i) order.emplace_back(&drawn[next++], &line);
  }
  std::ranges::stable_sort(order, [](const auto& a, const auto& b) { return a.first->size > b.first->size; });
  for (const auto& [bubble, line] : order) {
    const LabelledMark& mark = bubble->mark;
    const std::string_view rgb = rgb_of(line->colour);
    script.circle(mark.x, mark.y, mark.radius, rgb, opacity_of(line->hollow));
    if (bubble->name.empty()) continue;
    const Rectangle& name = bubble->label.box;
    if (bubble->label.apart) {
      const double to_x = std::clamp(mark.x, name.left, name.left + name.width);
      const double to_y = std::clamp(mark.y, name.top, name.top + name.height);
      const double part = mark.radius / std::max(std::hypot(to_x - mark.x, to_y - mark.y), mark.radius);
      script.stroke({mark.x + part * (to_x - mark.x), mark.y + part * (to_y - mark.y), to_x, to_y},
                    "back lw 0.8 lc rgb '#999999'");
    }
    script.label(bubble->name, name.left + name.width / 2, name.top + name.height / 2, kNameFont,
                 fmt::format("center front tc rgb '{}'", rgb));
  }

  script.line(fmt::format("$f{} << EOD", index));
  for (const Line& line : field.lines) {
    for (const Bubble& bubble : line.bubbles) {
      script.line(fmt::format("{:.9g} {:.9g} {:.9g}", bubble.x, bubble.y, bubble.size));
    }
  }
  script.line("EOD");
  script.line(fmt::format("plot $f{} using 1:2 with points pt 7 ps 0.2 lc rgb '#444444' notitle", index));
}

}  // namespace

std::vector<DrawnBubble> drawn_bubbles(const BubbleChart& chart) {
  const Arrangement layout = layout_of(chart);
  std::vector<DrawnBubble> all;
  for (const Field& field : layout.fields) {
    for (DrawnBubble& bubble : drawn_in(field, layout)) all.push_back(std::move(bubble));
  }
  return all;
}

std::string bubble_script(const std::filesystem::path& path, const BubbleChart& chart) {
  const Arrangement layout = layout_of(chart);
  Script script(path, layout);
  script.line("set multiplot");
  // An empty plot over the whole picture holds what belongs to no panel.
  script.line("set lmargin at screen 0\nset rmargin at screen 1\nset tmargin at screen 1\nset bmargin at screen 0");
  script.line("unset border\nunset xtics\nunset ytics\nunset grid");
  if (!chart.title.empty()) {
    const auto fitting = static_cast<std::size_t>((layout.width - 2 * kEdge) / kTitleLetter);
    script.label(cut_short(chart.title, fitting), kEdge, kEdge + kTitle / 2 - 4, kTitleFont, "left tc rgb '#111111'");
  }
  draw_legend(layout, script);
  script.line("set xrange [0:1]\nset yrange [0:1]\nplot 2 notitle");
  script.line(
      "set border 3 lw 1 lc rgb '#888888'\n"
      "set grid xtics ytics lt 1 lw 0.7 lc rgb '#e4e4e4'\n"
      "set xtics nomirror out scale 0.5 offset 0,0.3 tc rgb '#444444'\n"
      "set ytics nomirror scale 0 tc rgb '#444444'");
  for (std::size_t i = 0; i < layout.fields.size(); ++i) draw_field(layout.fields[i], layout, i, script);
  script.line("unset multiplot");
  return script.text();
}

void write_bubbles(const std::filesystem::path& path, const BubbleChart& chart) {
  write_file_atomically(path, run_gnuplot(bubble_script(path, chart)));
}

}  // namespace convnext
