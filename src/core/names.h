// Values of an enumeration and the names that command lines, recipes and cards have for them.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace convnext {

template <typename Value>
struct Named {
  Value value;
  std::string_view name;
};

// "a, b or c".
std::string listed(std::span<const std::string_view> names);

// Throws Error (kInvalidArgument) that says what the name is of, and which there are.
[[noreturn]] void refuse_name(std::string_view what, std::string_view name, std::span<const std::string_view> known);

template <typename Value, std::size_t count>
constexpr std::string_view find_name(const std::array<Named<Value>, count>& table, Value value) {
  for (const Named<Value>& known : table) {
    if (known.value == value) return known.name;
  }
  throw std::logic_error("find_name: not a value of its type");
}

// Throws Error (kInvalidArgument). `what` the name is of: "crop mode", "--optimizer".
template <typename Value, std::size_t count>
Value find_value(const std::array<Named<Value>, count>& table, std::string_view name, std::string_view what) {
  std::array<std::string_view, count> names;
  for (std::size_t i = 0; i < count; ++i) {
    if (table[i].name == name) return table[i].value;
    names[i] = table[i].name;
  }
  refuse_name(what, name, names);
}

}  // namespace convnext
