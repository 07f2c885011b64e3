// Line charts as SVG, drawn by gnuplot.
//
//   Chart chart{.title = "Top-1 by cost", .x_label = "GMAC", .y_label = "top-1, %", .series = {}};
//   chart.series.push_back({.name = "ConvNeXt", .points = {{4.5, 82.1}, {8.7, 83.1}, {15.4, 83.8}}});
//   write_chart("cost.svg", chart);
//
// Each line carries its name at its end, in its colour. The same chart gives the same bytes with one version of
// gnuplot.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plot/axis.h"

namespace convnext {

struct Point {
  double x = 0.0;
  double y = 0.0;
};

struct Series {
  std::string name{};              // empty: a line without a name
  std::vector<Point> points{};     // in the order of joining; those not finite or beyond 1e100 are left out
  std::optional<Colour> colour{};  // otherwise by its place in the chart
};

struct Chart {
  std::string title{};
  std::string x_label{};
  std::string y_label{};
  std::vector<Series> series{};
  bool log_x = false;  // then only points above 0 are drawn
  bool log_y = false;
  bool whole_x = false;  // x counts: ticks at whole numbers only
  int height = 260;      // of the field of the lines, pixels; grows where names need room
};

// Throws Error: kInvalidArgument when no chart has a point, those of run_gnuplot() when there is no gnuplot or it
// fails, and those of write_file_atomically(). Titles and names too long for the picture are cut short.
void write_chart(const std::filesystem::path& path, const Chart& chart);

// Charts below each other on one x axis, whose range is that of all of them and whose label is the last one's. Those
// without points are left out.
void write_charts(const std::filesystem::path& path, std::span<const Chart> charts);

// The script that draws them.
std::string chart_script(std::span<const Chart> charts);

}  // namespace convnext
