#include "core/names.h"

#include <fmt/format.h>

#include "convnext/error.h"

namespace convnext {

std::string listed(std::span<const std::string_view> names) {
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) all += i + 1 == names.size() ? " or " : ", ";
    all += names[i];
  }
  return all;
}

void refuse_name(std::string_view what, std::string_view name, std::span<const std::string_view> known) {
  throw Error(ErrorCode::kInvalidArgument, fmt::format("{} is '{}': expected {}", what, name, listed(known)));
}

}  // namespace convnext
