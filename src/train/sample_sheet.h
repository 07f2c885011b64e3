// What the network is shown, as a picture for people: a mistake in the data or in its augmentation is seen at once.
#pragma once

#include <span>
#include <vector>

#include "convnext/image.h"

namespace convnext {

// Pictures of one size in rows of `columns`, with a thin border around each. Small ones are enlarged by a whole factor,
// a pixel becoming a square, until their longer side is at least 96 pixels. Throws Error (kInvalidArgument) for no
// pictures, pictures of several sizes, or fewer than one column.
Image sample_sheet(std::span<const Image> pictures, int columns);

// The inverse of normalize(): `batch` is (n, height, width, 3) float32, normalised by `preprocessing`; the result are
// its n pictures, whatever was mixed or erased in them included. Values beyond [0, 255] are cut off, and NaN is black.
// Throws Error (kInvalidArgument) when `batch` is not a whole number of pictures.
std::vector<Image> denormalize(std::span<const float> batch, int width, int height, const Preprocessing& preprocessing);

}  // namespace convnext
