#include "plot/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "convnext/error.h"
#include "io/file.h"
#include "plot/axis.h"
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
constexpr std::size_t kFewPoints = 40;     // up to here each point is marked, so that a line of one is seen
constexpr std::size_t kColoursInTurn = 6;  // of lines that name none

std::vector<Point> drawable_points(const std::vector<Point>& points, bool log_x, bool log_y) {
  std::vector<Point> kept;
  for (const Point& point : points) {
    if (drawable(point.x, log_x) && drawable(point.y, log_y)) kept.push_back(point);
  }
  return kept;
}

// One chart in its place.
class Panel {
 public:
  Panel(const Chart& chart, bool log_x) : chart_(chart), log_x_(log_x) {
    Range y;
    for (const Series& series : chart.series) {
      std::vector<Point> points = drawable_points(series.points, log_x, chart.log_y);
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
    script += axis_script('x', x_range, log_x_, ticks(x_range, kMostXTicks, log_x_, chart_.whole_x));
    script +=
        axis_script('y', y_range_, chart_.log_y, ticks(y_range_, field_height_ / kYTickDistance, chart_.log_y, false));
    script += last ? "set format x '%h'\n" : "set format x ''\n";

    double text = top + kEdge;
    const auto fitting = [](double letter) { return static_cast<std::size_t>((kWidth - 2 * kEdge) / letter); };
    if (!chart_.title.empty()) {
      script +=
          label_script(cut_short(chart_.title, fitting(kTitleLetter)), kEdge / kWidth, from_bottom(text + kTitle / 2),
                       fmt::format("left font ',{}' tc rgb '#111111'", kTitleFont));
      text += kTitle;
    }
    if (!chart_.y_label.empty()) {
      script += label_script(cut_short(chart_.y_label, fitting(kLetter)), kEdge / kWidth,
                             from_bottom(text + kYLabel / 2 - 3), "left tc rgb '#444444'");
    }
    if (last && !chart_.x_label.empty()) {
      script += label_script(cut_short(chart_.x_label, fitting(kLetter)),
                             (kLeft + (kWidth - right_margin - kLeft) / 2) / kWidth,
                             from_bottom(field_bottom + kXTicks + kXLabel / 2), "center tc rgb '#444444'");
    }
    const std::vector<double> heights = name_heights();
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].series->name.empty()) continue;
      script += label_script(cut_short(lines_[i].series->name, kLongestName), 1 - (right_margin - kNameGap) / kWidth,
                             from_bottom(field_bottom - heights[i]), fmt::format("left tc rgb '{}'", colour(i)));
    }
    return script + plot(index);
  }

 private:
  struct Line {
    const Series* series;
    std::vector<Point> points;
  };

  std::string_view colour(std::size_t line) const {
    return rgb_of(lines_[line].series->colour.value_or(static_cast<Colour>(line % kColoursInTurn)));
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
                            marked ? "linespoints pt 7 ps 0.45" : "lines", i < kColoursInTurn ? 1 : 2, colour(i));
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
