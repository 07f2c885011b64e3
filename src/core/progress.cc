#include "core/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace convnext {
namespace {

constexpr std::int64_t kBarWidth = 24;

}  // namespace

double Progress::seconds(Clock::time_point now) const { return std::chrono::duration<double>(now - start_).count(); }

double Progress::per_second(Clock::time_point now) const {
  const double elapsed = seconds(now);
  return elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
}

std::string Progress::line(Clock::time_point now) const {
  const double rate = per_second(now);
  // Slow work in tenths: "0.4/s" tells more than "0/s".
  const std::string speed =
      rate < 10 ? fmt::format("{:.1f}/s", rate) : format_count(static_cast<std::int64_t>(std::llround(rate))) + "/s";
  if (total_ <= 0) return fmt::format("{} {}  {}", format_count(done_), unit_, speed);

  const double part = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  const auto filled = static_cast<std::int64_t>(part * kBarWidth);
  std::string line = fmt::format("[{:#<{}}{:.<{}}] {:3d} %  {} of {} {}  {}", "", filled, "", kBarWidth - filled,
                                 static_cast<int>(100 * part), format_count(done_), format_count(total_), unit_, speed);
  if (rate > 0 && done_ < total_) {
    line += fmt::format("  {} left", format_duration(std::ceil(static_cast<double>(total_ - done_) / rate)));
  }
  return line;
}

std::string format_duration(double seconds) {
  if (!(seconds > 0)) return "0 s";
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", 1000 * seconds);
  if (seconds < 9.95) return fmt::format("{:.2g} s", seconds);
  constexpr double kLongest = 1e15;  // beyond it, and at infinity, nobody counts days
  const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, kLongest)));
  constexpr std::int64_t kHour = 60 * 60, kMinutesADay = 24 * 60;
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < kHour) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  const std::int64_t minutes = whole / 60;
  if (minutes < kMinutesADay) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  return fmt::format("{} d {:02} h", minutes / kMinutesADay, minutes / 60 % 24);
}

std::string format_count(std::int64_t count) {
  std::string text = fmt::format("{}", count);
  const std::size_t first_digit = count < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > first_digit + 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 6> kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {  // what would print as 1000.0 goes to the next unit
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace convnext
