#include "apps/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace convnext::apps {
namespace {

constexpr auto kRedrawEvery = std::chrono::milliseconds(100);

bool has_colours() {
  static const bool colours = ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  return colours;
}

// Characters, not bytes, of UTF-8 text: labels are in any language.
std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string padded(std::string_view text, std::size_t width, Table::Align align) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return align == Table::Align::kLeft ? std::string(text) + space : space + std::string(text);
}

}  // namespace

// Neither throws: a stream that cannot be written to is noticed once, at the end of the program.
void report(std::string_view message) {
  const std::string line = fmt::format("convnext: {}\n", message);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void flush() { std::fflush(stdout); }

std::string strong(std::string_view text) {
  return has_colours() ? fmt::format("\x1b[1m{}\x1b[0m", text) : std::string(text);
}

std::string faint(std::string_view text) {
  return has_colours() ? fmt::format("\x1b[2m{}\x1b[0m", text) : std::string(text);
}

std::string bar(double part, int width) {
  const double filled = std::clamp(std::isfinite(part) ? part : 0.0, 0.0, 1.0) * width;
  return std::string(static_cast<std::size_t>(std::lround(filled)), '#');
}

std::string format_percent(double percent) { return fmt::format("{:.2f} %", percent); }

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.width = std::max(column.width, display_width(column.title));
}

void Table::add(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    columns_[i].width = std::max(columns_[i].width, display_width(cells[i]));
  }
  rows_.push_back(std::move(cells));
}

std::string Table::line(const std::vector<std::string>& cells) const {
  std::string text;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) text += "  ";
    text += padded(cells[i], columns_[i].width, columns_[i].align);
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string Table::title_line() const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  return strong(line(titles)) + "\n";
}

std::string Table::last_line() const { return line(rows_.back()) + "\n"; }

std::string Table::text() const {
  std::string text = title_line();
  for (const auto& row : rows_) text += line(row) + "\n";
  return text;
}

ProgressLine::ProgressLine(Progress progress) : progress_(std::move(progress)), next_(Progress::Clock::now()) {}

bool ProgressLine::is_shown() { return ::isatty(STDERR_FILENO) == 1; }

void ProgressLine::advance(std::int64_t count) {
  progress_.advance(count);
  const auto now = Progress::Clock::now();
  if (!is_shown() || now < next_) return;
  next_ = now + kRedrawEvery;
  fmt::print(stderr, "\r\x1b[K{}", progress_.line(now));
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressLine::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace convnext::apps
