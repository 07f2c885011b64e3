#include "plot/text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace convnext {

std::string drawable_text(const std::string& text) {
  // The JSON writer is the one that knows UTF-8.
  std::string whole =
      nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::ranges::replace_if(whole, is_control, ' ');
  return whole;
}

}  // namespace convnext
