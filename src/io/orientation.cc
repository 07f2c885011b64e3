#include "io/orientation.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace convnext {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;

std::uint32_t byte_at(std::string_view bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }

// An unsigned number of `count` bytes; 0 where the bytes end before.
std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t count, bool little_endian) {
  if (at > bytes.size() || count > bytes.size() - at) return 0;
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value = value << 8 | byte_at(bytes, at + (little_endian ? count - 1 - i : i));
  }
  return value;
}

// The two kinds of note that a file can hold.
struct Notes {
  std::string exif;  // a TIFF file without pixels, behind "Exif\0\0" or not
  std::string_view xmp;
};

// Tag 0x0112 of the first directory (TIFF 6.0, section 2).
std::optional<std::uint32_t> orientation_in_exif(std::string_view tiff) {
  while (tiff.starts_with(kExif)) tiff.remove_prefix(kExif.size());
  const bool little_endian = tiff.starts_with("II*\0"sv);
  if (!little_endian && !tiff.starts_with("MM\0*"sv)) return std::nullopt;
  const auto read = [&](std::size_t at, std::size_t count) { return number(tiff, at, count, little_endian); };

  constexpr std::uint32_t kOrientationTag = 0x0112;
  constexpr std::uint32_t kShort = 3;
  constexpr std::uint32_t kLong = 4;
  constexpr std::size_t kEntry = 12;  // tag, type, count, value
  const std::size_t directory = read(4, 4);
  const std::size_t entries = read(directory, 2);
  std::optional<std::uint32_t> found;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + i * kEntry;
    if (at + kEntry > tiff.size()) break;
    const std::uint32_t type = read(at + 2, 2);
    const std::uint64_t count = read(at + 4, 4);
    if (read(at, 2) != kOrientationTag || (type != kShort && type != kLong) || count == 0) continue;
    const std::size_t size = type == kShort ? 2 : 4;
    // More than four bytes lie elsewhere; of several values the first counts.
    const std::size_t value = count * size <= 4 ? at + 8 : read(at + 8, 4);
    if (value + count * size <= tiff.size()) found = read(value, size);
  }
  return found;
}

// tiff:Orientation="6" or <tiff:Orientation>6<
std::optional<std::uint32_t> orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (std::size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return byte_at(rest, 0) - '0';
  }
  return std::nullopt;
}

// Segments up to the first scan. A long note goes on in the next segment of its kind.
Notes notes_in_jpeg(std::string_view file) {
  Notes notes;
  std::size_t at = 2;
  while (at + 4 <= file.size()) {
    if (byte_at(file, at) != 0xff || byte_at(file, at + 1) == 0xff || byte_at(file, at + 1) == 0) {
      ++at;
      continue;
    }
    const std::uint32_t marker = byte_at(file, at + 1);
    if (marker == 0xd9 || marker == 0xda) break;
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
      continue;
    }
    const std::size_t length = std::max(number(file, at + 2, 2, false), 2u);
    const std::string_view data = file.substr(at + 4, length - 2);
    if (marker == 0xe1 && data.starts_with(kExif)) notes.exif += data.substr(kExif.size());
    if (marker == 0xe1 && data.starts_with(kXmp)) notes.xmp = data.substr(kXmp.size());
    at += 2 + length;
  }
  return notes;
}

Notes notes_in_png(std::string_view file) {
  Notes notes;
  std::size_t at = 8;
  while (at + 12 <= file.size()) {
    const std::size_t length = number(file, at, 4, false);
    const std::string_view kind = file.substr(at + 4, 4);
    const std::string_view data = file.substr(at + 8, length);
    if (kind == "eXIf") notes.exif = data;
    // Neither compressed text, nor the hexadecimal notes of programs from before eXIf, are unpacked.
    if (kind == "iTXt" && data.starts_with("XML:com.adobe.xmp\0\0"sv)) notes.xmp = data;
    at += 12 + length;
  }
  return notes;
}

Notes notes_in_webp(std::string_view file) {
  Notes notes;
  std::size_t at = 12;
  while (at + 8 <= file.size()) {
    const std::size_t length = number(file, at + 4, 4, true);
    const std::string_view data = file.substr(at + 8, length);
    if (file.substr(at, 4) == "EXIF") notes.exif = data;
    if (file.substr(at, 4) == "XMP ") notes.xmp = data;
    at += 8 + length + length % 2;
  }
  return notes;
}

Notes notes_in(std::string_view file) {
  if (file.starts_with("\xff\xd8"sv)) return notes_in_jpeg(file);
  if (file.starts_with("\x89PNG\r\n\x1a\n"sv)) return notes_in_png(file);
  if (file.starts_with("RIFF"sv) && file.substr(std::min<std::size_t>(file.size(), 8)).starts_with("WEBP"sv)) {
    return notes_in_webp(file);
  }
  return {};
}

}  // namespace

Orientation read_orientation(std::span<const std::byte> file) {
  const Notes notes = notes_in({reinterpret_cast<const char*>(file.data()), file.size()});
  std::optional<std::uint32_t> value = orientation_in_exif(notes.exif);
  if (!value) value = orientation_in_xmp(notes.xmp);
  return value && *value >= 1 && *value <= 8 ? static_cast<Orientation>(*value) : Orientation::kTopLeft;
}

Image turned_upright(Image image, Orientation orientation) {
  // The stored picture's axes are swapped first, if at all, then each is turned round.
  const bool swap = orientation >= Orientation::kLeftTop;
  const bool flip_x = orientation == Orientation::kTopRight || orientation == Orientation::kBottomRight ||
                      orientation == Orientation::kRightTop || orientation == Orientation::kRightBottom;
  const bool flip_y = orientation == Orientation::kBottomRight || orientation == Orientation::kBottomLeft ||
                      orientation == Orientation::kRightBottom || orientation == Orientation::kLeftBottom;
  if (orientation == Orientation::kTopLeft) return image;
  Image out;
  out.width = swap ? image.height : image.width;
  out.height = swap ? image.width : image.height;
  out.pixels.resize(image.pixels.size());
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    const int across = flip_y ? out.height - 1 - y : y;
    for (int x = 0; x < out.width; ++x, to += 3) {
      const int along = flip_x ? out.width - 1 - x : x;
      const auto row = static_cast<std::size_t>(swap ? along : across);
      const auto column = static_cast<std::size_t>(swap ? across : along);
      std::copy_n(&image.pixels[(row * static_cast<std::size_t>(image.width) + column) * 3], 3, to);
    }
  }
  return out;
}

}  // namespace convnext
