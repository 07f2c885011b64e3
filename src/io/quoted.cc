#include "io/quoted.h"

#include <fmt/format.h>

#include <cstddef>

namespace convnext {
namespace {

// Bytes of the UTF-8 character that the text begins with; 1 where it begins with none.
std::size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t bytes = first >= 0xf0 && first < 0xf8 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
  if (first >= 0xf8 || bytes > text.size()) return 1;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 1;
  }
  return bytes;
}

}  // namespace

std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 200;
  std::string text = "'";
  std::size_t at = 0;
  while (at < name.size()) {
    const std::string_view character = name.substr(at, character_bytes(name.substr(at)));
    if (at + character.size() > kLongest) break;
    at += character.size();
    const auto first = static_cast<unsigned char>(character.front());
    const auto last = static_cast<unsigned char>(character.back());
    if (character.size() == 1 && (first < 0x20 || first >= 0x7f)) {
      text += fmt::format("\\x{:02x}", first);
    } else if (first == 0xc2 && last < 0xa0) {  // U+0080 to U+009f, the controls of 8-bit terminals
      text += fmt::format("\\u{:04x}", last);
    } else {
      text += character;
    }
  }
  return text + (at < name.size() ? "...'" : "'");
}

}  // namespace convnext
