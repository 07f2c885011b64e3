// One decoder a format; Image::decode picks the one whose signature fits.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "convnext/image.h"

namespace convnext {

// All throw Error (kDamaged, kUnsupported) with `name`; a truncated file is an error, not half a picture.
Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);
Image decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);
Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);

// Throws when a side is not positive, or the product is above the limit.
void check_picture_size(std::int64_t width, std::int64_t height, std::string_view name, const DecodeLimits& limits);

}  // namespace convnext
