// What is done to a training picture before it becomes a tensor, in the order of timm's transforms_imagenet_train:
// crop, mirroring, RandAugment or colour jitter; then, on the normalised values, random erasing.
//
//   image = augment(std::move(image), augmentation, preprocessing, {seed, epoch, sample});
//   ... normalise into `pixels` ...
//   erase(pixels, image.width, image.height, augmentation, {seed, epoch, sample});
//
// All draws depend on the key alone. Drawing and doing are apart: draw_...() says what, another function does it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "convnext/image.h"
#include "train/rand_augment.h"
#include "train/random.h"
#include "train/random_erasing.h"

namespace convnext {

enum class FlipMode {
  kRandom,       // mirrored left to right with a probability
  kAlternating,  // in every other epoch, beginning with the first or the second, by sample (Jordan 2024)
};

// How a picture becomes resolution x resolution.
enum class TrainCrop {
  kNone,           // as for evaluation: resize_and_crop()
  kShift,          // as for evaluation, then moved by a few pixels
  kRandomResized,  // a part of the decoded picture of random area, shape and place, resized
};

// Ranges of a random resized crop (Szegedy et al. 2015).
struct ResizedCrop {
  double min_area = 0.08, max_area = 1.0;                 // of the picture's; uniform
  double min_aspect = 3.0 / 4.0, max_aspect = 4.0 / 3.0;  // width over height; its logarithm is uniform

  bool operator==(const ResizedCrop&) const = default;
};

struct Augmentation {
  double flip_probability = 0.5;  // of kRandom
  FlipMode flip_mode = FlipMode::kRandom;
  TrainCrop crop = TrainCrop::kShift;
  int crop_padding = 0;  // of kShift: pixels that a picture is moved at most, along each side
  ShiftPadding padding = ShiftPadding::kBlack;
  ResizedCrop resized_crop = {};
  // Of the resized crop and of RandAugment; nothing: bilinear or bicubic, drawn for each use.
  std::optional<Interpolation> interpolation = Interpolation::kBicubic;
  std::optional<RandAugment> rand_augment = std::nullopt;
  double color_jitter = 0;  // brightness, contrast and saturation by 1 - this to 1 + this; not beside RandAugment
  RandomErasing erasing = {};

  bool operator==(const Augmentation&) const = default;
};

// Throws Error (kInvalidArgument) with the first value that cannot work.
void validate(const Augmentation& augmentation);

// What the random numbers of one picture are drawn for.
struct SampleKey {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  std::uint64_t sample = 0;  // number in the data set
};

// `image`: with kRandomResized as it was decoded; otherwise after resize_and_crop(). Returns resolution x resolution.
Image augment(Image image, const Augmentation& augmentation, const Preprocessing& preprocessing, const SampleKey& key);

// Erases a part of the normalised picture, (height, width, 3), when it is this picture's turn.
void erase(std::span<float> pixels, int width, int height, const Augmentation& augmentation, const SampleKey& key);

bool is_mirrored(const Augmentation& augmentation, const SampleKey& key);

// torchvision's RandomResizedCrop.get_params: ten tries, then the largest central part within the range of shapes.
Region draw_resized_crop(const ResizedCrop& ranges, int width, int height, KeyedRandom& random);

// torchvision's ColorJitter.get_params: brightness, contrast and saturation in random order, each by a factor in
// [max(0, 1 - strength), 1 + strength].
std::vector<PictureOperation> draw_color_jitter(double strength, KeyedRandom& random);

}  // namespace convnext
