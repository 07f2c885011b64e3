// Pictures as files, written by the test itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "convnext/image.h"

namespace convnext {

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// PNG without compression (RFC 2083; stored blocks of RFC 1951): small pictures only, of up to 64 kB of pixels.
class PngWriter {
 public:
  static std::string encode(const Image& image) {
    std::string rows;
    const std::size_t row_bytes = static_cast<std::size_t>(image.width) * 3;
    for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y) {
      rows += '\0';  // no filter
      rows.append(reinterpret_cast<const char*>(image.pixels.data()) + y * row_bytes, row_bytes);
    }
    return file(image.width, image.height, rows);
  }

  // A whole file whose header promises width x height whatever `rows` holds.
  static std::string file(int width, int height, const std::string& rows) {
    if (rows.size() > 0xffff) throw std::invalid_argument("the picture does not fit one stored block");
    std::string header = big_endian(static_cast<std::uint32_t>(width)) + big_endian(static_cast<std::uint32_t>(height));
    header += std::string("\x08\x02\x00\x00\x00", 5);  // 8 bits a channel, RGB
    const auto size = static_cast<std::uint16_t>(rows.size());
    std::string stream("\x78\x01\x01", 3);
    for (const int word : {int{size}, ~int{size}}) {
      stream += {static_cast<char>(word & 0xff), static_cast<char>(word >> 8 & 0xff)};
    }
    stream += rows + big_endian(adler32(rows));
    return std::string("\x89PNG\r\n\x1a\n", 8) + chunk("IHDR", header) + chunk("IDAT", stream) + chunk("IEND", "");
  }

 private:
  static std::string big_endian(std::uint32_t value) {
    return {static_cast<char>(value >> 24), static_cast<char>(value >> 16 & 0xff), static_cast<char>(value >> 8 & 0xff),
            static_cast<char>(value & 0xff)};
  }

  static std::uint32_t crc32(const std::string& bytes) {
    std::uint32_t crc = 0xffffffffu;
    for (const char c : bytes) {
      crc ^= static_cast<unsigned char>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
    }
    return ~crc;
  }

  static std::uint32_t adler32(const std::string& bytes) {
    std::uint32_t a = 1, b = 0;
    for (const char c : bytes) {
      a = (a + static_cast<unsigned char>(c)) % 65521;
      b = (b + a) % 65521;
    }
    return b << 16 | a;
  }

  static std::string chunk(const std::string& kind, const std::string& data) {
    return big_endian(static_cast<std::uint32_t>(data.size())) + kind + data + big_endian(crc32(kind + data));
  }
};

inline void write_png(const std::filesystem::path& path, const Image& image) {
  write_bytes(path, PngWriter::encode(image));
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
