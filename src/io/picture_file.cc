#include "io/picture_file.h"

#include <fmt/format.h>
#include <webp/decode.h>

#include <optional>
#include <stdexcept>

#include "convnext/error.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/jpeg_segments.h"
#include "io/picture.h"

namespace convnext {
namespace {

std::int64_t side_at(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  return static_cast<std::int64_t>(big_endian(bytes, at, size));
}

[[noreturn]] void throw_without_header(std::string_view name, std::string_view format) {
  throw Error(ErrorCode::kDamaged, fmt::format("'{}' is a damaged {}: it ends before its size is told", name, format));
}

PictureHeader checked(PictureFormat format, std::int64_t width, std::int64_t height, std::string_view name,
                      const DecodeOptions& options) {
  check_picture_size(width, height, name, options);
  return {.format = format, .width = static_cast<int>(width), .height = static_cast<int>(height)};
}

// The start of frame, behind any number of segments of other things (ITU-T T.81, B.2.2).
PictureHeader read_jpeg_header(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  constexpr std::size_t kHeightAt = 1;  // behind the bits of a sample
  constexpr std::size_t kWidthAt = 3;
  JpegSegments segments(bytes);
  while (const std::optional<JpegSegment> segment = segments.next()) {
    if (!segment->is_frame() || segment->data.size() < kWidthAt + 2) continue;
    return checked(PictureFormat::kJpeg, side_at(segment->data, kWidthAt, 2), side_at(segment->data, kHeightAt, 2),
                   name, options);
  }
  throw_without_header(name, "JPEG");
}

PictureHeader read_png_header(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  constexpr std::size_t kWidthAt = 16;
  if (bytes.size() < kWidthAt + 8) throw_without_header(name, "PNG");
  check_png_start(bytes, name);
  return checked(PictureFormat::kPng, side_at(bytes, kWidthAt, 4), side_at(bytes, kWidthAt + 4, 4), name, options);
}

PictureHeader read_webp_header(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  int width = 0;
  int height = 0;
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (WebPGetInfo(data, bytes.size(), &width, &height) == 0) throw_without_header(name, "WebP");
  return checked(PictureFormat::kWebp, width, height, name, options);
}

std::vector<std::byte> read_member(const PictureFile& picture, std::uint64_t bytes) {
  std::vector<std::byte> buffer(static_cast<std::size_t>(bytes));
  // Opened anew each time: a large data set has more archives than a process may keep open.
  FileReader(picture.path).read(picture.offset, buffer);
  return buffer;
}

}  // namespace

std::string PictureFile::name() const {
  return member.empty() ? path.string() : fmt::format("{}: {}", path.string(), member);
}

std::vector<std::byte> read_bytes(const PictureFile& picture) {
  if (!picture.member.empty()) return read_member(picture, picture.size);
  const MappedFile file = MappedFile::open(picture.path);
  return {file.bytes().begin(), file.bytes().end()};
}

Image open_picture(const PictureFile& picture, const DecodeOptions& options) {
  if (picture.member.empty()) return Image::open(picture.path, options);
  return Image::decode(read_bytes(picture), picture.name(), options);
}

std::string_view extension_of(PictureFormat format) {
  switch (format) {
    case PictureFormat::kJpeg:
      return "jpg";
    case PictureFormat::kPng:
      return "png";
    case PictureFormat::kWebp:
      return "webp";
  }
  throw std::logic_error("extension_of: no such format");
}

PictureHeader read_picture_header(std::span<const std::byte> bytes, std::string_view name,
                                  const DecodeOptions& options) {
  const std::optional<PictureFormat> format = picture_format(bytes);
  if (format == PictureFormat::kJpeg) return read_jpeg_header(bytes, name, options);
  if (format == PictureFormat::kPng) return read_png_header(bytes, name, options);
  if (format == PictureFormat::kWebp) return read_webp_header(bytes, name, options);
  Image::decode(bytes, name, options);  // says what it is instead
  throw std::logic_error("read_picture_header: Image::decode() reads a format that is unknown here");
}

PictureHeader read_picture_header(const PictureFile& picture, const DecodeOptions& options) {
  if (picture.member.empty()) {
    const MappedFile file = MappedFile::open(picture.path);  // of which only what is looked at is read
    return read_picture_header(file.bytes(), picture.name(), options);
  }
  constexpr std::uint64_t kStart = 4096;
  if (picture.size > kStart) {
    try {
      return read_picture_header(read_member(picture, kStart), picture.name(), options);
    } catch (const Error&) {  // a camera's notes may take up hundreds of kilobytes before the size
    }
  }
  return read_picture_header(read_bytes(picture), picture.name(), options);
}

}  // namespace convnext
