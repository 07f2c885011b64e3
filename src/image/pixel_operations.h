// What augmentation does to the pixels of a picture, bit for bit as Pillow 13 does it on x86-64.
//
// The functions take whole pictures and return new ones. A picture whose size does not fit its pixels, and a factor or
// matrix that is not finite, is an Error (kInvalidArgument).
#pragma once

#include <array>
#include <cstdint>

#include "convnext/image.h"
#include "image/resize.h"

namespace convnext {

using Rgb = std::array<std::uint8_t, 3>;

// ---- every value of a channel to another one ------------------------------------------------------------------------

// Each channel stretched so that its darkest value becomes 0 and its brightest 255 (ImageOps.autocontrast).
Image auto_contrast(const Image& image);

// Each channel's values spread so that all are about equally frequent (ImageOps.equalize).
Image equalize(const Image& image);

Image invert(const Image& image);

// Keeps the upper `bits` of each value (ImageOps.posterize). 8 and more change nothing; 0 and less give black, as in
// Pillow until it refused them: RandAugment asks for 0 at its strongest.
Image posterize(const Image& image, int bits);

// Inverts the values from `threshold` on (ImageOps.solarize); 256 changes nothing.
Image solarize(const Image& image, int threshold);

// Adds `amount` to the values below `threshold`, up to 255 at most (timm's solarize_add). `amount` is at least 0.
Image solarize_add(const Image& image, int amount, int threshold = 128);

// ---- ImageEnhance: between the picture (factor 1) and one that has lost something (factor 0), and beyond ------------

Image enhance_color(const Image& image, double factor);       // 0: grey
Image enhance_contrast(const Image& image, double factor);    // 0: flat, of the mean grey
Image enhance_brightness(const Image& image, double factor);  // 0: black
Image enhance_sharpness(const Image& image, double factor);   // 0: smoothed by 3x3 pixels, but for the border

// ---- geometry -------------------------------------------------------------------------------------------------------

Image flip_horizontally(const Image& image);  // left to right

enum class ShiftPadding {
  kBlack,
  kReflection,  // the picture mirrored at its outermost pixels, which are not repeated (NumPy's "reflect")
};

// The picture moved: pixel (x, y) comes from (x + dx, y + dy), as after padding and cropping.
Image shift(const Image& image, int dx, int dy, ShiftPadding padding);

Image crop(const Image& image, const Region& region);  // inside the picture

// Crops, then resizes what is left: pixels outside the region play no part (torchvision's resized_crop).
Image resized_crop(const Image& image, const Region& region, int width, int height, Interpolation interpolation);

// The filters of Pillow's transform(). Its bicubic one is sharper than resize()'s: a = -1, not -0.5.
enum class AffineFilter { kNearest, kBilinear, kBicubic };

// Where a pixel comes from: (x, y) from (a x + b y + c, d x + e y + f), where pixel centres lie at halves.
struct AffineMatrix {
  double a = 1, b = 0, c = 0;
  double d = 0, e = 1, f = 0;
};

// Image.transform(size, AFFINE, matrix, filter, fillcolor=fill), of the same size. There is no antialiasing.
Image affine(const Image& image, const AffineMatrix& matrix, AffineFilter filter, Rgb fill);

// timm's shear_x, ..., translate_y and Pillow's rotate as such matrices.
AffineMatrix shear_x(double factor);
AffineMatrix shear_y(double factor);
AffineMatrix translate_x(double pixels);                    // above 0: to the left
AffineMatrix translate_y(double pixels);                    // above 0: upwards
AffineMatrix rotation(const Image& image, double degrees);  // counter-clockwise, around the centre

}  // namespace convnext
