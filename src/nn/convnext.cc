#include "nn/convnext.h"

#include <fmt/format.h>

#include "model/layers.h"
#include "nn/depthwise.h"

namespace convnext {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

torch::Tensor activate(const torch::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return torch::gelu(x, "none");
    case Activation::kGeluTanh:
      return torch::gelu(x, "tanh");
    case Activation::kSilu:
      return torch::silu(x);
  }
  return x;
}

nn::Conv2d convolution(int in, int out, int kernel, int stride, int padding, int groups = 1) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(padding).groups(groups));
}

// NCHW to (n, h, w, c) and back: free when the memory is channels_last.
torch::Tensor channels_to_back(const torch::Tensor& x) { return x.permute({0, 2, 3, 1}); }
torch::Tensor channels_to_front(const torch::Tensor& x) { return x.permute({0, 3, 1, 2}); }

torch::Tensor norm_of_map(ChannelNorm& norm, const torch::Tensor& x) {
  return channels_to_front(norm.forward(channels_to_back(x)));
}

// An empty module: only there for the names of its members.
class Group : public nn::Module {};

}  // namespace

ChannelNorm::ChannelNorm(Norm norm, double eps, int channels) : norm_(norm), eps_(eps) {
  weight_ = register_parameter("weight", torch::ones({channels}));
  if (norm_ == Norm::kLayerNorm) bias_ = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor ChannelNorm::forward(const torch::Tensor& x) {
  switch (norm_) {
    case Norm::kLayerNorm:
      return torch::layer_norm(x, {weight_.size(0)}, weight_, bias_, eps_);
    case Norm::kRmsNorm:
      return x * torch::rsqrt(x.square().mean(-1, /*keepdim=*/true) + eps_) * weight_;
    case Norm::kSimpleNorm:
      return x * torch::rsqrt(torch::var(x, at::IntArrayRef{-1}, /*unbiased=*/true, /*keepdim=*/true) + eps_) * weight_;
  }
  return x;
}

Mlp::Linear::Linear(int in, int out, bool as_convolution) {
  weight = register_parameter("weight", as_convolution ? torch::empty({out, in, 1, 1}) : torch::empty({out, in}));
  bias = register_parameter("bias", torch::zeros({out}));
}

torch::Tensor Mlp::Linear::forward(const torch::Tensor& x) { return torch::linear(x, weight.flatten(1), bias); }

Mlp::ResponseNorm::ResponseNorm(int channels) {
  weight = register_parameter("weight", torch::zeros({channels}));
  bias = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor Mlp::ResponseNorm::forward(const torch::Tensor& x) {
  const torch::Tensor energy = torch::norm(x, 2, {1, 2}, /*keepdim=*/true);
  const torch::Tensor response = energy / (energy.mean(-1, /*keepdim=*/true) + 1e-6);
  return x + torch::addcmul(bias, weight, x * response);
}

Mlp::Mlp(const ConvNextConfig& config, int channels) : activation_(config.activation) {
  const int hidden = 4 * channels;
  fc1_ = register_module("fc1", std::make_shared<Linear>(channels, hidden, config.conv_mlp));
  if (config.grn) grn_ = register_module("grn", std::make_shared<ResponseNorm>(hidden));
  fc2_ = register_module("fc2", std::make_shared<Linear>(hidden, channels, config.conv_mlp));
}

torch::Tensor Mlp::forward(const torch::Tensor& x) {
  torch::Tensor hidden = activate(fc1_->forward(x), activation_);
  if (grn_) hidden = grn_->forward(hidden);
  return fc2_->forward(hidden);
}

Block::Block(const ConvNextConfig& config, int stage) {
  const auto index = static_cast<std::size_t>(stage);
  const int channels = config.dims[index];
  const int kernel = config.kernel_sizes[index];
  if (config.layer_scale) gamma_ = register_parameter("gamma", torch::ones({channels}));
  conv_dw_ = register_module("conv_dw", convolution(channels, channels, kernel, 1, kernel / 2, channels));
  norm_ = register_module("norm", std::make_shared<ChannelNorm>(config.norm, config.norm_eps, channels));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(config, channels));
}

torch::Tensor Block::forward(const torch::Tensor& x, const torch::Tensor& keep) {
  torch::Tensor branch =
      mlp_->forward(norm_->forward(channels_to_back(depthwise_convolution(x, conv_dw_->weight, conv_dw_->bias))));
  if (gamma_.defined()) branch = branch * gamma_;
  branch = channels_to_front(branch);
  return keep.defined() ? torch::addcmul(x, branch, keep) : x + branch;
}

ConvNextNetwork::ConvNextNetwork(const ConvNextConfig& config, DropRates rates, NetworkEnd end)
    : config_(config), rates_(rates) {
  add_stem();
  const auto stages = register_module("stages", std::make_shared<Group>());
  for (int i = 0; i < config_.stages(); ++i) add_stage(i, *stages);
  if (end == NetworkEnd::kHead) add_head();
}

void ConvNextNetwork::add_stem() {
  const auto stem = register_module("stem", std::make_shared<Group>());
  for (const LayerSpec& layer : layer_specs(config_)) {
    if (layer.place != LayerPlace::kStem) break;
    const std::string index = layer.name.substr(layer.name.find('.') + 1);
    if (layer.kind == LayerKind::kConvolution) {
      stem_convolutions_.push_back(stem->register_module(
          index, convolution(layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding)));
    } else if (layer.kind == LayerKind::kNorm) {
      stem_norm_ = stem->register_module(
          index, std::make_shared<ChannelNorm>(config_.norm, config_.norm_eps, layer.out_channels));
    }
  }
}

void ConvNextNetwork::add_stage(int index, nn::Module& stages) {
  const auto at = static_cast<std::size_t>(index);
  const auto group = stages.register_module(std::to_string(index), std::make_shared<Group>());
  Stage& stage = stages_.emplace_back();
  if (index > 0) {
    const auto downsample = group->register_module("downsample", std::make_shared<Group>());
    stage.downsample_norm = downsample->register_module(
        "0", std::make_shared<ChannelNorm>(config_.norm, config_.norm_eps, config_.dims[at - 1]));
    stage.downsample = downsample->register_module("1", convolution(config_.dims[at - 1], config_.dims[at], 2, 2, 0));
  }
  const auto blocks = group->register_module("blocks", std::make_shared<Group>());
  for (int j = 0; j < config_.depths[at]; ++j) {
    stage.blocks.push_back(blocks->register_module(std::to_string(j), std::make_shared<Block>(config_, index)));
  }
}

void ConvNextNetwork::add_head() {
  const int channels = config_.dims.back();
  if (config_.head == Head::kNormPool) {
    head_norm_ = register_module("norm_pre", std::make_shared<ChannelNorm>(config_.norm, config_.head_eps(), channels));
  }
  const auto head = register_module("head", std::make_shared<Group>());
  if (!head_norm_)
    head_norm_ =
        head->register_module("norm", std::make_shared<ChannelNorm>(config_.norm, config_.head_eps(), channels));
  int features = channels;
  if (config_.head == Head::kMlp) {
    features = config_.head_hidden;
    const auto pre_logits = head->register_module("pre_logits", std::make_shared<Group>());
    pre_logits_ = pre_logits->register_module("fc", nn::Linear(channels, features));
  }
  if (config_.classes > 0) classifier_ = head->register_module("fc", nn::Linear(features, config_.classes));
}

torch::Tensor ConvNextNetwork::stem(torch::Tensor x) {
  for (std::size_t i = 0; i < stem_convolutions_.size(); ++i) {
    x = stem_convolutions_[i]->forward(x);
    if (i == 0 && config_.stem == Stem::kOverlapAct) x = activate(x, config_.activation);
  }
  return stem_norm_ ? norm_of_map(*stem_norm_, x) : x;
}

torch::Tensor ConvNextNetwork::pooled(const torch::Tensor& x) {
  torch::Tensor features;
  if (config_.head == Head::kNormPool) {
    features = norm_of_map(*head_norm_, x).mean({2, 3});
  } else {
    features = head_norm_->forward(x.mean({2, 3}));
  }
  return pre_logits_ ? torch::gelu(pre_logits_->forward(features)) : features;
}

std::shared_ptr<Network> make_network(const ConvNextConfig& config, DropRates rates) {
  return std::make_shared<ConvNextNetwork>(config, rates);
}

std::shared_ptr<Network> make_backbone(const ConvNextConfig& config, double drop_path_rate) {
  return std::make_shared<ConvNextNetwork>(config, DropRates{.drop_path = drop_path_rate}, NetworkEnd::kStages);
}

NetworkOutputs ConvNextNetwork::forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) {
  NetworkOutputs outputs;
  int blocks = 0;
  for (const Stage& stage : stages_) blocks += static_cast<int>(stage.blocks.size());
  torch::Tensor x = stem(pictures);
  int number = 0;
  for (Stage& stage : stages_) {
    if (stage.downsample_norm) x = stage.downsample->forward(norm_of_map(*stage.downsample_norm, x));
    for (const std::shared_ptr<Block>& block : stage.blocks) {
      const double rate = drop_path_rate_of_block(rates_.drop_path, number, blocks);
      torch::Tensor keep;
      if (drop_key && rate > 0) keep = drop_path_mask(*drop_key, number, rate, x.size(0), x.options());
      x = block->forward(x, keep);
      ++number;
    }
    outputs.stages.push_back(x);
  }
  if (!head_norm_) return outputs;
  outputs.pooled = pooled(x);
  outputs.logits =
      classifier_ ? classifier_->forward(keyed_dropout(outputs.pooled, rates_.dropout, drop_key)) : outputs.pooled;
  return outputs;
}

}  // namespace convnext
