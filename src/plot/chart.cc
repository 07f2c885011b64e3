#include "plot/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "convnext/error.h"
#include "io/file.h"
#include "plot/gnuplot.h"

namespace convnext {
namespace {

// Pixels. The font is whatever the reader's sans-serif is, so widths of texts are estimates on the wide side.
constexpr double kWidth = 860, kLeft = 78, kRightWithoutNames = 28;
constexpr double kTitle = 34, kYLabel = 26, kXTicks = 30, kXLabel = 26, kEdge = 10;
constexpr double kMostXTicks = 11, kYTickDistance = 30;
constexpr int kFont = 14, kTitleFont = 17;
constexpr double kLetter = 8.3, kTitleLetter = 10.0, kNameLine = 18, kNameGap = 10;
constexpr std::size_t kLongestName = 32;
constexpr std::size_t kFewPoints = 40;  // up to here each point is marked, so that a line of one is seen

constexpr std::array<const char*, 6> kColours = {"#1f5fa8", "#d9690a", "#6b6b6b", "#2a8a57", "#7a4fa3", "#b3261e"};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Where `value` lies, from 0 to 1.
  double place(double value, bool log) const {
    return log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  }
};

// Room around the values: `part` of their range on both sides, and something where they are all nearly the same.
Range widened(Range range, double part, bool log) {
  constexpr double kNearlyTheSame = 1e-9;
  if (log) {
    const double decades = std::log10(range.high) - std::log10(range.low);
    const double ratio = std::pow(10, decades > kNearlyTheSame ? part * decades : 0.3);
    return {range.low / ratio, range.high * ratio};
  }
  const double span = range.high - range.low, largest = std::max(std::fabs(range.low), std::fabs(range.high));
  const double room = span > kNearlyTheSame * largest ? part * span : std::max(0.5 * largest, 0.5);
  return {range.low - room, range.high + room};
}

// False for NaN too.
bool drawable(double value, bool log) {
  constexpr double kLargest = 1e100;  // so that no range of them overflows
  return std::fabs(value) <= kLargest && (!log || value >= 1 / kLargest);
}

std::vector<Point> drawable(const std::vector<Point>& points, bool log_x, bool log_y) {
  std::vector<Point> kept;
  for (const Point& point : points) {
    if (drawable(point.x, log_x) && drawable(point.y, log_y)) kept.push_back(point);
  }
  return kept;
}

// At most `letters` letters of UTF-8, the last a "…" where some are missing.
std::string cut_short(const std::string& text, std::size_t letters) {
  std::size_t count = 0, end_of_kept = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_letter = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (begins_letter && ++count == letters) end_of_kept = i;
  }
  return count > letters ? text.substr(0, end_of_kept) + "…" : text;
}

std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// At most about `most` round numbers within the range: multiples of 1, 2 or 5 times a power of ten, or on a logarithmic
// axis these numbers themselves, as far as they are not too many.
std::vector<double> ticks(const Range& range, double most, bool log, bool whole) {
  std::vector<double> values;
  if (log) {
    const double decades = std::log10(range.high) - std::log10(range.low);
    const int every = std::max(1, static_cast<int>(std::ceil(decades / most)));  // decades between ticks
    const bool between = decades * 3 <= most;
    for (double power = every * std::floor(std::log10(range.low) / every); power <= std::log10(range.high);
         power += every) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        const double value = factor * std::pow(10, power);
        if ((between || factor == 1.0) && value >= range.low && value <= range.high) values.push_back(value);
      }
    }
    return values;
  }
  const double least = (range.high - range.low) / most;
  const double power = std::pow(10, std::floor(std::log10(least)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= least) step = factor * power;
  }
  if (whole) step = std::max(step, 1.0);
  for (double i = std::ceil(range.low / step); i * step <= range.high; ++i) {
    values.push_back(i * step + 0.0);  // + 0.0: no "-0"
  }
  return values;
}

// One chart in its place.
class Panel {
 public:
  Panel(const Chart& chart, bool log_x) : chart_(chart), log_x_(log_x) {
    Range y;
    for (const Series& series : chart.series) {
      std::vector<Point> points = drawable(series.points, log_x, chart.log_y);
      if (points.empty()) continue;
      for (const Point& point : points) y.include(point.y);
      lines_.push_back({&series, std::move(points)});
    }
    y_range_ = widened(y, 0.06, chart.log_y);
    const auto names = static_cast<double>(
        std::count_if(lines_.begin(), lines_.end(), [](const Line& line) { return !line.series->name.empty(); }));
    field_height_ = std::max({static_cast<double>(chart.height), names * kNameLine, 60.0});
  }

  bool empty() const { return lines_.empty(); }
  const Chart& chart() const { return chart_; }

  void extend(Range& x_range) const {
    for (const Line& line : lines_) {
      for (const Point& point : line.points) x_range.include(point.x);
    }
  }

  double header_height() const {
    return kEdge + (chart_.title.empty() ? 0 : kTitle) + (chart_.y_label.empty() ? 0 : kYLabel);
  }
  double height() const { return header_height() + field_height_; }

  // What the longest name needs right of the field.
  double width_of_names() const {
    std::size_t longest = 0;
    for (const Line& line : lines_) longest = std::max(longest, std::min(letters(line.series->name), kLongestName));
    return longest == 0 ? kRightWithoutNames : static_cast<double>(longest) * kLetter + kNameGap + kEdge;
  }

  // The lines' points; `index` tells the panels' data apart.
  std::string data(std::size_t index) const {
    std::string script;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      script += fmt::format("$p{}_{} << EOD\n", index, i);
      for (const Point& point : lines_[i].points) script += fmt::format("{:.9g} {:.9g}\n", point.x, point.y);
      script += "EOD\n";
    }
    return script;
  }

  // Draws it with its upper edge `top` pixels below that of the picture.
  std::string draw(std::size_t index, double top, double right_margin, double picture_height, const Range& x_range,
                   bool last) const {
    const double field_top = top + header_height(), field_bottom = field_top + field_height_;
    const auto from_bottom = [&](double y) { return 1 - y / picture_height; };
    std::string script = "unset label\n";
    script += fmt::format("set lmargin at screen {:.6f}\nset rmargin at screen {:.6f}\n", kLeft / kWidth,
                          1 - right_margin / kWidth);
    script += fmt::format("set tmargin at screen {:.6f}\nset bmargin at screen {:.6f}\n", from_bottom(field_top),
                          from_bottom(field_bottom));
    script += axis('x', x_range, log_x_, ticks(x_range, kMostXTicks, log_x_, chart_.whole_x));
    script += axis('y', y_range_, chart_.log_y, ticks(y_range_, field_height_ / kYTickDistance, chart_.log_y, false));
    script += last ? "set format x '%h'\n" : "set format x ''\n";

    double text = top + kEdge;
    const auto fitting = [](double letter) { return static_cast<std::size_t>((kWidth - 2 * kEdge) / letter); };
    if (!chart_.title.empty()) {
      script += label(cut_short(chart_.title, fitting(kTitleLetter)), kEdge / kWidth, from_bottom(text + kTitle / 2),
                      fmt::format("left font ',{}' tc rgb '#111111'", kTitleFont));
      text += kTitle;
    }
    if (!chart_.y_label.empty()) {
      script += label(cut_short(chart_.y_label, fitting(kLetter)), kEdge / kWidth, from_bottom(text + kYLabel / 2 - 3),
                      "left tc rgb '#444444'");
    }
    if (last && !chart_.x_label.empty()) {
      script +=
          label(cut_short(chart_.x_label, fitting(kLetter)), (kLeft + (kWidth - right_margin - kLeft) / 2) / kWidth,
                from_bottom(field_bottom + kXTicks + kXLabel / 2), "center tc rgb '#444444'");
    }
    const std::vector<double> heights = name_heights();
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].series->name.empty()) continue;
      script += label(cut_short(lines_[i].series->name, kLongestName), 1 - (right_margin - kNameGap) / kWidth,
                      from_bottom(field_bottom - heights[i]), fmt::format("left tc rgb '{}'", colour(i)));
    }
    return script + plot(index);
  }

 private:
  struct Line {
    const Series* series;
    std::vector<Point> points;
  };

  static std::string axis(char name, const Range& range, bool log, const std::vector<double>& ticks) {
    return fmt::format("{0} logscale {1}\nset {1}range [{2:.9g}:{3:.9g}]\nset {1}tics ({4:.9g})\n",
                       log ? "set" : "unset", name, range.low, range.high, fmt::join(ticks, ", "));
  }

  static std::string label(const std::string& text, double x, double y, const std::string& style) {
    return fmt::format("set label {} at screen {:.6f}, screen {:.6f} noenhanced {}\n", gnuplot_string(text), x, y,
                       style);
  }

  const char* colour(std::size_t line) const {
    const std::size_t place =
        lines_[line].series->colour ? static_cast<std::size_t>(*lines_[line].series->colour) : line % kColours.size();
    return kColours[place];
  }

  // Above the field's lower edge, a height for each line's name: beside its last point, or as near as it can be without
  // touching another name.
  std::vector<double> name_heights() const {
    std::vector<double> heights(lines_.size());
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      heights[i] = field_height_ * y_range_.place(lines_[i].points.back().y, chart_.log_y);
      if (!lines_[i].series->name.empty()) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return heights[a] < heights[b]; });
    double lowest = kNameLine / 2;
    for (const std::size_t i : order) {
      heights[i] = std::max(heights[i], lowest);
      lowest = heights[i] + kNameLine;
    }
    double highest = field_height_ - kNameLine / 2;
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      heights[*it] = std::min(heights[*it], highest);
      highest = heights[*it] - kNameLine;
    }
    return heights;
  }

  std::string plot(std::size_t index) const {
    std::string script = "plot ";
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const bool marked = lines_[i].points.size() <= kFewPoints;
      // Colours come round again after six lines; the next six are dashed.
      script += fmt::format("{}$p{}_{} using 1:2 with {} lw 2 dt {} lc rgb '{}' notitle", i > 0 ? ", " : "", index, i,
                            marked ? "linespoints pt 7 ps 0.45" : "lines", i < kColours.size() ? 1 : 2, colour(i));
    }
    return script + "\n";
  }

  const Chart& chart_;
  const bool log_x_;
  Range y_range_;
  std::vector<Line> lines_;
  double field_height_ = 0.0;
};

}  // namespace

std::string chart_script(std::span<const Chart> charts) {
  const bool log_x = std::any_of(charts.begin(), charts.end(), [](const Chart& chart) { return chart.log_x; });
  std::vector<Panel> panels;
  Range x_range;
  double height = 0, right_margin = kRightWithoutNames;
  for (const Chart& chart : charts) {
    Panel panel(chart, log_x);
    if (panel.empty()) continue;
    panel.extend(x_range);
    height += panel.height();
    right_margin = std::max(right_margin, panel.width_of_names());
    panels.push_back(std::move(panel));
  }
  if (panels.empty()) throw Error(ErrorCode::kInvalidArgument, "a chart without a point cannot be drawn");
  x_range = widened(x_range, 0.02, log_x);
  height = std::ceil(height + kXTicks + (panels.back().chart().x_label.empty() ? 0 : kXLabel) + kEdge);

  std::string script = fmt::format(
      "set encoding utf8\n"
      "set terminal svg size {:.0f},{:.0f} fixed noenhanced rounded font 'sans-serif,{}' background rgb 'white'\n"
      "unset key\n"
      "set border 1 lw 1 lc rgb '#888888'\n"
      "set grid xtics ytics lt 1 lw 0.7 lc rgb '#e4e4e4'\n"
      "set xtics nomirror out scale 0.5 offset 0,0.5 tc rgb '#444444'\n"
      "unset mxtics\n"
      "unset mytics\n"
      "set ytics nomirror scale 0 tc rgb '#444444'\n",
      kWidth, height, kFont);
  for (std::size_t i = 0; i < panels.size(); ++i) script += panels[i].data(i);
  script += "set multiplot\n";
  double top = 0;
  for (std::size_t i = 0; i < panels.size(); ++i) {
    script += panels[i].draw(i, top, right_margin, height, x_range, /*last=*/i + 1 == panels.size());
    top += panels[i].height();
  }
  return script + "unset multiplot\n";
}

void write_charts(const std::filesystem::path& path, std::span<const Chart> charts) {
  write_file_atomically(path, run_gnuplot(chart_script(charts)));
}

void write_chart(const std::filesystem::path& path, const Chart& chart) { write_charts(path, std::span(&chart, 1)); }

}  // namespace convnext
