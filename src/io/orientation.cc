#include "io/orientation.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/bytes.h"
#include "io/jpeg_segments.h"
#include "io/picture.h"

namespace convnext {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;

// The two kinds of note that a file can hold.
struct Notes {
  std::string exif;  // a TIFF file without pixels, behind "Exif\0\0" or not
  std::string_view xmp;
};

// Tag 0x0112 of the first directory (TIFF 6.0, section 2).
std::optional<std::uint64_t> orientation_in_exif(std::string_view tiff) {
  while (tiff.starts_with(kExif)) tiff.remove_prefix(kExif.size());
  const bool is_little = tiff.starts_with("II*\0"sv);
  if (!is_little && !tiff.starts_with("MM\0*"sv)) return std::nullopt;
  const auto read = [&](std::uint64_t at, std::size_t size) {
    return number_at(bytes_of(tiff), at, size, is_little ? std::endian::little : std::endian::big);
  };

  constexpr std::uint64_t kOrientationTag = 0x0112;
  constexpr std::uint64_t kShort = 3;
  constexpr std::uint64_t kLong = 4;
  constexpr std::size_t kEntry = 12;  // tag, type, count, value
  const std::uint64_t directory = read(4, 4);
  const std::uint64_t entries = read(directory, 2);
  std::optional<std::uint64_t> found;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::uint64_t at = directory + 2 + i * kEntry;
    if (at + kEntry > tiff.size()) break;
    const std::uint64_t type = read(at + 2, 2);
    const std::uint64_t count = read(at + 4, 4);
    if (read(at, 2) != kOrientationTag || (type != kShort && type != kLong) || count == 0) continue;
    const std::size_t size = type == kShort ? 2 : 4;
    // More than four bytes lie elsewhere; of several values the first counts.
    const std::uint64_t value = count * size <= 4 ? at + 8 : read(at + 8, 4);
    if (value + count * size <= tiff.size()) found = read(value, size);
  }
  return found;
}

// tiff:Orientation="6" or <tiff:Orientation>6<
std::optional<std::uint64_t> orientation_in_xmp(std::string_view xmp) {
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
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return static_cast<std::uint64_t>(rest[0] - '0');
  }
  return std::nullopt;
}

// A long note goes on in the next segment of its kind.
Notes notes_in_jpeg(std::span<const std::byte> file) {
  constexpr std::uint8_t kApp1 = 0xe1;
  Notes notes;
  JpegSegments segments(file);
  while (const std::optional<JpegSegment> segment = segments.next()) {
    if (segment->marker != kApp1) continue;
    const std::string_view data = text_of(segment->data);
    if (data.starts_with(kExif)) notes.exif += data.substr(kExif.size());
    if (data.starts_with(kXmp)) notes.xmp = data.substr(kXmp.size());
  }
  return notes;
}

Notes notes_in_png(std::span<const std::byte> file) {
  const std::string_view text = text_of(file);
  Notes notes;
  std::uint64_t at = 8;
  while (at + 12 <= file.size()) {
    const std::uint64_t length = big_endian(file, at, 4);
    const std::string_view kind = text.substr(at + 4, 4);
    const std::string_view data = text.substr(at + 8, length);
    if (kind == "eXIf") notes.exif = data;
    // Neither compressed text, nor the hexadecimal notes of programs from before eXIf, are unpacked.
    if (kind == "iTXt" && data.starts_with("XML:com.adobe.xmp\0\0"sv)) notes.xmp = data;
    at += 12 + length;
  }
  return notes;
}

Notes notes_in_webp(std::span<const std::byte> file) {
  const std::string_view text = text_of(file);
  Notes notes;
  std::uint64_t at = 12;
  while (at + 8 <= file.size()) {
    const std::uint64_t length = little_endian(file, at + 4, 4);
    const std::string_view kind = text.substr(at, 4);
    const std::string_view data = text.substr(at + 8, length);
    if (kind == "EXIF") notes.exif = data;
    if (kind == "XMP ") notes.xmp = data;
    at += 8 + length + length % 2;
  }
  return notes;
}

Notes notes_in(std::span<const std::byte> file) {
  const std::optional<PictureFormat> format = picture_format(file);
  if (format == PictureFormat::kJpeg) return notes_in_jpeg(file);
  if (format == PictureFormat::kPng) return notes_in_png(file);
  if (format == PictureFormat::kWebp) return notes_in_webp(file);
  return {};
}

}  // namespace

Orientation read_orientation(std::span<const std::byte> file) {
  const Notes notes = notes_in(file);
  std::optional<std::uint64_t> value = orientation_in_exif(notes.exif);
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
