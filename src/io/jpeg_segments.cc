#include "io/jpeg_segments.h"

#include <algorithm>

#include "io/bytes.h"

namespace convnext {
namespace {

constexpr std::uint8_t kStartOfImage = 0xd8;
constexpr std::uint8_t kEndOfImage = 0xd9;
constexpr std::uint8_t kStartOfScan = 0xda;

// Markers that no length follows: TEM, the restarts and the start of the image.
bool stands_alone(std::uint8_t marker) { return marker == 0x01 || (marker >= 0xd0 && marker <= kStartOfImage); }

}  // namespace

bool JpegSegment::is_frame() const {
  // DHT, JPG and DAC lie among the starts of frames.
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

std::optional<JpegSegment> JpegSegments::next() {
  constexpr std::size_t kHead = 4;  // 0xff, marker, length
  constexpr std::uint64_t kLengthBytes = 2;
  while (file_.size() >= kHead && at_ <= file_.size() - kHead) {
    const auto marker = std::to_integer<std::uint8_t>(file_[at_ + 1]);
    // Bytes that are no marker are passed over, as libjpeg does, and a marker may have any number of FFs before it.
    if (file_[at_] != std::byte{0xff} || marker == 0xff || marker == 0) {
      ++at_;
      continue;
    }
    if (marker == kEndOfImage || marker == kStartOfScan) break;
    if (stands_alone(marker)) {
      at_ += 2;
      continue;
    }
    const std::uint64_t length = std::max(big_endian(file_, at_ + 2, kLengthBytes), kLengthBytes);  // its own included
    const std::span<const std::byte> rest = file_.subspan(at_ + kHead);
    at_ += 2 + length;
    return JpegSegment{marker, rest.first(std::min<std::size_t>(rest.size(), length - kLengthBytes))};
  }
  return std::nullopt;
}

}  // namespace convnext
