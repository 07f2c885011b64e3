// The formats of pictures: told apart, a decoder for each, and PNG for pictures that we make.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "convnext/image.h"

namespace convnext {

enum class PictureFormat { kJpeg, kPng, kWebp };

// By the signature of the file that begins with these bytes; nothing for any other file.
std::optional<PictureFormat> picture_format(std::span<const std::byte> bytes);

// The pixels as they are stored: Image::decode() turns them upright. All throw Error (kDamaged, kUnsupported) with
// `name`; a truncated file is an error, not half a picture.
Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options);
Image decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options);
Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options);

// Throws Error (kDamaged) for a PNG file whose size is not where it should be, at its start.
void check_png_start(std::span<const std::byte> bytes, std::string_view name);

// The picture as a PNG file, 8-bit RGB, the same bytes for the same picture. Throws Error (kInvalidArgument) for a
// picture without pixels, or with another number of them than its sides say.
std::string encode_png(const Image& image);
// The same into a file, atomically.
void write_png(const std::filesystem::path& path, const Image& image);

// Throws when a side is not positive, or the product is above the limit.
void check_picture_size(std::int64_t width, std::int64_t height, std::string_view name, const DecodeOptions& options);

}  // namespace convnext
