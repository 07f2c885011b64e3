#include "plot/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "plot/gnuplot.h"

namespace convnext {
namespace {

constexpr std::array<std::string_view, 9> kColours = {"#1f5fa8", "#d9690a", "#6b6b6b", "#2a8a57", "#7a4fa3",
                                                      "#b3261e", "#1593a5", "#8a5a2b", "#c2478f"};

}  // namespace

std::string_view rgb_of(Colour colour) { return kColours[static_cast<std::size_t>(colour)]; }

void Range::include(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
}

double Range::place(double value, bool log) const {
  return log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
}

Range widened(Range range, double part, bool log) {
  constexpr double kNearlyTheSame = 1e-9;
  if (log) {
    const double decades = std::log10(range.high) - std::log10(range.low);
    const double ratio = std::pow(10, decades > kNearlyTheSame ? part * decades : 0.3);
    return {range.low / ratio, range.high * ratio};
  }
  const double span = range.high - range.low, largest = std::max(std::fabs(range.low), std::fabs(range.high));
  const double room = span > kNearlyTheSame * largest ? part * span : std::max(0.5 * largest, 0.5);
  return {range.low - room, range.high + room};
}

bool drawable(double value, bool log) {
  constexpr double kLargest = 1e100;  // so that no range of them overflows
  return std::fabs(value) <= kLargest && (!log || value >= 1 / kLargest);
}

std::vector<double> ticks(const Range& range, double most, bool log, bool whole) {
  std::vector<double> values;
  if (log) {
    const double decades = std::log10(range.high) - std::log10(range.low);
    const int every = std::max(1, static_cast<int>(std::ceil(decades / most)));  // decades between ticks
    const bool between = decades * 3 <= most;
    for (double power = every * std::floor(std::log10(range.low) / every); power <= std::log10(range.high);
         power += every) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        const double value = factor * std::pow(10, power);
        if ((between || factor == 1.0) && value >= range.low && value <= range.high) values.push_back(value);
      }
    }
    return values;
  }
  const double least = (range.high - range.low) / most;
  const double power = std::pow(10, std::floor(std::log10(least)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= least) step = factor * power;
  }
  if (whole) step = std::max(step, 1.0);
  for (double i = std::ceil(range.low / step); i * step <= range.high; ++i) {
    values.push_back(i * step + 0.0);  // + 0.0: no "-0"
  }
  return values;
}

std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cut_short(const std::string& text, std::size_t letters) {
  std::size_t count = 0, end_of_kept = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_letter = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (begins_letter && ++count == letters) end_of_kept = i;
  }
  return count > letters ? text.substr(0, end_of_kept) + "…" : text;
}

std::string axis_script(char name, const Range& range, bool log, const std::vector<double>& ticks) {
  return fmt::format("{0} logscale {1}\nset {1}range [{2:.9g}:{3:.9g}]\nset {1}tics ({4:.9g})\n", log ? "set" : "unset",
                     name, range.low, range.high, fmt::join(ticks, ", "));
}

std::string label_script(const std::string& text, double x, double y, const std::string& style) {
  return fmt::format("set label {} at screen {:.6f}, screen {:.6f} noenhanced {}\n", gnuplot_string(text), x, y, style);
}

}  // namespace convnext
