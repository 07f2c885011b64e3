// Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) as timm's Mixup in batch mode: one draw for the whole batch,
// and picture i is mixed with picture n - 1 - i.
//
//   const MixDraw draw = draw_mix(options, height, width, random);
//   mix_pictures(batch.pictures, draw);
//   loss = soft_cross_entropy(logits, mixed_targets(batch.targets, classes, smoothing, draw.lambda));
#pragma once

#include <torch/torch.h>

#include "train/random.h"

namespace convnext {

struct MixOptions {
  double mixup_alpha = 0.8;         // lambda ~ Beta(alpha, alpha); 0: no mixup
  double cutmix_alpha = 1.0;        // likewise for CutMix
  double probability = 1.0;         // that a batch is mixed at all
  double switch_probability = 0.5;  // that it is CutMix, where both are on

  bool enabled() const { return probability > 0 && (mixup_alpha > 0 || cutmix_alpha > 0); }
};

enum class MixKind { kNone, kMixup, kCutmix };

struct MixDraw {
  MixKind kind = MixKind::kNone;
  double lambda = 1.0;  // the part of a picture's own class in its target
  // CutMix: rows [top, bottom) and columns [left, right) come from the other picture.
  int top = 0, bottom = 0, left = 0, right = 0;
};

MixDraw draw_mix(const MixOptions& options, int height, int width, KeyedRandom& random);

// The box of sqrt(1 - lambda) of height and width around a centre, cut off at the borders, and lambda corrected to what
// is left outside of it. timm's since 1.0: a side of an odd number of pixels keeps them all, where the authors' timm
// 0.3.2 drops the last.
MixDraw cutmix_box(double lambda, int height, int width, int center_y, int center_x);

// Mixes `pictures` (n, channels, height, width) in place. Throws Error (kInvalidArgument) when n is odd: the picture in
// the middle would have no partner.
void mix_pictures(torch::Tensor pictures, const MixDraw& draw);

// (n, classes) float32: lambda times the smoothed one-hot target of a picture plus 1 - lambda times its partner's.
// Smoothed: smoothing / classes everywhere, and 1 - smoothing more at the target. `targets` (n,) int64.
torch::Tensor mixed_targets(const torch::Tensor& targets, int classes, double smoothing, double lambda);

}  // namespace convnext
