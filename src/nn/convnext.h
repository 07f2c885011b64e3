// ConvNeXt V1, V2 and isotropic in libtorch (paper section 2; timm/models/convnext.py is the reference for stems, norms
// and heads beyond the paper's).
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "model/config.h"
#include "nn/network.h"

namespace convnext {

// Normalisation over the channels of a pixel; works on (..., channels).
class ChannelNorm : public torch::nn::Module {
 public:
  ChannelNorm(Norm norm, double eps, int channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Norm norm_;
  double eps_;
  torch::Tensor weight_;  // (channels,)
  torch::Tensor bias_;    // (channels,), LayerNorm only
};

// The two linears of a block with what stands between them: (n, h, w, channels) to the same.
class Mlp : public torch::nn::Module {
 public:
  Mlp(const ConvNextConfig& config, int channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  // A linear layer; its weight is (out, in), or (out, in, 1, 1) where timm keeps it as a convolution.
  struct Linear : torch::nn::Module {
    Linear(int in, int out, bool as_convolution);
    torch::Tensor forward(const torch::Tensor& x);
    torch::Tensor weight, bias;
  };
  // Global response normalisation (ConvNeXt V2, section 4), eps 1e-6.
  struct ResponseNorm : torch::nn::Module {
    explicit ResponseNorm(int channels);
    torch::Tensor forward(const torch::Tensor& x);
    torch::Tensor weight, bias;  // (channels,)
  };

  Activation activation_;
  std::shared_ptr<Linear> fc1_, fc2_;
  std::shared_ptr<ResponseNorm> grn_;  // null in V1
};

// depthwise -> norm -> linear -> activation (-> GRN) -> linear -> layer scale -> drop path -> + shortcut, NCHW.
class Block : public torch::nn::Module {
 public:
  Block(const ConvNextConfig& config, int stage);
  // `keep` multiplies the branch of each picture, (n, 1, 1, 1); undefined: every branch is kept.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& keep);

 private:
  torch::nn::Conv2d conv_dw_{nullptr};
  std::shared_ptr<ChannelNorm> norm_;
  std::shared_ptr<Mlp> mlp_;
  torch::Tensor gamma_;  // (channels,), undefined without layer scale
};

class ConvNextNetwork : public Network {
 public:
  ConvNextNetwork(const ConvNextConfig& config, DropRates rates, NetworkEnd end = NetworkEnd::kHead);
  NetworkOutputs forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) override;

 private:
  struct Stage {
    std::shared_ptr<ChannelNorm> downsample_norm;  // null in the first stage
    torch::nn::Conv2d downsample{nullptr};
    std::vector<std::shared_ptr<Block>> blocks;
  };
  void add_stem();
  void add_stage(int index, torch::nn::Module& stages);
  void add_head();
  torch::Tensor stem(torch::Tensor x);
  torch::Tensor pooled(const torch::Tensor& x);

  ConvNextConfig config_;
  DropRates rates_;
  std::vector<torch::nn::Conv2d> stem_convolutions_;
  std::shared_ptr<ChannelNorm> stem_norm_;
  std::vector<Stage> stages_;
  std::shared_ptr<ChannelNorm> head_norm_;  // null in a backbone
  torch::nn::Linear pre_logits_{nullptr};
  torch::nn::Linear classifier_{nullptr};
};

}  // namespace convnext
