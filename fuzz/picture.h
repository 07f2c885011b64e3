// What the fuzzers of picture decoders check.
#pragma once

#include "convnext/image.h"
#include "fuzz/input.h"
#include "io/picture_file.h"

namespace convnext {

using PictureDecoder = Image (*)(std::span<const std::byte>, std::string_view, const DecodeOptions&);

// A picture that is decoded has all of its pixels, within the limit, and the size that its header says.
inline void decode_and_check(std::span<const std::byte> bytes, PictureDecoder decode) {
  DecodeOptions options;
  options.max_pixels = 1 << 20;
  const auto check = [&options](const Image& image) {
    const auto pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
    require(image.width > 0 && image.height > 0 && pixels <= static_cast<std::size_t>(options.max_pixels));
    require(image.pixels.size() == 3 * pixels);
  };
  // The decoder alone does not look at the signature, which inputs would otherwise have to keep.
  read_or_refuse([&] { check(decode(bytes, "input", options)); });

  PictureHeader header;
  read_or_refuse([&] { header = read_picture_header(bytes, "input", options); });
  read_or_refuse([&] {
    const Image image = Image::decode(bytes, "input", options);
    check(image);
    require(header.width == image.width && header.height == image.height);
  });
  options.exif_orientation = true;
  read_or_refuse([&] { check(Image::decode(bytes, "input", options)); });
}

}  // namespace convnext
