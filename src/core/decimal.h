// Numbers as people wrote them.
#pragma once

#include <array>
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

inline std::array<double, 3> as_decimals(const std::array<float, 3>& values) {
  return {as_decimal(values[0]), as_decimal(values[1]), as_decimal(values[2])};
}

}  // namespace convnext
