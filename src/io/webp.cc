// WebP through libwebp.

#include <fmt/format.h>
#include <webp/decode.h>

#include <vector>

#include "convnext/error.h"
#include "io/picture.h"

namespace convnext {
namespace {

std::string_view describe(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "not enough memory";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "it ends too early";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "an unknown feature";
    default:
      return "its data are damaged";
  }
}

// The length in the container, header included. The decoder does not look at what follows the pixels, so a file cut
// there is found only by this.
std::size_t promised_size(std::span<const std::byte> bytes) {
  std::size_t size = 0;
  for (std::size_t i = 8; i-- > 4;) size = size << 8 | std::to_integer<std::size_t>(bytes[i]);
  return size + 8;
}

}  // namespace

Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits) {
  const auto throw_damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole WebP file: {}", name, what));
  };
  if (bytes.size() < 12 || promised_size(bytes) > bytes.size()) throw_damaged("it ends too early");
  const auto* const data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    throw Error(ErrorCode::kNotInstalled, "libwebp is of another version than the one this library was built with");
  }
  if (const auto status = WebPGetFeatures(data, bytes.size(), &config.input); status != VP8_STATUS_OK) {
    throw_damaged(describe(status));
  }
  check_picture_size(config.input.width, config.input.height, name, limits);
  if (config.input.has_animation != 0) {
    throw Error(ErrorCode::kUnsupported, fmt::format("'{}': an animated WebP; only still ones are read", name));
  }

  Image image;
  image.width = config.input.width;
  image.height = config.input.height;
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  image.pixels.resize(stride * static_cast<std::size_t>(image.height));
  config.output.colorspace = MODE_RGB;  // alpha is dropped, not blended
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = image.pixels.size();
  const auto status = WebPDecode(data, bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) throw_damaged(describe(status));
  return image;
}

}  // namespace convnext
