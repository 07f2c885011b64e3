// What a person sees: tables, bars, and one line of progress. Colours and progress only where there is a terminal.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "core/progress.h"

namespace convnext::apps {

// "convnext: message" on standard error.
void report(std::string_view message);

// Text on standard output, which is seen at once in a terminal, at the end of the program elsewhere.
void print(std::string_view text);

// What was printed so far goes to whoever reads it.
void flush();

// A JSON value as the document that standard output is. File names and labels may hold any bytes: those that are not
// UTF-8 are replaced.
template <typename Json>
std::string to_document(const Json& json, int indent = 2) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}
template <typename Json>
void print_document(const Json& json) {
  print(to_document(json) + "\n");
}

// Text that stands out, when standard output is a terminal and NO_COLOR is not set.
std::string strong(std::string_view text);
std::string faint(std::string_view text);

// "#######" for a part in [0, 1] of `width`.
std::string bar(double part, int width);

// "82.07 %".
std::string format_percent(double percent);

// Columns as wide as their widest cell.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    std::size_t width = 0;  // at least so many characters, for rows that are shown as they come
  };

  explicit Table(std::vector<Column> columns);
  // As many cells as there are columns.
  void add(std::vector<std::string> cells);
  // The titles, then the rows; each line ends with a newline.
  std::string text() const;
  // The titles alone, and the row that came last: columns are as wide as they have had to be so far.
  std::string title_line() const;
  std::string last_line() const;

 private:
  std::string line(const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;  // their widths are those of the widest cells
  std::vector<std::vector<std::string>> rows_;
};

// One line at the bottom of the terminal that is drawn again as work goes on, and gone at the end. Nothing is drawn
// when standard error is not a terminal.
class ProgressLine {
 public:
  explicit ProgressLine(Progress progress);
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Whether a total is worth finding out.
  static bool is_shown();

  void advance(std::int64_t count);
  // Call it before anything else is written to the terminal.
  void clear();
  const Progress& progress() const { return progress_; }

 private:
  Progress progress_;
  bool drawn_ = false;
  Progress::Clock::time_point next_;
};

}  // namespace convnext::apps
