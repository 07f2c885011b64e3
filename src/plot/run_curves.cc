#include "plot/run_curves.h"

#include <array>

namespace convnext {

void write_curves(const std::filesystem::path& path, const std::string& title, const RunCurves& curves) {
  std::array<Chart, 3> charts;
  auto& [loss, top1, lr] = charts;
  loss.title = title;
  loss.y_label = "loss";
  loss.series = {{"training", curves.train_loss, Colour::kGrey},
                 {"held out", curves.model_loss, Colour::kBlue},
                 {"held out, average", curves.average_loss, Colour::kOrange}};
  top1.y_label = "top-1, %";
  top1.series = {{"model", curves.model_top1, Colour::kBlue}, {"average", curves.average_top1, Colour::kOrange}};
  lr.y_label = "learning rate";
  lr.series = {{"", curves.lr, Colour::kGrey}};
  constexpr int kHeight = 230, kSmallHeight = 90;
  loss.height = top1.height = kHeight;
  lr.height = kSmallHeight;
  for (Chart& chart : charts) {
    chart.x_label = "epoch";
    chart.whole_x = true;
  }
  write_charts(path, charts);
}

}  // namespace convnext
