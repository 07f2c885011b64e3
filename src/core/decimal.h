// Numbers as people wrote them.
#pragma once

#include <charconv>

namespace convnext {

// The double that prints as the float does: 0.485 for 0.485f, which is nearer to 0.48500001430511475.
inline double as_decimal(float value) {
  char text[32];
  const char* const end = std::to_chars(text, text + sizeof text, value).ptr;
  double result = value;
  std::from_chars(text, end, result);
  return result;
}

}  // namespace convnext
