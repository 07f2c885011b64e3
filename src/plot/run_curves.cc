#include "plot/run_curves.h"

#include <array>
#include <utility>

namespace convnext {

void write_run_charts(const std::filesystem::path& path, Chart loss, Chart results, const std::vector<Point>& lr) {
  constexpr int kHeight = 230, kSmallHeight = 90;
  std::array charts = {std::move(loss), std::move(results), Chart()};
  charts[0].y_label = "loss";
  charts[2].y_label = "learning rate";
  charts[2].series = {{"", lr, Colour::kGrey}};
  for (Chart& chart : charts) {
    chart.height = kHeight;
    chart.x_label = "epoch";
    chart.whole_x = true;
  }
  charts[2].height = kSmallHeight;
  write_charts(path, charts);
}

void write_curves(const std::filesystem::path& path, const std::string& title, const RunCurves& curves) {
  Chart loss, top1;
  loss.title = title;
  loss.series = {{"training", curves.train_loss, Colour::kGrey},
                 {"held out", curves.model_loss, Colour::kBlue},
                 {"held out, average", curves.average_loss, Colour::kOrange}};
  top1.y_label = "top-1, %";
  top1.series = {{"model", curves.model_top1, Colour::kBlue}, {"average", curves.average_top1, Colour::kOrange}};
  write_run_charts(path, std::move(loss), std::move(top1), curves.lr);
}

}  // namespace convnext
