// Names out of a file, fit for a message.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace convnext {

// In single quotes, cut at a character within 200 bytes; controls, and bytes that are not UTF-8, spelled out: hostile
// names are long, or drive a terminal.
std::string in_quotes(std::string_view name);

// "'a', 'b' and 3 more": at most `most` of a list's items, each as `text` spells it.
template <typename Items, typename Text = decltype(in_quotes)>
std::string examples_of(const Items& items, std::size_t most, const Text& text = in_quotes) {
  const std::size_t shown = std::min(items.size(), most);
  std::string list;
  for (std::size_t i = 0; i < shown; ++i) list += (i > 0 ? ", " : "") + text(items[i]);
  if (items.size() > shown) list += " and " + std::to_string(items.size() - shown) + " more";
  return list;
}

}  // namespace convnext
