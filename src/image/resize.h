// The part of a resized picture that a crop will keep, without computing the rest.
#pragma once

#include <cstdint>
#include <span>

#include "convnext/image.h"

namespace convnext {

struct Region {
  std::int64_t left = 0;
  std::int64_t top = 0;
  int width = 0;
  int height = 0;
};

// Whose rounding: Pillow's 22-bit weights, or the 16-bit ones of torchvision's antialiased resize of 8-bit tensors,
// which knows neither kBox nor kHamming (ATen/native/cpu/UpSampleKernel.cpp).
enum class Resizer { kPillow, kTorchvision };

struct Resampling {
  Interpolation interpolation = Interpolation::kBicubic;
  Resizer resizer = Resizer::kPillow;
};

// The pixels inside `region`, which lies within width x height, of the picture resized to that. Time and memory go with
// the region and with the picture, never with the full size, which may be one that would not fit memory (a 1 x 50000
// picture enlarged to 224 x ...). Throws Error: kInvalidArgument; kUnsupported where an axis would take more than
// 16,777,216 weights, as only one of millions of pixels does.
Image resize_region(const Image& image, std::int64_t width, std::int64_t height, const Resampling& resampling,
                    const Region& region);

// The same of pixel * (1 / 255) by torch's antialiased bilinear resize of floats, bit for bit as its builds for x86
// compute it (ATen/native/cpu/UpSampleKernel.cpp): planes (3, region.height, region.width), which `out` holds.
void resize_region_of_floats(const Image& image, std::int64_t width, std::int64_t height, const Region& region,
                             std::span<float> out);

// What both refuse: a picture without its pixels, and a region that is not inside. Throws Error (kInvalidArgument).
void check_resize(const Image& image, std::int64_t width, std::int64_t height, const Region& region);
// And an axis that takes too many weights: `of_output` for each of `outputs`. Throws Error (kUnsupported).
void check_weights(double of_output, int input, std::int64_t output, int outputs);

}  // namespace convnext
