#include "io/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "convnext/error.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/orientation.h"

namespace convnext {
namespace {

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view format;
};

using namespace std::string_view_literals;

// Formats that people keep pictures in, so that the message can tell what to convert.
constexpr std::array kOtherFormats = {
    Signature{0, "GIF8"sv, "GIF"},         Signature{0, "BM"sv, "BMP"},         Signature{0, "II*\0"sv, "TIFF"},
    Signature{0, "MM\0*"sv, "TIFF"},       Signature{4, "ftypavif"sv, "AVIF"},  Signature{4, "ftyphei"sv, "HEIC"},
    Signature{4, "ftypmif1"sv, "HEIC"},    Signature{4, "jP  "sv, "JPEG 2000"}, Signature{4, "JXL "sv, "JPEG XL"},
    Signature{0, "\xff\x0a"sv, "JPEG XL"}, Signature{0, "8BPS"sv, "Photoshop"}, Signature{0, "%PDF"sv, "PDF"},
    Signature{0, "\0\0\1\0"sv, "ICO"},     Signature{0, "PK\3\4"sv, "ZIP"},     Signature{0, "\x1f\x8b"sv, "gzip"},
    Signature{0, "\x93NUMPY"sv, "NumPy"},
};

bool has(std::string_view start, std::size_t offset, std::string_view signature) {
  return start.size() >= offset && start.substr(offset).starts_with(signature);
}

// What a file that is none of ours looks like, for the message: "is empty", "looks like GIF".
std::string appearance(std::string_view start) {
  if (start.empty()) return "is empty";
  for (const Signature& signature : kOtherFormats) {
    if (has(start, signature.offset, signature.bytes)) return fmt::format("looks like {}", signature.format);
  }
  const auto is_text = [](unsigned char c) { return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0x7f); };
  if (std::all_of(start.begin(), start.end(), is_text)) return "looks like text";
  if (std::all_of(start.begin(), start.end(), [](char c) { return c == 0; })) return "begins with zeros";
  return "is of an unknown kind";
}

}  // namespace

std::optional<PictureFormat> picture_format(std::span<const std::byte> bytes) {
  const std::string_view start = text_of(bytes);
  if (has(start, 0, "\xff\xd8\xff"sv)) return PictureFormat::kJpeg;
  if (has(start, 0, "\x89PNG\r\n\x1a\n"sv)) return PictureFormat::kPng;
  if (has(start, 0, "RIFF"sv) && has(start, 8, "WEBP"sv)) return PictureFormat::kWebp;  // a length between them
  return std::nullopt;
}

void check_picture_size(std::int64_t width, std::int64_t height, std::string_view name, const DecodeOptions& options) {
  if (width < 1 || height < 1) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}': a picture of {} x {} pixels", name, width, height));
  }
  std::int64_t pixels = 0;
  if (__builtin_mul_overflow(width, height, &pixels) || pixels > options.max_pixels) {
    throw Error(ErrorCode::kUnsupported, fmt::format("'{}': {} x {} pixels are more than the limit of {}", name, width,
                                                     height, options.max_pixels));
  }
}

Image Image::open(const std::filesystem::path& path, const DecodeOptions& options) {
  const MappedFile file = MappedFile::open(path);
  return decode(file.bytes(), path.string(), options);
}

Image Image::decode(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  constexpr std::size_t kStart = 64;
  const auto decode_stored = [&]() -> Image {
    const std::optional<PictureFormat> format = picture_format(bytes);
    if (format == PictureFormat::kJpeg) return decode_jpeg(bytes, name, options);
    if (format == PictureFormat::kPng) return decode_png(bytes, name, options);
    if (format == PictureFormat::kWebp) return decode_webp(bytes, name, options);
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' is not a picture that can be read: it {}; JPEG, PNG and WebP are read", name,
                            appearance(text_of(bytes.first(std::min(bytes.size(), kStart))))));
  };
  Image image = decode_stored();
  if (!options.exif_orientation) return image;
  return turned_upright(std::move(image), read_orientation(bytes));
}

}  // namespace convnext
