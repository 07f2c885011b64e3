// Random erasing (Zhong et al. 2020) as timm 1.0 has it: one rectangle of a normalised picture is overwritten.
#pragma once

#include <optional>
#include <span>

#include "image/resize.h"
#include "train/random.h"

namespace convnext {

enum class EraseMode {
  kConstant,  // 0, which is the mean colour; timm's "const"
  kRandom,    // one normal number a channel; timm's "rand"
  kPixel,     // a normal number for each value; timm's "pixel"
};

struct RandomErasing {
  double probability = 0;
  EraseMode mode = EraseMode::kPixel;
  double min_area = 0.02, max_area = 1.0 / 3.0;     // of the picture's; uniform
  double min_aspect = 0.3, max_aspect = 1.0 / 0.3;  // height over width; its logarithm is uniform

  bool operator==(const RandomErasing&) const = default;
};

// The rectangle to be erased, nothing when it is not this picture's turn or ten tries found none that is smaller than
// the picture on both sides.
std::optional<Region> draw_erased_region(const RandomErasing& erasing, int width, int height, KeyedRandom& random);

// `pixels`: (height, width, 3), normalised.
void erase(std::span<float> pixels, int width, int height, const RandomErasing& erasing, KeyedRandom& random);

}  // namespace convnext
