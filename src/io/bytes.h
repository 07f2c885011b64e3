// Numbers and texts in the bytes of a file.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace convnext {

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// The unsigned number in the `size` bytes (at most 8) from `at` on; 0 where the bytes end before. Whoever has to tell
// that from a zero compares sizes first.
inline std::uint64_t number_at(std::span<const std::byte> bytes, std::uint64_t at, std::size_t size,
                               std::endian order) {
  if (at > bytes.size() || size > bytes.size() - at) return 0;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t next = order == std::endian::big ? i : size - 1 - i;
    number = number << 8 | std::to_integer<std::uint64_t>(bytes[at + next]);
  }
  return number;
}
inline std::uint64_t little_endian(std::span<const std::byte> bytes, std::uint64_t at, std::size_t size) {
  return number_at(bytes, at, size, std::endian::little);
}
inline std::uint64_t big_endian(std::span<const std::byte> bytes, std::uint64_t at, std::size_t size) {
  return number_at(bytes, at, size, std::endian::big);
}

// The lowest `size` bytes of a number, the lowest first.
inline void append_little_endian(std::string& text, std::uint64_t number, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(number >> (8 * i));
}

}  // namespace convnext
