#include "plot/roadmap_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "convnext/error.h"
#include "io/file.h"
#include "plot/axis.h"
#include "plot/gnuplot.h"
#include "plot/picture_format.h"

namespace convnext {
namespace {

// Pixels. The font is whatever the reader's sans-serif is, so widths of texts are estimates on the wide side.
constexpr double kEdge = 12, kTitle = 34, kSubtitle = 24, kColumnTitle = 28, kRow = 25, kTicks = 30;
constexpr double kLetter = 8.0, kNameGap = 12, kColumnGap = 26;
constexpr double kBarColumn = 390, kDiamondColumn = 210;
constexpr double kHalfBar = 0.36;  // of a row

bool drawable(const std::optional<FigureValue>& value) {
  return value && convnext::drawable(value->value, /*log=*/false);
}

double deviation_of(const FigureValue& value) {
  return value.deviation && std::isfinite(*value.deviation) ? *value.deviation : 0.0;
}

std::string label_of(const FigureValue& value) {
  if (!value.label.empty()) return value.label;
  return value.deviation ? fmt::format("{:.2f} ± {:.2f}", value.value, *value.deviation)
                         : fmt::format("{:.2f}", value.value);
}

class Column {
 public:
  Column(const FigureColumn& column, const std::vector<FigureStep>& steps) : column_(column), steps_(steps) {
    Range values;
    std::size_t longest = 0;
    for (const auto& value : column.values) {
      if (!drawable(value)) continue;
      values.include(value->value - deviation_of(*value));
      values.include(value->value + deviation_of(*value));
      longest = std::max(longest, letters(label_of(*value)));
    }
    empty_ = values.empty();
    if (empty_) return;
    constexpr double kMostTicks = 5, kShortestBar = 0.15;
    range_ = {widened(values, kShortestBar, /*log=*/false).low, values.high};
    if (values.low >= 0) range_.low = std::max(range_.low, 0.0);
    ticks_ = ticks(range_, kMostTicks, /*log=*/false, /*whole=*/false);
    if (ticks_.size() > 1 && values.high > values.low) {
      const bool too_short = values.place(ticks_.front(), /*log=*/false) > -kShortestBar / 3;
      const double before = 2 * ticks_[0] - ticks_[1];
      if (too_short && (values.low < 0 || before >= 0)) ticks_.insert(ticks_.begin(), before);
    }
    if (!ticks_.empty()) range_.low = std::min(ticks_.front(), values.low);
    if (values.high <= range_.low) values.high = range_.low + 1;  // nothing but zeros
    // Beside the longest bar there is room for its label.
    const double for_labels = (static_cast<double>(longest) * kLetter + kNameGap) / width();
    range_.high = range_.low + (values.high - range_.low) / std::max(0.2, 1 - for_labels);
  }

  bool empty() const { return empty_; }
  double width() const { return column_.kind == ColumnKind::kBars ? kBarColumn : kDiamondColumn; }

  // Between x0 and x1 of the picture's width, y0 and y1 of its height, in parts.
  std::string draw(double x0, double x1, double y0, double y1, double title_height) const {
    std::string script = fmt::format(
        "set lmargin at screen {:.6f}\nset rmargin at screen {:.6f}\nset bmargin at screen {:.6f}\n"
        "set tmargin at screen {:.6f}\n",
        x0, x1, y0, y1);
    script += axis_script('x', range_, /*log=*/false, ticks_);
    script += label_script(column_.title, x0, y1 + title_height / 2, "left tc rgb '#444444'");
    const bool bars = column_.kind == ColumnKind::kBars;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!drawable(column_.values[i])) continue;
      const FigureValue& value = *column_.values[i];
      // Those of diamonds stand below each other, where no line crosses them.
      script += fmt::format("set label {} at first {:.9g}, first {} {} tc rgb '#222222'\n",
                            gnuplot_string(label_of(value)), bars ? value.value + deviation_of(value) : range_.high, i,
                            bars ? "left offset character 0.6,0" : "right");
    }
    return script + (bars ? draw_bars() : draw_diamonds());
  }

 private:
  // The rows of a data block: what `line` makes of each step that `chosen` takes.
  template <typename Chosen, typename Line>
  std::string block(const char* name, const Chosen& chosen, const Line& line) const {
    std::string text = fmt::format("${} << EOD\n", name);
    std::size_t count = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!drawable(column_.values[i]) || !chosen(i)) continue;
      text += line(i, *column_.values[i]) + "\n";
      ++count;
    }
    return count == 0 ? std::string() : text + "EOD\n";
  }

  std::string draw_bars() const {
    const auto bar = [this](std::size_t i, const FigureValue& value) {
      return fmt::format("{:.9g} {} {:.9g} {:.9g} {} {}", value.value, i, range_.low, value.value,
                         static_cast<double>(i) - kHalfBar, static_cast<double>(i) + kHalfBar);
    };
    struct Fill {
      const char* block;
      StepStyle style;
      std::string how;
    };
    const Fill fills[] = {
        {"plain", StepStyle::kPlain, fmt::format("fs solid 1 noborder lc rgb '{}'", rgb_of(Colour::kBlue))},
        {"hatched", StepStyle::kHatched,
         fmt::format("fs transparent pattern 4 border rgb '{0}' lc rgb '{0}'", rgb_of(Colour::kBlue))},
        {"grey", StepStyle::kGrey, fmt::format("fs solid 1 noborder lc rgb '{}'", rgb_of(Colour::kGrey))}};
    std::string data, plots;
    for (const Fill& fill : fills) {
      const std::string rows = block(
          fill.block, [&](std::size_t i) { return steps_[i].style == fill.style; }, bar);
      if (rows.empty()) continue;
      data += rows;
      plots += fmt::format("{}${} using 1:2:3:4:5:6 with boxxyerror {} notitle", plots.empty() ? "plot " : ", ",
                           fill.block, fill.how);
    }
    const std::string whiskers = block(
        "whiskers", [this](std::size_t i) { return deviation_of(*column_.values[i]) > 0; },
        [](std::size_t i, const FigureValue& value) {
          return fmt::format("{:.9g} {} {:.9g}", value.value, i, deviation_of(value));
        });
    if (!whiskers.empty()) plots += ", $whiskers using 1:2:3 with xerrorbars pt -1 lw 1.2 lc rgb '#222222' notitle";
    return data + whiskers + plots + "\n";
  }

  std::string draw_diamonds() const {
    const auto point = [](std::size_t i, const FigureValue& value) { return fmt::format("{:.9g} {}", value.value, i); };
    const std::string path = block(
        "path", [this](std::size_t i) { return steps_[i].style == StepStyle::kPlain; }, point);
    const std::string beside = block(
        "beside", [this](std::size_t i) { return steps_[i].style != StepStyle::kPlain; }, point);
    std::string plots;
    if (!path.empty()) {
      plots = fmt::format(
          "plot $path using 1:2 with lines lw 1.2 lc rgb '{0}' notitle, $path using 1:2 with points pt 13 "
          "ps 1.1 lc rgb '{0}' notitle",
          rgb_of(Colour::kOrange));
    }
    if (!beside.empty()) {
      plots += fmt::format("{}$beside using 1:2 with points pt 12 ps 1.1 lw 1.5 lc rgb '{}' notitle",
                           plots.empty() ? "plot " : ", ", rgb_of(Colour::kGrey));
    }
    return path + beside + plots + "\n";
  }

  const FigureColumn& column_;
  const std::vector<FigureStep>& steps_;
  bool empty_ = true;
  Range range_;
  std::vector<double> ticks_;
};

}  // namespace

std::string roadmap_script(const std::filesystem::path& path, const RoadmapFigure& figure) {
  std::vector<Column> columns;
  for (const FigureColumn& column : figure.columns) {
    if (column.values.size() != figure.steps.size()) {
      throw Error(ErrorCode::kInvalidArgument, fmt::format("the column '{}' has {} values for {} steps", column.title,
                                                           column.values.size(), figure.steps.size()));
    }
    Column drawn(column, figure.steps);
    if (!drawn.empty()) columns.push_back(drawn);
  }
  if (columns.empty()) throw Error(ErrorCode::kInvalidArgument, "a roadmap without a value cannot be drawn");

  std::size_t longest_name = 0;
  for (const FigureStep& step : figure.steps) longest_name = std::max(longest_name, step.name.size());
  const double names = kEdge + static_cast<double>(longest_name) * kLetter + kNameGap;
  double width = names + kEdge;
  for (const Column& column : columns) width += column.width() + kColumnGap;
  const double rows = kRow * static_cast<double>(figure.steps.size());
  const double titles = kEdge + kTitle + (figure.subtitle.empty() ? 0 : kSubtitle);
  const double above = titles + kColumnTitle, height = above + rows + kTicks + kEdge;
  const double field_top = 1 - above / height, field_bottom = 1 - (above + rows) / height;

  std::string script = "set encoding utf8\n" + terminal_for(path, width, height) +
                       "unset key\n"
                       "unset border\n"
                       "unset ytics\n"
                       "set grid xtics back lt 1 lw 0.7 lc rgb '#e4e4e4'\n"
                       "set xtics nomirror out scale 0.5 offset 0,0.4 tc rgb '#444444'\n";
  script += fmt::format("set yrange [{}:-0.5]\nset multiplot\n", static_cast<double>(figure.steps.size()) - 0.5);
  std::string texts = label_script(figure.title, kEdge / width, 1 - (kEdge + kTitle / 2) / height,
                                   fmt::format("left font ',{:g}' tc rgb '#111111'", font_size_for(path, 17)));
  if (!figure.subtitle.empty()) {
    texts +=
        label_script(figure.subtitle, kEdge / width, 1 - (titles - kSubtitle / 2) / height, "left tc rgb '#444444'");
  }
  for (std::size_t i = 0; i < figure.steps.size(); ++i) {
    const double middle = above + kRow * (static_cast<double>(i) + 0.5);
    const bool plain = figure.steps[i].style == StepStyle::kPlain;
    texts += label_script(figure.steps[i].name, (names - kNameGap) / width, 1 - middle / height,
                          plain ? "right tc rgb '#111111'" : "right tc rgb '#777777'");
  }
  double left = names;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    script += "unset label\n";
    if (c == 0) script += texts;
    script += columns[c].draw(left / width, (left + columns[c].width()) / width, field_bottom, field_top,
                              kColumnTitle / height);
    left += columns[c].width() + kColumnGap;
  }
  return script + "unset multiplot\n";
}

void write_roadmap_figure(const std::filesystem::path& path, const RoadmapFigure& figure) {
  write_file_atomically(path, run_gnuplot(roadmap_script(path, figure)));
}

}  // namespace convnext
