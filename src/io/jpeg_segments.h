// The segments of a JPEG file up to its first scan (ITU-T T.81, B.1.1), without decoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace convnext {

struct JpegSegment {
  std::uint8_t marker = 0;          // the byte behind 0xff
  std::span<const std::byte> data;  // behind its length; shorter where the file is cut

  bool is_frame() const;  // whether it tells the picture's size
};

// Goes along a file of any kind and length: while (const auto segment = segments.next()) ...
class JpegSegments {
 public:
  explicit JpegSegments(std::span<const std::byte> file) : file_(file) {}

  // Nothing at the first scan, and at the end.
  std::optional<JpegSegment> next();

 private:
  std::span<const std::byte> file_;
  std::size_t at_ = 2;  // behind the start of the image
};

}  // namespace convnext
