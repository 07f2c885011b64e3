// Steps below each other, each with bars for what was measured and a diamond for what it costs: the paper's Figure 2.
//
//   RoadmapFigure figure{.title = "From ResNet-50 to ConvNeXt-T", .steps = {}, .columns = {}};
//   figure.steps = {{"resnet50"}, {"stage_ratio"}, {"kernel_9", StepStyle::kHatched}};
//   figure.columns = {{"top-1, %", ColumnKind::kBars, {{78.82, 0.07}, {79.36, 0.07}, {80.57, 0.06}}},
//                     {"GFLOPs", ColumnKind::kDiamonds, {{4.09}, {4.53}, {4.21}}}};
//   write_roadmap_figure("roadmap.svg", figure);
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace convnext {

enum class StepStyle {
  kPlain,    // a step that the next one builds on
  kHatched,  // tried and left
  kGrey,     // stands beside the steps, to be compared with
};

struct FigureStep {
  std::string name{};
  StepStyle style = StepStyle::kPlain;
};

// Bars begin at a value below the least of them, which the axis shows. Diamonds of plain steps are joined by a line.
enum class ColumnKind { kBars, kDiamonds };

struct FigureValue {
  double value = 0.0;
  std::optional<double> deviation{};  // drawn as a whisker to both sides
  std::string label{};                // beside it; empty: the value with two decimals, and the deviation
};

struct FigureColumn {
  std::string title{};
  ColumnKind kind = ColumnKind::kBars;
  std::vector<std::optional<FigureValue>> values{};  // one a step
};

struct RoadmapFigure {
  std::string title{};
  std::string subtitle{};
  std::vector<FigureStep> steps{};  // from top to bottom
  std::vector<FigureColumn> columns{};
};

// SVG or PNG, by the name. Columns without a value are left out. Throws Error: kInvalidArgument when there is nothing
// to draw or a column has not one value a step, and those of terminal_for(), run_gnuplot() and write_file_atomically().
void write_roadmap_figure(const std::filesystem::path& path, const RoadmapFigure& figure);

// The script that draws it.
std::string roadmap_script(const std::filesystem::path& path, const RoadmapFigure& figure);

}  // namespace convnext
