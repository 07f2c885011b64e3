// What ViT and Swin have in common in libtorch.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>

namespace convnext {

// Which pictures keep the two branches of a block, (n, 1, 1, 1); undefined: all of them do.
struct BranchMasks {
  torch::Tensor attention;
  torch::Tensor perceptron;
};

// Drawn for block number `block` with its rate; the two branches are dropped independently. Undefined without a key.
BranchMasks branch_masks(std::optional<std::uint64_t> drop_key, int block, double rate, const torch::Tensor& x);

// x plus the branch of the pictures that keep it.
torch::Tensor add_branch(const torch::Tensor& x, const torch::Tensor& branch, const torch::Tensor& keep);

torch::nn::LayerNorm token_norm(int dim, double eps);

// The convolution that makes a token of each patch; registered as "proj".
class PatchEmbedding : public torch::nn::Module {
 public:
  // With a norm of `norm_eps` behind it, "norm", where there is one.
  PatchEmbedding(int input_channels, int dim, int patch_size, std::optional<double> norm_eps = std::nullopt);
  // (n, c, h, w) to (n, rows, columns, dim).
  torch::Tensor forward(const torch::Tensor& pictures);

 private:
  torch::nn::Conv2d proj_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
};

// Linear to four times the width, GELU, linear back; (..., dim) to the same.
class Perceptron : public torch::nn::Module {
 public:
  explicit Perceptron(int dim);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};

// norm -> attention -> + shortcut, norm -> perceptron -> + shortcut; (n, ..., dim) to the same. `Attention` has a
// forward() of tokens behind the norm and of what else forward() is given.
template <typename Attention>
class TransformerBlock : public torch::nn::Module {
 public:
  TransformerBlock(int dim, double norm_eps, std::shared_ptr<Attention> attention) {
    norm1_ = register_module("norm1", token_norm(dim, norm_eps));
    attention_ = register_module("attn", std::move(attention));
    norm2_ = register_module("norm2", token_norm(dim, norm_eps));
    mlp_ = register_module("mlp", std::make_shared<Perceptron>(dim));
  }

  template <typename... Places>
  torch::Tensor forward(torch::Tensor x, const BranchMasks& keep, const Places&... places) {
    x = add_branch(x, attention_->forward(norm1_->forward(x), places...), keep.attention);
    return add_branch(x, mlp_->forward(norm2_->forward(x)), keep.perceptron);
  }

 private:
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<Perceptron> mlp_;
};

}  // namespace convnext
