// What is done to a training picture before it becomes a tensor. Each function draws from the generator that it is
// given and changes nothing else.
#pragma once

#include "convnext/image.h"
#include "train/random.h"

namespace convnext {

// Mirrored left to right.
Image flip_horizontally(const Image& image);

// The picture moved by a whole number of pixels, uniform in [-padding, padding] a side; what comes in is black. The
// same as padding by `padding` and cropping to the old size.
Image shift_randomly(const Image& image, int padding, KeyedRandom& random);

struct Augmentation {
  double flip_probability = 0.5;
  int crop_padding = 0;  // pixels
};

Image augment(Image image, const Augmentation& augmentation, KeyedRandom& random);

}  // namespace convnext
