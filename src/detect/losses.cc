#include "detect/losses.h"

namespace convnext {

torch::Tensor decode_boxes(const torch::Tensor& boxes, const torch::Tensor& deltas, const DeltaUnits& units) {
  const torch::Tensor start = boxes.slice(1, 0, 2), end = boxes.slice(1, 2, 4);
  const torch::Tensor size = end - start;
  const torch::Tensor change =
      (deltas.slice(1, 2, 4) * units.size).clamp(-kMaxLogarithmicChange, kMaxLogarithmicChange);
  const torch::Tensor half = size * change.exp() * 0.5;
  const torch::Tensor middle = (start + end) * 0.5 + size * (deltas.slice(1, 0, 2) * units.centre);
  return torch::cat({middle - half, middle + half}, 1);
}

torch::Tensor giou_loss(const torch::Tensor& boxes, const torch::Tensor& objects) {
  constexpr double kLeastArea = 1e-7;
  const auto area = [](const torch::Tensor& start, const torch::Tensor& end) { return (end - start).prod(1); };
  const torch::Tensor start = boxes.slice(1, 0, 2), end = boxes.slice(1, 2, 4);
  const torch::Tensor object_start = objects.slice(1, 0, 2), object_end = objects.slice(1, 2, 4);
  const torch::Tensor shared =
      (torch::minimum(end, object_end) - torch::maximum(start, object_start)).clamp_min(0).prod(1);
  const torch::Tensor together = (area(start, end) + area(object_start, object_end) - shared).clamp_min(kLeastArea);
  const torch::Tensor around = (torch::maximum(end, object_end) - torch::minimum(start, object_start))
                                   .clamp_min(0)
                                   .prod(1)
                                   .clamp_min(kLeastArea);
  return 1 - (shared / together - (around - together) / around);
}

torch::Tensor smooth_l1(const torch::Tensor& difference, double beta) {
  const torch::Tensor size = difference.abs();
  if (beta == 0) return size;
  return torch::where(size < beta, size.square() / (2 * beta), size - beta / 2);
}

}  // namespace convnext
