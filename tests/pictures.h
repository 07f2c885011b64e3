// Pictures as files, written by the test itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "convnext/image.h"
#include "io/picture.h"

namespace convnext {

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// A PNG file in a folder that need not be there yet.
inline void write_picture(const std::filesystem::path& path, const Image& image) {
  std::filesystem::create_directories(path.parent_path());
  write_png(path, image);
}

// A PNG file of one pixel whose header promises width x height.
inline std::string png_that_promises(std::uint32_t width, std::uint32_t height) {
  const auto big_endian = [](std::uint32_t value) {
    return std::string{static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
                       static_cast<char>(value)};
  };
  std::string file = encode_png({.width = 1, .height = 1, .pixels = {0, 0, 0}});
  // Signature, then the first chunk: length, "IHDR", sides, five more bytes, CRC of all from the name on.
  constexpr std::size_t kName = 12, kSides = 16, kCrc = 29;
  file.replace(kSides, 8, big_endian(width) + big_endian(height));
  std::uint32_t crc = ~0u;
  for (std::size_t i = kName; i < kCrc; ++i) {
    crc ^= static_cast<unsigned char>(file[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc % 2 == 0 ? 0 : 0xedb88320u);
  }
  file.replace(kCrc, 4, big_endian(~crc));
  return file;
}

// A grey 16x16 JPEG, of a diagonal ramp.
inline std::string small_jpeg() {
  constexpr std::string_view kHex =
      "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c"
      "3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc0000b080010001001011100ffc4001500010100"
      "000000000000000000000000000600ffc40017100100030000000000000000000000000004002131ffda0008010100003f003621e54402"
      "1e54843ca88043ca9fffd9";
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i < kHex.size(); i += 2) {
    bytes += static_cast<char>(digit(kHex[i]) << 4 | digit(kHex[i + 1]));
  }
  return bytes;
}

}  // namespace convnext
