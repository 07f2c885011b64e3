// JSON of somebody else's before it is parsed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "io/file_limits.h"

namespace convnext {

// Throws Error (kUnsupported) for more nesting or more values than the limits allow: a parser makes a value of each
// byte if need be, and who walks through them recurses. `source` names the text in messages. Whether it is JSON at all
// is the parser's to say.
void check_json(std::string_view text, std::string_view source, const FileLimits& limits);

// A JSON file, of max_header_bytes at most, that check_json() has passed. Throws Error, as read_text() too.
std::string read_json_text(const std::filesystem::path& path, const FileLimits& limits);

}  // namespace convnext
