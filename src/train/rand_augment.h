// RandAugment (Cubuk et al. 2020) as timm 1.0 has it: a few operations a picture, drawn with replacement from fifteen,
// each done with a probability, at a magnitude that all share.
//
//   const RandAugment policy = *parse_rand_augment("rand-m9-mstd0.5-inc1");
//   for (const PictureOperation& operation : draw_operations(policy, Interpolation::kBicubic, random)) {
//     image = apply(image, operation, fill);
//   }
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "convnext/image.h"
#include "image/pixel_operations.h"
#include "train/random.h"

namespace convnext {

struct RandAugment {
  int operations = 2;              // n: drawn a picture, in [1, 100]
  double probability = 0.5;        // p: that a drawn one is done
  int magnitude = 10;              // m: in [0, 100], of which 10 is meant to be the strongest
  double magnitude_deviation = 0;  // mstd: of a normal magnitude; infinity: a uniform one in [0, magnitude]
  int max_magnitude = 10;          // mmax: a drawn magnitude is cut to [0, max_magnitude]; in [1, 100]
  bool increasing = false;         // inc: every operation is stronger at a higher magnitude; else some are weaker

  bool operator==(const RandAugment&) const = default;
};

// timm's notation: "rand" and any of m9, n2, p0.5, mstd0.5, mmax10, inc1, joined by dashes; mstd above 100 stands for
// infinity. Nothing for "". Throws Error (kInvalidArgument) with the part that is unknown, out of range or given twice.
std::optional<RandAugment> parse_rand_augment(std::string_view text);

// Throws Error (kInvalidArgument) with the first value that is out of its range, or an `interpolation` that
// draw_operations() does not take.
void validate(const RandAugment& policy, std::optional<Interpolation> interpolation);

enum class OperationKind {
  kAutoContrast,
  kEqualize,
  kInvert,
  kRotate,
  kPosterize,
  kSolarize,
  kSolarizeAdd,
  kColor,
  kContrast,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
};
constexpr int kOperationKinds = 15;

struct PictureOperation {
  OperationKind kind;
  // Degrees (kRotate), bits kept, threshold, amount added, factor of enhancement or shear, part of the side
  // (kTranslateX, kTranslateY); nothing for the first three.
  double argument = 0;
  AffineFilter filter = AffineFilter::kBicubic;  // of rotations, shears and translations
};

// Whether the argument can have either sign, or lie on either side of 1.
bool has_direction(OperationKind kind, bool increasing);

// timm's argument at a magnitude. `backwards`: the negative one of two, where there are two.
double argument_at(OperationKind kind, double magnitude, bool increasing, bool backwards);

// What is done to one picture. `interpolation`: bilinear or bicubic; without, either is drawn for each operation.
// Throws Error (kInvalidArgument) for the others, which Pillow's transform() does not have.
std::vector<PictureOperation> draw_operations(const RandAugment& policy, std::optional<Interpolation> interpolation,
                                              KeyedRandom& random);

// `fill`: what comes in at the sides.
Image apply(const Image& image, const PictureOperation& operation, Rgb fill);

// The mean of the pictures as a colour, which is timm's fill.
Rgb fill_of(const std::array<float, 3>& mean);

}  // namespace convnext
