// What charts of every kind are made of: ranges of values, round numbers at their ticks, colours, texts that fit, and
// the lines of a gnuplot script for them.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace convnext {

// The palette: told apart by colour-blind readers and in print.
enum class Colour { kBlue, kOrange, kGrey, kGreen, kPurple, kRed, kTeal, kBrown, kPink };
// "#1f5fa8".
std::string_view rgb_of(Colour colour);

// Of the values on an axis.
struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value);
  bool empty() const { return low > high; }
  // Where `value` lies, from 0 to 1.
  double place(double value, bool log) const;
};

// Room around the values: `part` of their range on both sides, and something where they are all nearly the same.
Range widened(Range range, double part, bool log);

// Whether an axis can hold it: finite, not beyond 1e100, above 0 on a logarithmic one. False for NaN too.
bool drawable(double value, bool log);

// At most about `most` round numbers within the range: multiples of 1, 2 or 5 times a power of ten, whole ones with
// `whole`, or on a logarithmic axis these numbers themselves, as far as they are not too many.
std::vector<double> ticks(const Range& range, double most, bool log, bool whole);

// Of UTF-8.
std::size_t letters(const std::string& text);
// At most `letters` letters of UTF-8, the last a "…" where some are missing.
std::string cut_short(const std::string& text, std::size_t letters);

// The script's lines that give the axis `name` ('x' or 'y') its range, scale and ticks.
std::string axis_script(char name, const Range& range, bool log, const std::vector<double>& ticks);
// A text at a place in the picture, both from 0 to 1, from its lower left corner. `style`: "left tc rgb '#444444'".
std::string label_script(const std::string& text, double x, double y, const std::string& style);

}  // namespace convnext
