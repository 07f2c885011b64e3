// What is written about a trained roadmap, its file, table and figure; and the figure of the published one. Without
// gnuplot the pictures are not tested.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "io/file.h"
#include "plot/roadmap_figure.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"
#include "train/roadmap_results.h"

namespace convnext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

RoadmapRow row_named(const std::string& step) {
  return {.step = step,
          .params = 123456,
          .gmac = 0.0065,
          .pictures = 149760,
          .settings = R"({"epochs":3,"lr":0.002})",
          .runs = {}};
}

RoadmapOutcome outcome(std::uint64_t seed, double top1) {
  return {.seed = seed, .top1 = top1, .train_loss = 1.25, .seconds = 100};
}

RoadmapResults small_results() {
  RoadmapResults results{.track = Track::kResNet50,
                         .width_divisor = 8,
                         .resolution = 64,
                         .classes = 10,
                         .epochs = 3,
                         .pictures = "16 to learn (ab)",
                         .rows = {}};
  results.add(row_named("separate_downsampling"), outcome(0, 60));
  results.add(row_named("kernel_9"), outcome(1, 58));
  results.add(row_named("depthwise"), outcome(1, 52));
  results.add(row_named("depthwise"), outcome(0, 50));
  results.add(row_named("kernel_9"), outcome(0, 58));
  return results;
}

std::vector<std::string> steps_of(const RoadmapResults& results) {
  std::vector<std::string> steps;
  for (const RoadmapRow& row : results.rows) steps.push_back(row.step);
  return steps;
}

TEST(RoadmapResults, StandInTheOrderOfTheTrackAndOfTheSeeds) {
  const RoadmapResults results = small_results();
  EXPECT_THAT(steps_of(results), ElementsAre("depthwise", "kernel_9", "separate_downsampling"));
  ASSERT_EQ(results.rows[0].runs.size(), 2u);
  EXPECT_EQ(results.rows[0].runs[0].seed, 0u);
  EXPECT_EQ(results.rows[0].runs[0].top1, 50);
  EXPECT_EQ(results.find("patchify"), nullptr);
}

TEST(RoadmapResults, ARunThatIsDoneAgainTakesThePlaceOfItsOldOutcome) {
  RoadmapResults results = small_results();
  results.add(row_named("depthwise"), outcome(1, 54));
  ASSERT_EQ(results.rows[0].runs.size(), 2u);
  EXPECT_DOUBLE_EQ(results.rows[0].mean(), 52);
}

TEST(RoadmapResults, DeviationIsThatOfASample) {
  const RoadmapResults results = small_results();
  EXPECT_DOUBLE_EQ(results.rows[0].mean(), 51);
  EXPECT_DOUBLE_EQ(results.rows[0].deviation().value(), std::sqrt(2.0)) << "over n - 1: over n it would be 1";
  EXPECT_EQ(results.rows[1].deviation().value(), 0);
  EXPECT_FALSE(results.rows[2].deviation()) << "one run tells nothing of it";
  EXPECT_EQ(results.rows[0].seconds(), 200);
}

TEST(RoadmapResults, ComeBackFromTheirFile) {
  const TemporaryFolder folder;
  const std::string text = to_json(small_results());
  write_file_atomically(folder / "roadmap.json", text);
  const RoadmapResults back = read_roadmap_results(folder / "roadmap.json");
  EXPECT_EQ(to_json(back), text);
  EXPECT_EQ(back.width_divisor, 8);
  EXPECT_EQ(back.pictures, "16 to learn (ab)");
  EXPECT_EQ(back.rows[0].runs[1].top1, 52);
  EXPECT_EQ(back.rows[0].settings, row_named("").settings);
}

TEST(RoadmapResults, OfADamagedFileAreRefusedWithItsName) {
  const TemporaryFolder folder;
  const std::string whole = to_json(small_results());
  const auto changed = [&whole](const std::string& from, const std::string& to) {
    return std::regex_replace(whole, std::regex(from), to);
  };
  for (const std::string& text :
       {std::string(), std::string("[]"), whole.substr(0, whole.size() / 2), changed("\"r50\"", "\"r51\""),
        changed("\"depthwise\"", "\"depthwize\""), changed("\"top1\": 52.0", "\"top1\": null"),
        changed("\"top1\": 52.0", "\"top1\": \"much\""), changed("\"runs\"", "\"ruins\""),
        changed("\"epochs\": 3,\n  \"pictures\"", "\"epochs\": 1e999,\n  \"pictures\""),
        changed("\"16 to learn [(]ab[)]\"", "16")}) {
    ASSERT_NE(text, whole);
    folder.write("roadmap.json", text);
    expect_error(ErrorCode::kDamaged, {"roadmap.json"}, [&] { read_roadmap_results(folder / "roadmap.json"); });
  }
}

TEST(RoadmapTable, HoldsOursBesideThePublished) {
  const std::string table = roadmap_table(small_results());
  EXPECT_THAT(table, HasSubstr("| 51.00 ± 1.41 | 2 | 78.28 ± 0.08 | 123,456 | 6.50 | 200 |"));
  EXPECT_THAT(table, HasSubstr("| (kernel_9) |")) << "not kept";
  EXPECT_THAT(table, HasSubstr("| 60.00 | 1 | 81.97 ± 0.06 |"));
  RoadmapResults with_recipe = small_results();
  RoadmapRow plain = row_named("plain_recipe");
  plain.settings = R"({"optimizer":"sgd","schedule":"step"})";
  with_recipe.add(plain, outcome(0, 40));
  EXPECT_THAT(roadmap_table(with_recipe),
              AllOf(HasSubstr("| the recipe: sgd, step schedule |"), Not(HasSubstr("90 epochs"))))
      << "the authors' recipe is not the one of this run";
  EXPECT_THAT(table, AllOf(HasSubstr("divided by 8"), HasSubstr("64 pixels"), HasSubstr("3 epochs"),
                           HasSubstr("149,760 pictures a run")));
}

TEST(RoadmapFigures, OfThePublishedTrackHatchesWhatWasNotKept) {
  for (const Track track : {Track::kResNet50, Track::kResNet200}) {
    const RoadmapFigure figure = roadmap_figure(track);
    ASSERT_EQ(figure.steps.size(), roadmap(track).size() + 1);
    for (const FigureStep& step : figure.steps) {
      const bool left = step.name == "kernel 9" || step.name == "kernel 11";
      const bool rival = step.name == "Swin-T" || step.name == "Swin-B";
      EXPECT_EQ(step.style, left ? StepStyle::kHatched : rival ? StepStyle::kGrey : StepStyle::kPlain) << step.name;
    }
    EXPECT_EQ(figure.steps.back().style, StepStyle::kGrey);
    for (const FigureColumn& column : figure.columns) EXPECT_EQ(column.values.size(), figure.steps.size());
  }
}

TEST(RoadmapFigures, OfARunShowTheStepsThatWereTrained) {
  const RoadmapFigure figure = roadmap_figure(small_results());
  ASSERT_EQ(figure.columns.size(), 3u);
  ASSERT_EQ(figure.steps.size(), 3u);
  EXPECT_EQ(figure.columns[0].values[0]->value, 51);
  EXPECT_EQ(figure.columns[1].values[0]->value, 78.28);
  EXPECT_EQ(figure.columns[2].values[0]->value, 6.5);
}

RoadmapFigure small_figure() {
  RoadmapFigure figure;
  figure.title = "A title";
  figure.subtitle = "what is below it";
  figure.steps = {{"first", StepStyle::kPlain}, {"second", StepStyle::kHatched}, {"third", StepStyle::kGrey}};
  FigureColumn bars{.title = "top-1", .kind = ColumnKind::kBars, .values = {}};
  bars.values = {FigureValue{76.13, {}, {}}, FigureValue{81.97, 0.06, {}}, std::nullopt};
  FigureColumn cost{.title = "cost", .kind = ColumnKind::kDiamonds, .values = {}};
  cost.values = {FigureValue{4.09, {}, "little"}, FigureValue{4.46, {}, {}}, FigureValue{4.5, {}, {}}};
  figure.columns = {bars, cost};
  return figure;
}

// The ranges of the x axes.
std::vector<std::pair<double, double>> x_ranges(const std::string& script) {
  std::vector<std::pair<double, double>> ranges;
  const std::regex range(R"(set xrange \[([^:]+):([^\]]+)\])");
  for (std::sregex_iterator it(script.begin(), script.end(), range), end; it != end; ++it) {
    ranges.emplace_back(std::stod((*it)[1]), std::stod((*it)[2]));
  }
  return ranges;
}

TEST(RoadmapScript, HoldsABarForEachValueThatThereIs) {
  const std::string script = roadmap_script("a.svg", small_figure());
  EXPECT_THAT(script, AllOf(HasSubstr("'76.13'"), HasSubstr("'81.97 ± 0.06'"), HasSubstr("'little'"),
                            HasSubstr("'what is below it'")));
  EXPECT_THAT(script, AllOf(HasSubstr("$plain"), HasSubstr("$hatched"), Not(HasSubstr("$grey"))))
      << "the third step has no bar";
  EXPECT_THAT(script, HasSubstr("pattern"));
  EXPECT_THAT(script, HasSubstr("81.97 1 0.06"));
}

// A bar of no length would say that the value is nothing.
TEST(RoadmapScript, BarsBeginBelowTheLeastAndEndWithinTheColumn) {
  for (const auto& [low, high] : {std::pair{76.13, 81.97},
                                  {76.0, 82.0},
                                  {0.0, 5.0},
                                  {0.0, 0.0},
                                  {5.0, 5.0},
                                  {-3.0, -1.0},
                                  {-1e99, 1e99},
                                  {1e-30, 2e-30},
                                  {1e16, 1e16 + 4}}) {
    RoadmapFigure figure = small_figure();
    figure.columns.resize(1);
    figure.columns[0].values = {FigureValue{low, {}, {}}, FigureValue{high, {}, {}}, std::nullopt};
    const auto ranges = x_ranges(roadmap_script("a.svg", figure));
    ASSERT_EQ(ranges.size(), 1u);
    if (low != 0) {
      EXPECT_LT(ranges[0].first, low);
    } else {
      EXPECT_EQ(ranges[0].first, 0) << "nothing counted is below 0";
    }
    EXPECT_GT(ranges[0].second, high);
  }
}

TEST(RoadmapScript, LeavesOutWhatIsNoNumber) {
  RoadmapFigure figure = small_figure();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  figure.columns[1].values = {FigureValue{kNan, {}, {}}, FigureValue{HUGE_VAL, {}, {}}, std::nullopt};
  figure.columns[0].values[1] = FigureValue{80, kNan, "label"};
  const std::string script = roadmap_script("a.svg", figure);
  EXPECT_EQ(x_ranges(script).size(), 1u) << "a column without a value is left out";
  EXPECT_THAT(script, Not(testing::ContainsRegex("[^a-z](nan|inf)[^a-z]")));
  figure.columns[0].values.assign(3, std::nullopt);
  expect_error(ErrorCode::kInvalidArgument, {"without a value"}, [&] { roadmap_script("a.svg", figure); });
}

TEST(RoadmapScript, NeedsAValueAStepAndAFormatThatThereIs) {
  RoadmapFigure figure = small_figure();
  EXPECT_THAT(roadmap_script("a.png", figure), HasSubstr("set terminal pngcairo"));
  expect_error(ErrorCode::kInvalidArgument, {"a.pdf", ".svg", ".png"}, [&] { roadmap_script("a.pdf", figure); });
  figure.columns[1].values.pop_back();
  expect_error(ErrorCode::kInvalidArgument, {"cost", "2 values for 3 steps"}, [&] { roadmap_script("a.svg", figure); });
}

// With the gnuplot of this machine.
TEST(RealRoadmap, IsDrawnAsSvgAndAsPng) {
  const TemporaryFolder folder;
  write_roadmap_figure(folder / "a.svg", roadmap_figure(Track::kResNet50));
  const std::string svg = read_text(folder / "a.svg");
  EXPECT_THAT(svg, AllOf(StartsWith("<?xml"), HasSubstr("</svg>"), HasSubstr("From ResNet-50 to ConvNeXt-T"),
                         HasSubstr("separate downsampling"), HasSubstr("81.97 ± 0.06"), HasSubstr(">4.09<"),
                         HasSubstr("Swin-T")));
  write_roadmap_figure(folder / "b.svg", roadmap_figure(Track::kResNet50));
  EXPECT_EQ(svg, read_text(folder / "b.svg"));
  write_roadmap_figure(folder / "a.png", small_figure());
  EXPECT_THAT(read_text(folder / "a.png"), AllOf(StartsWith("\x89PNG"), HasSubstr("IEND")));
}

}  // namespace
}  // namespace convnext
