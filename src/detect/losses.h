// What detectors minimise, as tensors with gradients.
#pragma once

#include <torch/torch.h>

#include "detect/box_coding.h"

namespace convnext {

// decode() of every row: boxes and deltas (n, 4) to (n, 4).
torch::Tensor decode_boxes(const torch::Tensor& boxes, const torch::Tensor& deltas, const DeltaUnits& units);

// 1 - GIoU of every row (Rezatofighi et al. 2019; mmdet's giou_loss): (n, 4) and (n, 4) to (n,). From 0 for equal boxes
// to 2 for boxes far apart.
torch::Tensor giou_loss(const torch::Tensor& boxes, const torch::Tensor& objects);

// |d|, but d^2 / (2 beta) where it is below beta, less beta / 2 elsewhere (Girshick 2015); beta 0: |d|. Element by
// element.
torch::Tensor smooth_l1(const torch::Tensor& difference, double beta);

}  // namespace convnext
