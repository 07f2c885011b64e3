// Objects drawn onto their picture: box, mask and a plate with name and score, in a colour for each class.
//
//   const Image drawn = draw_objects(picture, {{.box = {40, 30, 200, 120}, .name = "cat", .score = 0.97}});
//
// Lines and letters grow with the picture. What scores highest lies on top, and its plate has the best place; plates
// stay within the picture and off each other as long as there is room.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "convnext/image.h"
#include "metrics/mask_rle.h"
#include "plot/label_placement.h"

namespace convnext {

struct DrawnObject {
  Rectangle box{};  // pixels; the part of it that lies on the picture is drawn
  std::string name{};
  std::optional<double> score{};  // stands behind the name
  int class_index = 0;            // decides the colour
  const MaskRle* mask = nullptr;  // of the picture's size; null: none
};

// A copy of the picture with the objects on it. Where no font is installed letters are plain strokes; a picture that is
// too small for letters has none. Throws Error: kInvalidArgument for a picture without pixels, kMismatch for a mask of
// another size, kUnsupported for sides of more than 32,767 pixels.
Image draw_objects(const Image& picture, std::span<const DrawnObject> objects);

// Red, green and blue of a class, the same in every picture. Neighbours differ most, all are about as light.
std::array<std::uint8_t, 3> class_colour(int class_index);

}  // namespace convnext
