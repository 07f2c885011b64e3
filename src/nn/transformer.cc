#include "nn/transformer.h"

#include "core/hash.h"
#include "nn/network.h"

namespace convnext {

BranchMasks branch_masks(std::optional<std::uint64_t> drop_key, int block, double rate, const torch::Tensor& x) {
  if (!drop_key || rate <= 0) return {};
  return {drop_path_mask(*drop_key, block, rate, x.size(0), x.options()),
          drop_path_mask(mix(*drop_key), block, rate, x.size(0), x.options())};
}

torch::Tensor add_branch(const torch::Tensor& x, const torch::Tensor& branch, const torch::Tensor& keep) {
  if (!keep.defined()) return x + branch;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes.front() = x.size(0);
  return torch::addcmul(x, branch, keep.view(sizes));
}

torch::nn::LayerNorm token_norm(int dim, double eps) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(eps));
}

PatchEmbedding::PatchEmbedding(int input_channels, int dim, int patch_size, std::optional<double> norm_eps) {
  const auto options = torch::nn::Conv2dOptions(input_channels, dim, patch_size).stride(patch_size);
  proj_ = register_module("proj", torch::nn::Conv2d(options));
  if (norm_eps) norm_ = register_module("norm", token_norm(dim, *norm_eps));
}

torch::Tensor PatchEmbedding::forward(const torch::Tensor& pictures) {
  const torch::Tensor tokens = proj_->forward(pictures).permute({0, 2, 3, 1});
  return norm_ ? norm_->forward(tokens) : tokens;
}

Perceptron::Perceptron(int dim) {
  fc1_ = register_module("fc1", torch::nn::Linear(dim, 4 * dim));
  fc2_ = register_module("fc2", torch::nn::Linear(4 * dim, dim));
}

torch::Tensor Perceptron::forward(const torch::Tensor& x) {
  return fc2_->forward(torch::gelu(fc1_->forward(x), "none"));
}

}  // namespace convnext
