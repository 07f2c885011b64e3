// Which way up a picture was taken, as cameras write it into their files.
#pragma once

#include <cstddef>
#include <span>

#include "convnext/image.h"

namespace convnext {

// EXIF's tag 0x0112, named by where the first stored row and column belong in the scene.
enum class Orientation {
  kTopLeft = 1,  // as it should be
  kTopRight,     // mirrored left to right
  kBottomRight,  // upside down
  kBottomLeft,   // mirrored top to bottom
  kLeftTop,      // mirrored at the diagonal from the upper left
  kRightTop,     // to be turned clockwise
  kRightBottom,  // mirrored at the other diagonal
  kLeftBottom,   // to be turned counter-clockwise
};

// What a JPEG's APP1 segments, a PNG's eXIf chunk or a WebP's EXIF chunk says, or else their XMP text, as Pillow looks
// for it. kTopLeft where there is nothing, or nothing that makes sense: a damaged note must not cost the picture. Bytes
// of any kind and length are fine.
Orientation read_orientation(std::span<const std::byte> file);

// The picture upright: Pillow's ImageOps.exif_transpose.
Image turned_upright(Image image, Orientation orientation);

}  // namespace convnext
