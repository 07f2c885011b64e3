#include "io/json_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <system_error>
#include <utility>

#include "core/progress.h"
#include "io/file.h"

namespace convnext {

void check_json(std::string_view text, std::string_view source, const FileLimits& limits) {
  std::int64_t depth = 0;
  std::int64_t values = 1;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char character = text[at];
    if (in_string) {
      if (character == '\\') ++at;
      in_string = character != '"';
      continue;
    }
    in_string = character == '"';
    const bool opens = character == '[' || character == '{';
    if (opens) ++depth;
    if (character == ']' || character == '}') --depth;
    if (opens || character == ',') ++values;
    if (depth <= limits.max_nesting && values <= limits.max_memo) continue;
    const std::string place = fmt::format("{} at byte {}", source, at);
    if (depth > limits.max_nesting) {
      throw_beyond_limit(place, fmt::format("values are nested {} deep", format_count(depth)), limits,
                         &FileLimits::max_nesting);
    }
    throw_beyond_limit(place, fmt::format("there are {} values", format_count(values)), limits, &FileLimits::max_memo);
  }
}

std::string read_json_text(const std::filesystem::path& path, const FileLimits& limits) {
  const std::string source = fmt::format("'{}'", path.string());
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (!error && std::cmp_greater(bytes, limits.max_header_bytes)) {
    throw_beyond_limit(source, fmt::format("the file is {} bytes", format_count(static_cast<std::int64_t>(bytes))),
                       limits, &FileLimits::max_header_bytes);
  }
  std::string text = read_text(path, static_cast<std::size_t>(limits.max_header_bytes));
  check_json(text, source, limits);
  return text;
}

}  // namespace convnext
