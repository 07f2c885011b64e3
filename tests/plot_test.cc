// Charts: the script that is given to gnuplot, and what becomes of it. Without gnuplot the pictures are not tested.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <regex>
#include <string>

#include "io/file.h"
#include "plot/chart.h"
#include "plot/gnuplot.h"
#include "plot/run_curves.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A variable of the environment with another value while this lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name), before_(::getenv(name)) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { ::setenv(name_, before_.c_str(), 1); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  const std::string before_;
};

// A program named gnuplot that is a shell script of ours, alone in PATH.
class Gnuplot : public testing::Test {
 protected:
  void pretend(const std::string& script) {
    folder_.write("gnuplot", "#!/bin/sh\n" + script);
    std::filesystem::permissions(folder_ / "gnuplot", std::filesystem::perms::owner_all);
  }
  TemporaryFolder folder_;
  Environment path_{"PATH", folder_.path().string()};
};

Chart small_chart() {
  Chart chart;
  chart.title = "A title";
  chart.x_label = "epoch";
  chart.y_label = "loss";
  chart.series = {{"one", {{1, 3}, {2, 2.5}, {3, 2}}, {}}, {"two", {{1, 4}, {2, 3}, {3, 2.9}}, {}}};
  return chart;
}

TEST_F(Gnuplot, IsGivenTheScriptAndGivesBackItsOutput) {
  pretend("echo arguments: $*\nwhile read -r line; do echo \"$line\"; done\n");
  EXPECT_EQ(run_gnuplot("plot 'x'\nexit\n"), "arguments: --default-settings\nplot 'x'\nexit\n");
}

// More than a pipe holds, both ways.
TEST_F(Gnuplot, MayReadNothingAndWriteMuch) {
  pretend("i=0\nwhile [ $i -lt 20000 ]; do echo 0123456789; i=$((i + 1)); done\n");
  EXPECT_EQ(run_gnuplot(std::string(1 << 20, 'x')).size(), 220000u);
}

TEST_F(Gnuplot, MissingIsSaidWithItsPackage) {
  expect_error(ErrorCode::kNotInstalled, {"gnuplot-nox", "PATH"}, [] { run_gnuplot("plot x\n"); });
  expect_error(ErrorCode::kNotInstalled, {"gnuplot-nox"}, [&] { write_chart(folder_ / "a.svg", small_chart()); });
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Gnuplot, ThatFailsIsQuotedAndLeavesNoFile) {
  pretend("echo '<svg>half a picture'\necho 'line 3: undefined variable' >&2\nexit 4\n");
  expect_error(ErrorCode::kIo, {"exit code 4", "undefined variable"},
               [&] { write_chart(folder_ / "a.svg", small_chart()); });
  EXPECT_EQ(folder_.entries(), 1u);
  pretend("kill -9 $$\n");
  expect_error(ErrorCode::kIo, {"signal 9"}, [] { run_gnuplot(""); });
  folder_.write("gnuplot", "no program");
  EXPECT_THROW(run_gnuplot(""), Error);
}

TEST(GnuplotString, CannotEndEarly) {
  EXPECT_EQ(gnuplot_string("plain"), "'plain'");
  EXPECT_EQ(gnuplot_string("it's"), "'it\u2019s'");
  EXPECT_EQ(gnuplot_string("a\nb\tc\x7f"), "'a b c '");
  EXPECT_EQ(gnuplot_string("\\n $x @y `z`"), "'\\n $x @y `z`'");
  EXPECT_EQ(gnuplot_string("\xc3\xa9"), "'\xc3\xa9'");
  EXPECT_EQ(gnuplot_string("a\xff"), "'a\xef\xbf\xbd'");
}

TEST(ChartScript, HoldsThePointsAndLeavesOutWhatIsNoNumber) {
  Chart chart = small_chart();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  chart.series[0].points = {{1, 0.125}, {2, kNan}, {kNan, 1}, {4, HUGE_VAL}, {5, 7}};
  const std::string script = chart_script(std::span(&chart, 1));
  EXPECT_THAT(script, HasSubstr("EOD\n1 0.125\n5 7\nEOD\n"));
  EXPECT_THAT(script, Not(testing::ContainsRegex("nan|inf")));
}

TEST(ChartScript, OfALogarithmicAxisHasOnlyWhatIsAboveZero) {
  Chart chart = small_chart();
  chart.log_x = chart.log_y = true;
  chart.series[0].points = {{0, 1}, {1, 0}, {10, 0.25}, {-1, -1}};
  const std::string script = chart_script(std::span(&chart, 1));
  EXPECT_THAT(script,
              AllOf(HasSubstr("EOD\n10 0.25\nEOD\n"), HasSubstr("set logscale y"), HasSubstr("set logscale x")));
}

// Numbers so large that one more is the same, and decades beyond a double's: a script all the same.
TEST(ChartScript, EndsWhateverTheNumbers) {
  Chart chart = small_chart();
  for (const auto& [low, high] : {std::pair{1e16, 1e16 + 2},
                                  {1e99, 1.0000001e99},
                                  {-1e100, 1e100},
                                  {1e-100, 1e100},
                                  {-1e308, 1},
                                  {5e-324, 1e10}}) {
    chart.series = {{"one", {{1, low}, {2, high}}, {}}};
    for (const bool log : {false, true}) {
      chart.log_y = log && low > 0;
      EXPECT_LT(chart_script(std::span(&chart, 1)).size(), 10'000u) << low;
    }
  }
}

TEST(ChartScript, NeedsAPoint) {
  Chart chart = small_chart();
  for (Series& series : chart.series) series.points.clear();
  expect_error(ErrorCode::kInvalidArgument, {"without a point"}, [&] { chart_script(std::span(&chart, 1)); });
  expect_error(ErrorCode::kInvalidArgument, {"without a point"}, [] { chart_script({}); });
}

TEST(ChartScript, LeavesOutChartsWithoutPoints) {
  std::vector<Chart> charts(2, small_chart());
  charts[1].y_label = "empty chart";
  for (Series& series : charts[1].series) series.points.clear();
  EXPECT_THAT(chart_script(charts), Not(HasSubstr("empty chart")));
}

// The numbers at the ticks of an axis.
std::string ticks(char axis, const Chart& chart) {
  std::smatch match;
  const std::string script = chart_script(std::span(&chart, 1));
  const std::regex pattern(fmt::format("set {}tics \\(([^)]*)\\)", axis));
  return std::regex_search(script, match, pattern) ? match[1].str() : "none";
}

TEST(ChartScript, TicksOfEpochsAreWhole) {
  const auto epochs = [](double last) {
    Chart chart = small_chart();
    chart.whole_x = true;
    chart.series = {{"one", {{1, 1}, {last, 2}}, {}}};
    return ticks('x', chart);
  };
  EXPECT_EQ(epochs(1), "1");
  EXPECT_EQ(epochs(3), "1, 2, 3");
  EXPECT_EQ(epochs(15), "2, 4, 6, 8, 10, 12, 14");
  EXPECT_EQ(epochs(90), "0, 10, 20, 30, 40, 50, 60, 70, 80, 90");
  EXPECT_EQ(epochs(300), "0, 50, 100, 150, 200, 250, 300");
}

TEST(ChartScript, TicksAreRoundAndAsManyAsFit) {
  Chart chart = small_chart();
  chart.series = {{"one", {{1, 0}, {2, 0.004}}, {}}};
  chart.height = 90;
  EXPECT_EQ(ticks('y', chart), "0, 0.002, 0.004");
  chart.height = 300;
  EXPECT_EQ(ticks('y', chart), "0, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.0035, 0.004");
  chart.series = {{"one", {{1, -12}, {2, 12}}, {}}};
  chart.height = 150;
  EXPECT_EQ(ticks('y', chart), "-10, 0, 10");
}

TEST(ChartScript, TicksOfALogarithmicAxisAreWithinItsDecades) {
  Chart chart = small_chart();
  chart.log_x = true;
  chart.series = {{"one", {{0.6, 1}, {34, 2}}, {}}};
  EXPECT_EQ(ticks('x', chart), "1, 2, 5, 10, 20");
  chart.series = {{"one", {{1e-6, 1}, {1, 2}}, {}}};
  EXPECT_EQ(ticks('x', chart), "1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1");
  chart.series = {{"one", {{1e-30, 1}, {1e30, 2}}, {}}};
  EXPECT_EQ(std::ranges::count(ticks('x', chart), ','), 10);
}

// Heights of the names at the right edge, in pixels from above, in the order of the series.
std::vector<double> heights_of_names(const std::string& script) {
  std::smatch size;
  std::regex_search(script, size, std::regex("svg size ([0-9]+),([0-9]+)"));
  std::vector<double> heights;
  const std::regex label("set label 'name[^\n]*screen ([0-9.]+), screen ([0-9.]+)");
  for (std::sregex_iterator it(script.begin(), script.end(), label), end; it != end; ++it) {
    heights.push_back((1 - std::stod((*it)[2])) * std::stod(size[2]));
  }
  return heights;
}

TEST(ChartScript, KeepsNamesApartAndWithinThePicture) {
  for (const int count : {2, 5, 40}) {
    Chart chart = small_chart();
    chart.series.clear();
    // All lines end at the same point.
    for (int i = 0; i < count; ++i) chart.series.push_back({fmt::format("name {}", i), {{1, 1.0 * i}, {2, 7}}, {}});
    const std::string script = chart_script(std::span(&chart, 1));
    std::vector<double> heights = heights_of_names(script);
    ASSERT_EQ(heights.size(), static_cast<std::size_t>(count));
    std::sort(heights.begin(), heights.end());
    for (std::size_t i = 1; i < heights.size(); ++i) EXPECT_GE(heights[i] - heights[i - 1], 17.9) << i;
    std::smatch size;
    std::regex_search(script, size, std::regex("svg size ([0-9]+),([0-9]+)"));
    EXPECT_GT(heights.front(), 0);
    EXPECT_LT(heights.back(), std::stod(size[2]));
  }
}

TEST(ChartScript, PutsNamesInTheOrderOfTheirLines) {
  Chart chart = small_chart();
  chart.series = {{"name low", {{1, 9}, {2, 1.0}}, {}}, {"name high", {{1, 0}, {2, 1.1}}, {}}};
  const std::vector<double> heights = heights_of_names(chart_script(std::span(&chart, 1)));
  ASSERT_EQ(heights.size(), 2u);
  EXPECT_GT(heights[0], heights[1]) << "further from the upper edge is lower";
}

TEST(ChartScript, CutsLongTextsByLettersNotBytes) {
  Chart chart = small_chart();
  chart.title.clear();
  for (int i = 0; i < 200; ++i) chart.title += "\xc3\xa9";
  chart.series[0].name = std::string(32, 'a');
  chart.series[1].name = std::string(33, 'b');
  const std::string script = chart_script(std::span(&chart, 1));
  EXPECT_THAT(script, HasSubstr("'" + std::string(32, 'a') + "'"));
  EXPECT_THAT(script, HasSubstr("'" + std::string(31, 'b') + "…'"));
  EXPECT_THAT(script, HasSubstr("\xc3\xa9…'"));
}

// With the gnuplot of this machine.
class RealGnuplot : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(RealGnuplot, DrawsAWholePictureWithItsTexts) {
  write_chart(folder_ / "a.svg", small_chart());
  const std::string svg = read_text(folder_ / "a.svg");
  EXPECT_THAT(svg, AllOf(StartsWith("<?xml"), HasSubstr("</svg>"), HasSubstr("A title"), HasSubstr("epoch"),
                         HasSubstr(">one<"), HasSubstr(">two<")));
  write_chart(folder_ / "b.svg", small_chart());
  EXPECT_EQ(svg, read_text(folder_ / "b.svg"));
}

TEST_F(RealGnuplot, RunsNoCommandOfATitle) {
  const std::string file = (folder_ / "made").string();
  const std::vector<std::string> titles = {"`touch " + file + "`",       "'; system('touch " + file + "') #",
                                           "\"`touch " + file + "`\"",   "x'\nsystem 'touch " + file + "'\n#",
                                           "EOD\n!touch " + file + "\n", "<b> & \"c\" 100% _^{x} @y $z \\"};
  for (const std::string& title : titles) {
    Chart chart = small_chart();
    chart.title = chart.x_label = chart.y_label = chart.series[0].name = title;
    write_chart(folder_ / "a.svg", chart);
    EXPECT_FALSE(std::filesystem::exists(file)) << title;
  }
  EXPECT_THAT(read_text(folder_ / "a.svg"), HasSubstr("&lt;b> &amp; \"c\" 100%"));
}

TEST_F(RealGnuplot, DrawsASinglePointAndALevelLine) {
  Chart chart = small_chart();
  for (const std::vector<Point>& points : {std::vector<Point>{{1, 0}}, {{1, 2}, {2, 2}}, {{1, -3}}}) {
    chart.series = {{"one", points, {}}};
    for (const bool log : {false, true}) {
      if (log && points[0].y <= 0) continue;
      chart.log_x = chart.log_y = log;
      EXPECT_NO_THROW(write_chart(folder_ / "a.svg", chart));
    }
  }
}

TEST_F(RealGnuplot, TellsOfAnErrorInAScript) {
  expect_error(ErrorCode::kIo, {"exit code", "nonsense"}, [] { run_gnuplot("set nonsense\n"); });
}

TEST_F(RealGnuplot, DrawsARunAsFarAsThereIsSomethingToDraw) {
  RunCurves curves;
  curves.train_loss = {{1, 2.3}, {2, 2.0}};
  curves.lr = {{1, 1e-3}, {2, 5e-4}};
  write_curves(folder_ / "a.svg", "runs/first", curves);
  std::string svg = read_text(folder_ / "a.svg");
  EXPECT_THAT(svg, AllOf(HasSubstr("runs/first"), HasSubstr("training"), HasSubstr("learning rate")));
  EXPECT_THAT(svg, AllOf(Not(HasSubstr("top-1")), Not(HasSubstr("held out")), Not(HasSubstr("average"))));
  curves.model_loss = {{1, 2.2}, {2, 2.1}};
  curves.model_top1 = {{1, 22}, {2, 33}};
  curves.average_top1 = {{1, 12}, {2, 23}};
  write_curves(folder_ / "a.svg", "runs/first", curves);
  svg = read_text(folder_ / "a.svg");
  EXPECT_THAT(svg, AllOf(HasSubstr("top-1, %"), HasSubstr(">held out<"), HasSubstr(">average<")));
}

}  // namespace
}  // namespace convnext
