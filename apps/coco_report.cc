#include "apps/coco_report.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "apps/terminal.h"

namespace convnext::apps {
namespace {

// The names of coco_stat_names() as JSON has names.
constexpr std::array<std::string_view, kCocoStats> kFieldNames = {"ap",        "ap50",     "ap75",      "ap_small",
                                                                  "ap_medium", "ap_large", "ar1",       "ar10",
                                                                  "ar100",     "ar_small", "ar_medium", "ar_large"};

}  // namespace

std::string format_stat(double stat) { return stat < 0 ? "-" : fmt::format("{:.3f}", stat); }

std::string category_table(const CocoDataset& truth, const CocoEvaluation& evaluation) {
  using enum Table::Align;
  std::vector<Table::Column> columns = {{"category"}, {"objects", kRight}, {"detections", kRight}};
  for (const std::string_view name : coco_stat_names()) columns.push_back({std::string(name), kRight});
  Table table(std::move(columns));
  for (std::size_t i = 0; i < truth.categories.size(); ++i) {
    std::vector<std::string> cells = {truth.categories[i].name, format_count(evaluation.counts[i].objects),
                                      format_count(evaluation.counts[i].detections)};
    for (const double stat : evaluation.stats_of(i)) cells.push_back(format_stat(stat));
    table.add(std::move(cells));
  }
  return table.text();
}

nlohmann::ordered_json category_rows(const CocoDataset& truth, const CocoEvaluation& evaluation) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < truth.categories.size(); ++i) {
    nlohmann::ordered_json row = {{"id", truth.categories[i].id},
                                  {"name", truth.categories[i].name},
                                  {"objects", evaluation.counts[i].objects},
                                  {"detections", evaluation.counts[i].detections}};
    const std::array<double, kCocoStats> stats = evaluation.stats_of(i);
    for (std::size_t k = 0; k < kCocoStats; ++k) row[std::string(kFieldNames[k])] = stats[k];
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace convnext::apps
