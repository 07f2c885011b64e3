#include "train/augmentation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "convnext/error.h"
#include "core/hash.h"

namespace convnext {
namespace {

// What a number is drawn for, so that no two uses share a sequence.
constexpr std::uint64_t kAugment = hash_name("augment");
constexpr std::uint64_t kFlip = hash_name("flip");
constexpr std::uint64_t kErase = hash_name("erase");

constexpr int kMaxPadding = 4096;

void require(bool holds, std::string_view what, double value, std::string_view expected) {
  if (holds) return;
  throw Error(ErrorCode::kInvalidArgument, fmt::format("augmentation: {} is {}, expected {}", what, value, expected));
}

void require_probability(double value, std::string_view what) {
  require(value >= 0.0 && value <= 1.0, what, value, "0 to 1");
}

void require_range(double low, double high, double most, std::string_view what) {
  require(low > 0.0, fmt::format("the least {}", what), low, "more than 0");
  require(high >= low && high <= most, fmt::format("the largest {}", what), high, fmt::format("{} to {}", low, most));
}

Image shift_randomly(const Image& image, const Augmentation& augmentation, KeyedRandom& random) {
  const auto choices = static_cast<std::uint32_t>(2 * augmentation.crop_padding + 1);
  const int dx = static_cast<int>(random.below(choices)) - augmentation.crop_padding;
  const int dy = static_cast<int>(random.below(choices)) - augmentation.crop_padding;
  return shift(image, dx, dy, augmentation.padding);
}

Image crop_randomly(const Image& image, const Augmentation& augmentation, int side, KeyedRandom& random) {
  const Region region = draw_resized_crop(augmentation.resized_crop, image.width, image.height, random);
  const Interpolation interpolation = augmentation.interpolation ? *augmentation.interpolation
                                      : random.below(2) == 0     ? Interpolation::kBilinear
                                                                 : Interpolation::kBicubic;
  return resized_crop(image, region, side, side, interpolation);
}

}  // namespace

void validate(const Augmentation& augmentation) {
  constexpr double kMaxAspect = 1000.0;
  require_probability(augmentation.flip_probability, "the probability of mirroring (--flip)");
  require(augmentation.crop_padding >= 0 && augmentation.crop_padding <= kMaxPadding,
          "the padding of the crop (--crop-padding)", augmentation.crop_padding, fmt::format("0 to {}", kMaxPadding));
  require_range(augmentation.resized_crop.min_area, augmentation.resized_crop.max_area, 1.0,
                "area of a crop (--crop-scale)");
  require_range(augmentation.resized_crop.min_aspect, augmentation.resized_crop.max_aspect, kMaxAspect,
                "aspect ratio of a crop (--crop-ratio)");
  require(augmentation.color_jitter >= 0.0 && std::isfinite(augmentation.color_jitter),
          "the colour jitter (--color-jitter)", augmentation.color_jitter, "0 or more");
  require_probability(augmentation.erasing.probability, "the probability of erasing (--erasing)");
  require_range(augmentation.erasing.min_area, augmentation.erasing.max_area, 1.0, "erased area");
  require_range(augmentation.erasing.min_aspect, augmentation.erasing.max_aspect, kMaxAspect, "erased aspect ratio");
  if (augmentation.rand_augment) validate(*augmentation.rand_augment, augmentation.interpolation);
}

Image augment(Image image, const Augmentation& augmentation, const Preprocessing& preprocessing, const SampleKey& key) {
  KeyedRandom random({key.seed, kAugment, key.epoch, key.sample});
  if (augmentation.crop == TrainCrop::kRandomResized) {
    image = crop_randomly(image, augmentation, preprocessing.resolution, random);
  } else if (image.width != preprocessing.resolution || image.height != preprocessing.resolution) {
    throw std::logic_error("augment: the picture is not of the resolution");
  } else if (augmentation.crop == TrainCrop::kShift && augmentation.crop_padding > 0) {
    image = shift_randomly(image, augmentation, random);
  }
  if (is_mirrored(augmentation, key)) image = flip_horizontally(image);

  std::vector<PictureOperation> operations;
  if (augmentation.rand_augment) {
    operations = draw_operations(*augmentation.rand_augment, augmentation.interpolation, random);
  } else if (augmentation.color_jitter > 0) {
    operations = draw_color_jitter(augmentation.color_jitter, random);
  }
  const Rgb fill = fill_of(preprocessing.mean);
  for (const PictureOperation& operation : operations) image = apply(image, operation, fill);
  return image;
}

void erase(std::span<float> pixels, int width, int height, const Augmentation& augmentation, const SampleKey& key) {
  if (augmentation.erasing.probability <= 0) return;
  KeyedRandom random({key.seed, kErase, key.epoch, key.sample});
  erase(pixels, width, height, augmentation.erasing, random);
}

bool is_mirrored(const Augmentation& augmentation, const SampleKey& key) {
  if (augmentation.flip_mode == FlipMode::kRandom) {
    return KeyedRandom({key.seed, kFlip, key.sample, key.epoch}).chance(augmentation.flip_probability);
  }
  return (KeyedRandom({key.seed, kFlip, key.sample}).next() + key.epoch) % 2 == 1;
}

Region draw_resized_crop(const ResizedCrop& ranges, int width, int height, KeyedRandom& random) {
  const double whole = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = random.uniform(ranges.min_area, ranges.max_area) * whole;
    const double aspect = random.log_uniform(ranges.min_aspect, ranges.max_aspect);
    const double cropped_width = std::nearbyint(std::sqrt(area * aspect));
    const double cropped_height = std::nearbyint(std::sqrt(area / aspect));
    if (!(cropped_width >= 1 && cropped_width <= width && cropped_height >= 1 && cropped_height <= height)) continue;
    Region region{.width = static_cast<int>(cropped_width), .height = static_cast<int>(cropped_height)};
    region.top = random.below(static_cast<std::uint32_t>(height - region.height + 1));
    region.left = random.below(static_cast<std::uint32_t>(width - region.width + 1));
    return region;
  }

  Region region{.width = width, .height = height};
  const double aspect = static_cast<double>(width) / height;
  if (aspect < ranges.min_aspect) {
    region.height = std::max(static_cast<int>(std::nearbyint(width / ranges.min_aspect)), 1);
  } else if (aspect > ranges.max_aspect) {
    region.width = std::max(static_cast<int>(std::nearbyint(height * ranges.max_aspect)), 1);
  }
  region.top = (height - region.height) / 2;
  region.left = (width - region.width) / 2;
  return region;
}

std::vector<PictureOperation> draw_color_jitter(double strength, KeyedRandom& random) {
  std::array<OperationKind, 3> kinds = {OperationKind::kBrightness, OperationKind::kContrast, OperationKind::kColor};
  std::vector<PictureOperation> operations;
  for (const OperationKind kind : kinds) {
    operations.push_back({.kind = kind, .argument = random.uniform(std::max(0.0, 1.0 - strength), 1.0 + strength)});
  }
  for (std::uint32_t i = 3; i > 1; --i) std::swap(operations[i - 1], operations[random.below(i)]);
  return operations;
}

}  // namespace convnext
