#include "model/class_matching.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <span>

#include "convnext/error.h"
#include "io/file.h"
#include "model/imagenet_labels.h"

namespace convnext {
namespace {

constexpr std::size_t kExamples = 5;
constexpr std::size_t kSynsetLength = 9;  // "n02123045": WordNet's part of speech and offset

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Case, underscores and spaces differ between label files and folders.
std::string normalized(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = ' ';
  }
  return result;
}

// "n02123045" of "n02123045", "n02123045 tabby" and "n02123045_tabby"; empty when there is none.
std::string_view synset_of(std::string_view text) {
  if (text.size() < kSynsetLength || text[0] != 'n') return {};
  if (!std::ranges::all_of(text.substr(1, kSynsetLength - 1), is_digit)) return {};
  if (text.size() > kSynsetLength && text[kSynsetLength] != ' ' && text[kSynsetLength] != '_') return {};
  return text.substr(0, kSynsetLength);
}

// "tabby" of "n02123045 tabby".
std::string_view without_synset(std::string_view label) {
  const std::size_t length = synset_of(label).size();
  return length == 0 || label.size() <= length + 1 ? label : label.substr(length + 1);
}

std::string examples(std::span<const std::string> names) {
  const auto shown = names.first(std::min(names.size(), kExamples));
  return fmt::format("'{}'{}", fmt::join(shown, "', '"), names.size() > kExamples ? ", ..." : "");
}

// Without the white space at their ends.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

class LabelIndex {
 public:
  explicit LabelIndex(const std::vector<std::string>& labels) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const int index = static_cast<int>(i);
      exact_[labels[i]].insert(index);
      loose_[normalized(labels[i])].insert(index);
      loose_[normalized(without_synset(labels[i]))].insert(index);
      if (const std::string_view id = synset_of(labels[i]); !id.empty()) synsets_[std::string(id)].insert(index);
    }
    if (const ImagenetList* list = synsets_.empty() ? recognized_imagenet_list(labels) : nullptr) {
      for (std::size_t i = 0; i < labels.size(); ++i) synsets_[list->synsets[i]].insert(static_cast<int>(i));
    }
  }

  // Throws when the name fits several classes: ImageNet has two cranes.
  std::optional<int> find(const std::string& name) const {
    if (const auto found = look_up(exact_, name, name)) return found;
    if (const auto found = look_up(loose_, normalized(name), name)) return found;
    return look_up(synsets_, std::string(synset_of(name)), name);
  }

 private:
  using Indices = std::map<std::string, std::set<int>>;

  static std::optional<int> look_up(const Indices& indices, const std::string& key, const std::string& name) {
    const auto found = indices.find(key);
    if (found == indices.end()) return std::nullopt;
    if (found->second.size() > 1) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' fits the classes {} alike: say which with a class map", name,
                                                    fmt::join(found->second, ", ")));
    }
    return *found->second.begin();
  }

  Indices exact_, loose_, synsets_;
};

std::optional<int> parse_index(const std::string& text, int count) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index < 0 || index >= count) return std::nullopt;
  return index;
}

// What the class map says of a folder. A label that is a number is taken as the label.
int mapped_class(const std::string& folder, const std::string& value, const LabelIndex& labels, int count) {
  if (const auto index = labels.find(value)) return *index;
  if (const auto index = parse_index(value, count)) return *index;
  throw Error(ErrorCode::kMismatch,
              fmt::format("the class map sends '{}' to '{}', which is neither a label of the model nor an index from 0 "
                          "to {}",
                          folder, value, count - 1));
}

}  // namespace

ClassMap read_class_map(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  ClassMap map;
  int number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const std::size_t tab = line.find('\t');
    const std::size_t gap = tab != std::string_view::npos ? tab : line.find(' ');
    const std::size_t value = gap == std::string_view::npos ? gap : line.find_first_not_of(" \t", gap);
    if (gap == 0 || value == std::string_view::npos) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("'{}', line {}: expected a folder and a label or an index", path.string(), number));
    }
    const auto [entry, added] = map.emplace(line.substr(0, gap), line.substr(value));
    if (!added) {
      throw Error(ErrorCode::kDamaged,
                  fmt::format("'{}', line {}: the folder '{}' is listed twice", path.string(), number, entry->first));
    }
  }
  return map;
}

std::vector<std::string> read_labels(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<std::string> labels;
  for (const std::string_view line : lines_of(text)) {
    if (line.empty()) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}', line {}: expected the label of class {}", path.string(),
                                                   labels.size() + 1, labels.size()));
    }
    labels.emplace_back(line);
  }
  if (labels.empty()) throw Error(ErrorCode::kDamaged, fmt::format("'{}' holds no labels", path.string()));
  return labels;
}

std::vector<int> match_classes(const std::vector<std::string>& folders, const ModelClasses& classes,
                               const ClassMap& map) {
  const LabelIndex labels(classes.labels);
  std::vector<int> indices;
  std::vector<std::string> unmatched;
  for (const std::string& folder : folders) {
    const auto mapped = map.find(folder);
    if (mapped == map.end()) {
      const std::optional<int> index = labels.find(folder);
      if (!index) unmatched.push_back(folder);
      indices.push_back(index.value_or(-1));
      continue;
    }
    const int index = mapped_class(folder, mapped->second, labels, classes.count);
    const bool is_label = std::ranges::find(classes.labels, folder) != classes.labels.end();
    if (is_label && classes.labels[static_cast<std::size_t>(index)] != folder) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("the class map sends '{}' to '{}', but the model has a class of that folder's name",
                              folder, mapped->second));
    }
    indices.push_back(index);
  }
  if (unmatched.empty()) return indices;
  if (classes.labels.empty()) {
    throw Error(
        ErrorCode::kMismatch,
        fmt::format("the model has no labels to match the class folders {} with: give a class map (--class-map) "
                    "of lines 'folder index', or match by sorted order (--by-index)",
                    examples(unmatched)));
  }
  throw Error(
      ErrorCode::kMismatch,
      fmt::format("{} of {} class folders fit no label of the model: {}; its labels are {}: rename the folders, "
                  "or give a class map (--class-map) of lines 'folder label'",
                  unmatched.size(), folders.size(), examples(unmatched), examples(classes.labels)));
}

std::vector<int> match_classes_by_index(const std::vector<std::string>& folders, const ModelClasses& classes) {
  if (folders.size() != static_cast<std::size_t>(classes.count)) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("{} class folders ({}) cannot be matched by index with the model's {} classes{}",
                            folders.size(), examples(folders), classes.count,
                            classes.labels.empty() ? "" : fmt::format(" ({})", examples(classes.labels))));
  }
  std::vector<int> indices(folders.size());
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int>(i);
  return indices;
}

}  // namespace convnext
