// The modules of a detector around its backbone. Their parameters are named as in tensor_specs(DetectorConfig).
#pragma once

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "model/detector.h"

namespace convnext {

// Maps of one width from the stages of a backbone (Lin et al. 2017): each stage's through a 1x1 convolution, with what
// lies above it, twice as large, added, and a 3x3 convolution; the fifth is every other pixel of the fourth.
class FeaturePyramid : public torch::nn::Module {
 public:
  FeaturePyramid(const std::vector<int>& widths, int channels);
  // Four maps (n, width, h, w) to five (n, channels, h, w).
  std::vector<torch::Tensor> forward(const std::vector<torch::Tensor>& stages);

 private:
  std::vector<torch::nn::Conv2d> lateral_, output_;
};

// Whether there is an object, and how an anchor is to be moved to it, at every pixel for every shape of anchor.
class ProposalHead : public torch::nn::Module {
 public:
  explicit ProposalHead(const DetectorConfig& config);
  // Logits (n, h * w * anchors) and deltas (n, h * w * anchors, 4), in the order of anchors_of_level().
  std::pair<torch::Tensor, torch::Tensor> forward(const torch::Tensor& map);

 private:
  torch::nn::Conv2d convolution_{nullptr}, scores_{nullptr}, deltas_{nullptr};
};

// What a region holds: (regions, channels, bins, bins) to logits (regions, classes + 1), the last one of the
// background, and deltas (regions, classes, 4).
class BoxHead : public torch::nn::Module {
 public:
  explicit BoxHead(const DetectorConfig& config);
  std::pair<torch::Tensor, torch::Tensor> forward(torch::Tensor pooled);

 private:
  std::vector<torch::nn::Conv2d> convolutions_;  // none in a head of linears
  std::vector<torch::nn::BatchNorm2d> norms_;
  std::vector<torch::nn::Linear> linears_;
  torch::nn::Linear scores_{nullptr}, deltas_{nullptr};
};

// Which bins of a region are the object's: (regions, channels, bins, bins) to logits (regions, classes, 2 bins, 2
// bins).
class MaskHead : public torch::nn::Module {
 public:
  explicit MaskHead(const DetectorConfig& config);
  torch::Tensor forward(torch::Tensor pooled);

 private:
  // A transposed convolution of kernel and stride 2: each pixel becomes four, and they do not meet.
  struct Upsample : torch::nn::Module {
    explicit Upsample(int channels);
    torch::Tensor forward(const torch::Tensor& x);
    torch::Tensor weight;  // (in, out, 2, 2)
    torch::Tensor bias;
  };

  std::vector<torch::nn::Conv2d> convolutions_;
  std::shared_ptr<Upsample> upsample_;
  torch::nn::Conv2d logits_{nullptr};
};

}  // namespace convnext
