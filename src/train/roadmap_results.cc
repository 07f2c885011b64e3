#include "train/roadmap_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/file.h"
#include "model/description.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kResolutionOfPaper = 224;

// Where a step stands in its track. Throws Error (kNotFound).
std::ptrdiff_t place_of(Track track, std::string_view step) {
  return &roadmap_step(track, step) - roadmap(track).data();
}

Json row_to_json(const RoadmapRow& row) {
  Json json = {{"step", row.step},   {"params", row.params}, {"gmac", row.gmac},         {"pictures", row.pictures},
               {"mean", row.mean()}, {"deviation", nullptr}, {"seconds", row.seconds()}, {"runs", Json::array()}};
  if (const auto deviation = row.deviation()) json["deviation"] = *deviation;
  for (const RoadmapOutcome& run : row.runs) {
    json["runs"].push_back(
        {{"seed", run.seed}, {"top1", run.top1}, {"train_loss", run.train_loss}, {"seconds", run.seconds}});
  }
  json["settings"] = Json::parse(row.settings);
  return json;
}

double finite_number(const Json& json, const char* name) {
  const double value = json.at(name).get<double>();
  if (!std::isfinite(value)) throw Error(ErrorCode::kDamaged, fmt::format("its '{}' is no number", name));
  return value;
}

RoadmapRow row_from_json(const Json& json) {
  RoadmapRow row;
  row.step = json.at("step").get<std::string>();
  row.params = json.at("params").get<std::int64_t>();
  row.gmac = finite_number(json, "gmac");
  row.pictures = json.at("pictures").get<std::int64_t>();
  if (!json.at("settings").is_object()) throw Error(ErrorCode::kDamaged, "its settings are no object");
  row.settings = json.at("settings").dump();
  for (const Json& run : json.at("runs")) {
    row.runs.push_back({.seed = run.at("seed").get<std::uint64_t>(),
                        .top1 = finite_number(run, "top1"),
                        .train_loss = finite_number(run, "train_loss"),
                        .seconds = finite_number(run, "seconds")});
  }
  if (row.runs.empty()) throw Error(ErrorCode::kDamaged, fmt::format("its step '{}' has no run", row.step));
  return row;
}

std::string readable(std::string name) {
  std::ranges::replace(name, '_', ' ');
  return name;
}

std::optional<double> published_deviation(const RoadmapStep& step) {
  return step.deviation > 0 ? std::optional(step.deviation) : std::nullopt;
}

StepStyle style_of(const RoadmapStep& step) { return step.main_path ? StepStyle::kPlain : StepStyle::kHatched; }

FigureValue published_value(const RoadmapStep& step) { return {step.published_top1, published_deviation(step), {}}; }

const char* title_of(Track track) {
  return track == Track::kResNet50 ? "From ResNet-50 to ConvNeXt-T" : "From ResNet-200 to ConvNeXt-B";
}

// Of a step that was trained. What the first steps change is the recipe, and here it was another than the authors'.
std::string change_of(const RoadmapStep& step, const RoadmapRow& row, Track track) {
  if (step.architecture != roadmap(track).front().architecture) return step.change;
  const Json settings = Json::parse(row.settings);
  return fmt::format("the recipe: {}, {} schedule", settings.value("optimizer", "?"), settings.value("schedule", "?"));
}

}  // namespace

double RoadmapRow::mean() const {
  double sum = 0.0;
  for (const RoadmapOutcome& run : runs) sum += run.top1;
  return sum / static_cast<double>(runs.size());
}

std::optional<double> RoadmapRow::deviation() const {
  if (runs.size() < 2) return std::nullopt;
  const double middle = mean();
  double squares = 0.0;
  for (const RoadmapOutcome& run : runs) squares += (run.top1 - middle) * (run.top1 - middle);
  return std::sqrt(squares / static_cast<double>(runs.size() - 1));
}

double RoadmapRow::seconds() const {
  double sum = 0.0;
  for (const RoadmapOutcome& run : runs) sum += run.seconds;
  return sum;
}

const RoadmapRow* RoadmapResults::find(std::string_view step) const {
  const auto found = std::ranges::find(rows, step, &RoadmapRow::step);
  return found == rows.end() ? nullptr : &*found;
}

void RoadmapResults::add(const RoadmapRow& row, const RoadmapOutcome& outcome) {
  const auto place = [this](const RoadmapRow& other) { return place_of(track, other.step); };
  auto at = std::ranges::lower_bound(rows, place(row), {}, place);
  if (at == rows.end() || at->step != row.step) at = rows.insert(at, row);
  const auto run = std::ranges::lower_bound(at->runs, outcome.seed, {}, &RoadmapOutcome::seed);
  if (run != at->runs.end() && run->seed == outcome.seed) {
    *run = outcome;
  } else {
    at->runs.insert(run, outcome);
  }
}

RoadmapResults read_roadmap_results(const std::filesystem::path& path) {
  const auto damaged = [&path](const char* why) {
    return Error(ErrorCode::kDamaged,
                 fmt::format("'{}' holds no results of a trained roadmap: {}", path.string(), why));
  };
  const std::string text = read_text(path);
  try {
    const Json json = Json::parse(text);
    RoadmapResults results;
    results.track = track_from_name(json.at("track").get<std::string>());
    results.width_divisor = json.at("width_divisor").get<int>();
    results.resolution = json.at("resolution").get<int>();
    results.classes = json.at("classes").get<int>();
    results.epochs = json.at("epochs").get<int>();
    results.pictures = json.value("pictures", "");  // those of earlier programs do not say it
    for (const Json& row : json.at("rows")) {
      results.rows.push_back(row_from_json(row));
      roadmap_step(results.track, results.rows.back().step);
    }
    return results;
  } catch (const nlohmann::json::exception& error) {
    throw damaged(error.what());
  } catch (const Error& error) {
    throw damaged(error.what());
  }
}

std::string to_json(const RoadmapResults& results) {
  Json json = {{"track", name_of(results.track)},
               {"width_divisor", results.width_divisor},
               {"resolution", results.resolution},
               {"classes", results.classes},
               {"epochs", results.epochs},
               {"pictures", results.pictures},
               {"rows", Json::array()}};
  for (const RoadmapRow& row : results.rows) json["rows"].push_back(row_to_json(row));
  return json.dump(2) + "\n";
}

std::string accuracy_text(double top1, std::optional<double> deviation) {
  return deviation ? fmt::format("{:.2f} ± {:.2f}", top1, *deviation) : fmt::format("{:.2f}", top1);
}

std::string description_of(const RoadmapResults& results) {
  std::string text = fmt::format(
      "{}{} pixels, {} classes, {} epoch{}",
      results.width_divisor > 1 ? fmt::format("widths divided by {}, ", results.width_divisor) : std::string(),
      results.resolution, results.classes, results.epochs, results.epochs == 1 ? "" : "s");
  if (!results.rows.empty()) text += fmt::format(" ({} pictures a run)", format_count(results.rows.front().pictures));
  return text;
}

std::string roadmap_table(const RoadmapResults& results) {
  std::string text = fmt::format("{}: {}", title_of(results.track), description_of(results)) +
                     ".\nTop-1 in percent after the last epoch: mean and sample deviation over the seeds. In brackets: "
                     "tried by the authors and not kept.\n\n"
                     "| step | what changes | top-1 here | seeds | published | parameters | MMAC | seconds |\n"
                     "|---|---|---|---|---|---|---|---|\n";
  for (const RoadmapRow& row : results.rows) {
    const RoadmapStep& step = roadmap_step(results.track, row.step);
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {:.2f} | {:.0f} |\n",
                        step.main_path ? step.name : "(" + step.name + ")", change_of(step, row, results.track),
                        accuracy_text(row.mean(), row.deviation()), row.runs.size(),
                        accuracy_text(step.published_top1, published_deviation(step)), format_count(row.params),
                        1e3 * row.gmac, row.seconds());
  }
  return text;
}

RoadmapFigure roadmap_figure(Track track) {
  RoadmapFigure figure;
  figure.title = title_of(track);
  FigureColumn top1{.title = "ImageNet-1K top-1, %, as published", .kind = ColumnKind::kBars, .values = {}};
  FigureColumn cost{.title = "10⁹ multiply-accumulates", .kind = ColumnKind::kDiamonds, .values = {}};
  for (const RoadmapStep& step : roadmap(track)) {
    figure.steps.push_back({readable(step.name), style_of(step)});
    top1.values.emplace_back(published_value(step));
    const double gmac = count_cost(step.network, kResolutionOfPaper, kResolutionOfPaper).gmac;
    cost.values.emplace_back(FigureValue{gmac, {}, {}});
  }
  const RoadmapRival rival = roadmap_rival(track);
  figure.steps.push_back({track == Track::kResNet50 ? "Swin-T" : "Swin-B", StepStyle::kGrey});
  top1.values.emplace_back(FigureValue{rival.published_top1, {}, {}});
  cost.values.emplace_back(FigureValue{rival.published_gflops, {}, {}});
  figure.columns = {std::move(top1), std::move(cost)};
  return figure;
}

RoadmapFigure roadmap_figure(const RoadmapResults& results) {
  RoadmapFigure figure;
  figure.title = fmt::format("{}, trained here", title_of(results.track));
  figure.subtitle = description_of(results);
  FigureColumn ours{.title = "top-1 here, %", .kind = ColumnKind::kBars, .values = {}};
  FigureColumn published{.title = "ImageNet-1K top-1, %, as published", .kind = ColumnKind::kBars, .values = {}};
  FigureColumn cost{.title = "10⁶ multiply-accumulates here", .kind = ColumnKind::kDiamonds, .values = {}};
  for (const RoadmapRow& row : results.rows) {
    const RoadmapStep& step = roadmap_step(results.track, row.step);
    figure.steps.push_back({readable(step.name), style_of(step)});
    ours.values.emplace_back(FigureValue{row.mean(), row.deviation(), {}});
    published.values.emplace_back(published_value(step));
    cost.values.emplace_back(FigureValue{1e3 * row.gmac, {}, {}});
  }
  figure.columns = {std::move(ours), std::move(published), std::move(cost)};
  return figure;
}

}  // namespace convnext
