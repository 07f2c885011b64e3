// How a training run went, epoch by epoch, as one picture.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "plot/chart.h"

namespace convnext {

// Each by epoch, 1 for the first; any may be empty.
struct RunCurves {
  std::vector<Point> train_loss;
  std::vector<Point> model_loss;    // on the pictures held out
  std::vector<Point> model_top1;    // percent
  std::vector<Point> average_loss;  // of the moving average of the weights, on the same pictures
  std::vector<Point> average_top1;
  std::vector<Point> lr;
};

// The charts of a run by epoch, below each other: loss, results, and, lower than these, the learning rate. Sizes and
// the axis of epochs are set here. Throws what write_charts() throws.
void write_run_charts(const std::filesystem::path& path, Chart loss, Chart results, const std::vector<Point>& lr);

// Loss, below it top-1, below it the learning rate. Throws what write_charts() throws: a run says so and goes on.
void write_curves(const std::filesystem::path& path, const std::string& title, const RunCurves& curves);

}  // namespace convnext
