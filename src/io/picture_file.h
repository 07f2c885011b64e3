// A picture where it lies, and what its first bytes tell of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convnext/image.h"
#include "io/picture.h"

namespace convnext {

// A file of its own, or one of the pictures that an archive holds.
struct PictureFile {
  std::filesystem::path path;
  std::string member;        // its name in the archive; empty for a file of its own
  std::uint64_t offset = 0;  // of a member's first byte in the archive
  std::uint64_t size = 0;    // of a member, bytes

  // For messages: "cat.jpg", "train-000000.tar: 000042.jpg".
  std::string name() const;
};

// The bytes as they are. Throws Error, naming the picture.
std::vector<std::byte> read_bytes(const PictureFile& picture);

// Decoded: Image::open(), and Image::decode() for a member.
Image open_picture(const PictureFile& picture, const DecodeOptions& options = {});

std::string_view extension_of(PictureFormat format);  // "jpg", "png", "webp"

struct PictureHeader {
  PictureFormat format = PictureFormat::kJpeg;
  int width = 0;
  int height = 0;
};

// Format and size without decoding. Throws Error like Image::decode(), but not for damage behind the header.
PictureHeader read_picture_header(std::span<const std::byte> bytes, std::string_view name,
                                  const DecodeOptions& options = {});
// The same, reading no more of the file than it takes.
PictureHeader read_picture_header(const PictureFile& picture, const DecodeOptions& options = {});

}  // namespace convnext
