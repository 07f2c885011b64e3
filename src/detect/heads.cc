#include "detect/heads.h"

#include <string>

#include "nn/pointwise.h"

namespace convnext {
namespace {

namespace nn = torch::nn;

nn::Conv2d convolution_3x3(int in, int out, bool bias = true) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1).bias(bias));
}

nn::Conv2d convolution_1x1(int in, int out) { return nn::Conv2d(nn::Conv2dOptions(in, out, 1)); }

torch::Tensor mixed(const nn::Conv2d& convolution, const torch::Tensor& x) {
  return pointwise_convolution(x, convolution->weight, convolution->bias);
}

std::shared_ptr<nn::Module> group(nn::Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<nn::Module>());
}

}  // namespace

FeaturePyramid::FeaturePyramid(const std::vector<int>& widths, int channels) {
  const auto lateral = group(*this, "lateral"), output = group(*this, "output");
  for (std::size_t i = 0; i < widths.size(); ++i) {
    lateral_.push_back(lateral->register_module(std::to_string(i), convolution_1x1(widths[i], channels)));
    output_.push_back(output->register_module(std::to_string(i), convolution_3x3(channels, channels)));
  }
}

std::vector<torch::Tensor> FeaturePyramid::forward(const std::vector<torch::Tensor>& stages) {
  std::vector<torch::Tensor> maps(stages.size());
  for (std::size_t i = stages.size(); i-- > 0;) {
    maps[i] = mixed(lateral_[i], stages[i]);
    if (i + 1 == stages.size()) continue;
    const std::vector<std::int64_t> size = {maps[i].size(2), maps[i].size(3)};
    maps[i] = maps[i] + torch::upsample_nearest2d(maps[i + 1], size);
  }
  for (std::size_t i = 0; i < maps.size(); ++i) maps[i] = output_[i]->forward(maps[i]);
  const torch::Tensor& last = maps.back();
  maps.push_back(last.slice(2, 0, last.size(2), 2).slice(3, 0, last.size(3), 2));
  return maps;
}

ProposalHead::ProposalHead(const DetectorConfig& config) {
  const int channels = config.pyramid_channels, anchors = config.anchors_of_place();
  convolution_ = register_module("convolution", convolution_3x3(channels, channels));
  scores_ = register_module("scores", convolution_1x1(channels, anchors));
  deltas_ = register_module("deltas", convolution_1x1(channels, 4 * anchors));
}

std::pair<torch::Tensor, torch::Tensor> ProposalHead::forward(const torch::Tensor& map) {
  const torch::Tensor hidden = torch::relu(convolution_->forward(map));
  const std::int64_t n = map.size(0);
  return {mixed(scores_, hidden).permute({0, 2, 3, 1}).reshape({n, -1}),
          mixed(deltas_, hidden).permute({0, 2, 3, 1}).reshape({n, -1, 4})};
}

BoxHead::BoxHead(const DetectorConfig& config) {
  const int channels = config.pyramid_channels;
  std::size_t linears = 2;
  if (config.box_head == DetectorConfig::BoxHead::kConvolutions) {
    linears = 1;
    const auto convolutions = group(*this, "convolutions"), norms = group(*this, "norms");
    for (int i = 0; i < kHeadConvolutions; ++i) {
      convolutions_.push_back(
          convolutions->register_module(std::to_string(i), convolution_3x3(channels, channels, /*bias=*/false)));
      norms_.push_back(norms->register_module(std::to_string(i), nn::BatchNorm2d(channels)));
    }
  }
  const auto group_of_linears = group(*this, "linears");
  int width = channels * config.box_bins * config.box_bins;
  for (std::size_t i = 0; i < linears; ++i) {
    linears_.push_back(group_of_linears->register_module(std::to_string(i), nn::Linear(width, config.box_hidden)));
    width = config.box_hidden;
  }
  scores_ = register_module("scores", nn::Linear(width, config.classes + 1));
  deltas_ = register_module("deltas", nn::Linear(width, 4 * config.classes));
}

std::pair<torch::Tensor, torch::Tensor> BoxHead::forward(torch::Tensor pooled) {
  for (std::size_t i = 0; i < convolutions_.size(); ++i) {
    pooled = torch::relu(norms_[i]->forward(convolutions_[i]->forward(pooled)));
  }
  torch::Tensor hidden = pooled.flatten(1);
  for (nn::Linear& linear : linears_) hidden = torch::relu(linear->forward(hidden));
  const torch::Tensor deltas = deltas_->forward(hidden);
  return {scores_->forward(hidden), deltas.view({deltas.size(0), deltas.size(1) / 4, 4})};
}

MaskHead::Upsample::Upsample(int channels) {
  weight = register_parameter("weight", torch::zeros({channels, channels, 2, 2}));
  bias = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor MaskHead::Upsample::forward(const torch::Tensor& x) {
  const std::int64_t n = x.size(0), height = x.size(2), width = x.size(3), out = weight.size(1);
  // (n, h, w, in) by (4 out, in), then the four of each pixel to their places. Channels come last in both, so that
  // whole pixels are moved: with the four last, moving them one by one took a sixth of a training step.
  const torch::Tensor four =
      torch::linear(x.permute({0, 2, 3, 1}), weight.permute({2, 3, 1, 0}).flatten(0, 2), bias.repeat(4));
  return four.view({n, height, width, 2, 2, out})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({n, 2 * height, 2 * width, out})
      .permute({0, 3, 1, 2});
}

MaskHead::MaskHead(const DetectorConfig& config) {
  const int channels = config.pyramid_channels;
  const auto convolutions = group(*this, "convolutions");
  for (int i = 0; i < kHeadConvolutions; ++i) {
    convolutions_.push_back(convolutions->register_module(std::to_string(i), convolution_3x3(channels, channels)));
  }
  upsample_ = register_module("upsample", std::make_shared<Upsample>(channels));
  logits_ = register_module("logits", convolution_1x1(channels, config.classes));
}

torch::Tensor MaskHead::forward(torch::Tensor pooled) {
  for (nn::Conv2d& convolution : convolutions_) pooled = torch::relu(convolution->forward(pooled));
  return mixed(logits_, torch::relu(upsample_->forward(pooled)));
}

}  // namespace convnext
