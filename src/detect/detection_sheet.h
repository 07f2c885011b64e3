// What a detector is shown in training, as a picture for people: a mistake in annotations or augmentation is seen at
// once.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "convnext/image.h"
#include "detect/detection_augmentation.h"

namespace convnext {

// The pictures with their objects drawn onto them, in rows of `columns`. Smaller ones stand in a field as large as the
// largest; pictures of fewer than some 320 pixels a side are enlarged by a whole factor. `labels`: names of the
// classes; those without a name have their number. Throws Error (kInvalidArgument) as sample_sheet().
Image detection_sheet(std::span<const PreparedPicture> pictures, const std::vector<std::string>& labels, int columns);

}  // namespace convnext
