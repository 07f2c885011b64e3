// Things by two numbers and a third, which the areas of their marks show: the paper's Figure 1.
//
//   BubbleChart chart{.title = "ImageNet-1K", .size_label = "parameters, millions", .sizes = {25, 100}, .rows = {}};
//   BubblePanel panel{.title = "trained on ImageNet-1K", .x_label = "GMAC", .y_label = "top-1, %", .log_x = true};
//   panel.families = {{"ConvNeXt", Colour::kBlue, {{{"ConvNeXt-T", 4.5, 82.1, 29}, {"ConvNeXt-S", 8.7, 83.1, 50}}}}};
//   chart.rows = {{panel}};
//   write_bubbles("cost.svg", chart);
//
// Areas are proportional to sizes, by one scale in the whole picture. Names stand beside their marks, and no name lies
// on another as long as there is room; a thin line leads to those that had to move away.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "plot/axis.h"
#include "plot/label_placement.h"

namespace convnext {

struct Bubble {
  std::string name{};
  double x = 0.0;
  double y = 0.0;
  double size = 0.0;  // above 0; bubbles without, or with a place that no axis holds, are left out
};

struct BubbleFamily {
  std::string name{};
  Colour colour = Colour::kBlue;
  std::vector<std::vector<Bubble>> lines{};  // the bubbles of each are joined by a line, in their order
  bool hollow = false;                       // rings in place of discs: another measure of what has the colour
};

struct BubblePanel {
  std::string title{};
  std::string x_label{};
  std::string y_label{};
  bool log_x = false;
  std::vector<BubbleFamily> families{};
};

struct BubbleChart {
  std::string title{};
  std::string size_label{};     // of the legend of areas
  std::vector<double> sizes{};  // that this legend shows; empty: no such legend
  // Panels beside each other share their y axis, whose label is the first one's. Those without bubbles are left out.
  std::vector<std::vector<BubblePanel>> rows{};
};

// SVG or PNG, by the name. Throws Error: kInvalidArgument when there is no bubble, and those of terminal_for(),
// run_gnuplot() and write_file_atomically().
void write_bubbles(const std::filesystem::path& path, const BubbleChart& chart);

// The script that draws it.
std::string bubble_script(const std::filesystem::path& path, const BubbleChart& chart);

// A bubble and its name as they are drawn, in pixels of the picture.
struct DrawnBubble {
  std::string name;
  double size = 0.0;
  LabelledMark mark;
  PlacedLabel label;
};
std::vector<DrawnBubble> drawn_bubbles(const BubbleChart& chart);

}  // namespace convnext
