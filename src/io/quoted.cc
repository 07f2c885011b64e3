#include "io/quoted.h"

#include <fmt/format.h>

#include <cstddef>

namespace convnext {

std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 200;
  std::string text = "'";
  for (const char c : name.substr(0, kLongest)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + (name.size() > kLongest ? "...'" : "'");
}

}  // namespace convnext
