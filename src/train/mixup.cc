#include "train/mixup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "convnext/error.h"

namespace convnext {

MixDraw draw_mix(const MixOptions& options, int height, int width, KeyedRandom& random) {
  if (!options.enabled() || !random.chance(options.probability)) return {};
  const bool cutmix =
      options.cutmix_alpha > 0 && (options.mixup_alpha <= 0 || random.chance(options.switch_probability));
  const double alpha = cutmix ? options.cutmix_alpha : options.mixup_alpha;
  const double lambda = random.beta(alpha, alpha);
  if (!cutmix) return {.kind = MixKind::kMixup, .lambda = lambda};
  const auto center_y = static_cast<int>(random.below(static_cast<std::uint32_t>(height)));
  const auto center_x = static_cast<int>(random.below(static_cast<std::uint32_t>(width)));
  return cutmix_box(lambda, height, width, center_y, center_x);
}

MixDraw cutmix_box(double lambda, int height, int width, int center_y, int center_x) {
  const double ratio = std::sqrt(1.0 - lambda);
  const int cut_height = static_cast<int>(height * ratio);
  const int cut_width = static_cast<int>(width * ratio);
  MixDraw draw{.kind = MixKind::kCutmix};
  draw.top = std::clamp(center_y - cut_height / 2, 0, height);
  draw.bottom = std::clamp(center_y + (cut_height + 1) / 2, 0, height);
  draw.left = std::clamp(center_x - cut_width / 2, 0, width);
  draw.right = std::clamp(center_x + (cut_width + 1) / 2, 0, width);
  const auto area = static_cast<double>((draw.bottom - draw.top) * (draw.right - draw.left));
  draw.lambda = 1.0 - area / (static_cast<double>(height) * width);
  return draw;
}

void mix_pictures(torch::Tensor pictures, const MixDraw& draw) {
  torch::NoGradGuard no_grad;
  if (pictures.size(0) % 2 != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("mixup and CutMix pair the pictures of a batch, and {} is an odd number: make the batch "
                            "one larger or smaller",
                            pictures.size(0)));
  }
  switch (draw.kind) {
    case MixKind::kNone:
      break;
    case MixKind::kMixup: {
      const torch::Tensor partners = pictures.flip(0).mul_(1.0 - draw.lambda);
      pictures.mul_(draw.lambda).add_(partners);
      break;
    }
    case MixKind::kCutmix: {
      torch::Tensor box = pictures.slice(2, draw.top, draw.bottom).slice(3, draw.left, draw.right);
      box.copy_(box.flip(0));
      break;
    }
  }
}

torch::Tensor mixed_targets(const torch::Tensor& targets, int classes, double smoothing, double lambda) {
  const double off = smoothing / classes;
  torch::Tensor own = torch::full({targets.size(0), classes}, off, targets.options().dtype(torch::kFloat32));
  own.scatter_(1, targets.unsqueeze(1), 1.0 - smoothing + off);
  return own * lambda + own.flip(0) * (1.0 - lambda);
}

}  // namespace convnext
