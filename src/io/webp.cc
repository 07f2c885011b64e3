// WebP through libwebp.

#include <fmt/format.h>
#include <webp/decode.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "convnext/error.h"
#include "io/bytes.h"
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
std::size_t promised_size(std::span<const std::byte> bytes) { return little_endian(bytes, 4, 4) + 8; }

constexpr std::size_t kChunkHeader = 8;  // name and length

// The data of the first chunk of that name; empty where there is none, or it is cut.
std::span<const std::byte> find_chunk(std::span<const std::byte> chunks, std::string_view name) {
  while (chunks.size() >= kChunkHeader) {
    const std::size_t length = little_endian(chunks, 4, 4);
    const std::span<const std::byte> data = chunks.subspan(kChunkHeader);
    if (length > data.size()) return {};
    if (std::memcmp(chunks.data(), name.data(), 4) == 0) return data.first(length);
    chunks = data.subspan(std::min(data.size(), length + length % 2));
  }
  return {};
}

// One frame of an animation: where it lies on the canvas, and its chunks (ALPH, VP8, VP8L).
struct Frame {
  int left = 0;
  int top = 0;
  std::span<const std::byte> chunks;
};

Frame first_frame(std::span<const std::byte> bytes) {
  constexpr std::size_t kFileHeader = 12;   // "RIFF", length, "WEBP"
  constexpr std::size_t kFrameHeader = 16;  // place and size in 3 bytes each, duration, flags
  const std::span<const std::byte> frame = find_chunk(bytes.subspan(kFileHeader), "ANMF");
  if (frame.size() < kFrameHeader) return {};
  // Places are counted in twos.
  return {.left = 2 * static_cast<int>(little_endian(frame, 0, 3)),
          .top = 2 * static_cast<int>(little_endian(frame, 3, 3)),
          .chunks = frame.subspan(kFrameHeader)};
}

}  // namespace

Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  const auto throw_damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole WebP file: {}", name, what));
  };
  if (bytes.size() < 12 || promised_size(bytes) > bytes.size()) throw_damaged("it ends too early");
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    throw Error(ErrorCode::kNotInstalled, "libwebp is of another version than the one this library was built with");
  }
  const auto read_features = [&](std::span<const std::byte> data) {
    const auto status = WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(data.data()), data.size(), &config.input);
    if (status != VP8_STATUS_OK) throw_damaged(describe(status));
  };
  read_features(bytes);
  check_picture_size(config.input.width, config.input.height, name, options);
  Image image;
  image.width = config.input.width;
  image.height = config.input.height;

  Frame frame = {.chunks = bytes};
  if (config.input.has_animation != 0) {
    frame = first_frame(bytes.first(promised_size(bytes)));
    if (frame.chunks.empty()) throw_damaged("an animation without a frame");
    read_features(frame.chunks);
    if (frame.left > image.width - config.input.width || frame.top > image.height - config.input.height) {
      throw_damaged("its first frame does not lie within it");
    }
  }

  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  image.pixels.resize(stride * static_cast<std::size_t>(image.height));  // black around the first frame
  const std::size_t start = static_cast<std::size_t>(frame.top) * stride + static_cast<std::size_t>(frame.left) * 3;
  config.output.colorspace = MODE_RGB;  // alpha is dropped, not blended
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data() + start;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = image.pixels.size() - start;
  const auto status =
      WebPDecode(reinterpret_cast<const std::uint8_t*>(frame.chunks.data()), frame.chunks.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) throw_damaged(describe(status));
  return image;
}

}  // namespace convnext
