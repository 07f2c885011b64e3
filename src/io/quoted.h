// Names out of a file, fit for a message.
#pragma once

#include <string>
#include <string_view>

namespace convnext {

// In single quotes, cut at a character within 200 bytes; controls, and bytes that are not UTF-8, spelled out: hostile
// names are long, or drive a terminal.
std::string in_quotes(std::string_view name);

}  // namespace convnext
