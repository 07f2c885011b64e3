// ViT and DeiT in libtorch; timm/models/vision_transformer.py and deit.py are the reference.
#include "model/vision_transformer.h"

#include <string>
#include <utility>
#include <vector>

#include "nn/network.h"
#include "nn/transformer.h"

namespace convnext {
namespace {

// Of every token to every token; (n, tokens, dim) to the same.
class GlobalAttention : public torch::nn::Module {
 public:
  GlobalAttention(int dim, int heads) : heads_(heads) {
    qkv_ = register_module("qkv", torch::nn::Linear(dim, 3 * dim));
    proj_ = register_module("proj", torch::nn::Linear(dim, dim));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const std::int64_t n = x.size(0), tokens = x.size(1), dim = x.size(2);
    const auto qkv = qkv_->forward(x).view({n, tokens, 3, heads_, dim / heads_}).permute({2, 0, 3, 1, 4}).unbind(0);
    const torch::Tensor seen = torch::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
    return proj_->forward(seen.transpose(1, 2).reshape({n, tokens, dim}));
  }

 private:
  std::int64_t heads_;
  torch::nn::Linear qkv_{nullptr}, proj_{nullptr};
};

class VisionTransformerNetwork : public Network {
 public:
  VisionTransformerNetwork(const VisionTransformerConfig& config, DropRates rates) : config_(config), rates_(rates) {
    class_token_ = register_parameter("cls_token", torch::zeros({1, 1, config.dim}));
    if (config.distilled) distillation_token_ = register_parameter("dist_token", torch::zeros({1, 1, config.dim}));
    const int positions = config.prefix_tokens() + config.grid_height * config.grid_width;
    positions_ = register_parameter("pos_embed", torch::zeros({1, positions, config.dim}));
    patches_ = register_module("patch_embed",
                               std::make_shared<PatchEmbedding>(config.input_channels, config.dim, config.patch_size));
    const auto blocks = register_module("blocks", std::make_shared<torch::nn::Module>());
    for (int i = 0; i < config.depth; ++i) {
      auto attention = std::make_shared<GlobalAttention>(config.dim, config.heads);
      blocks_.push_back(blocks->register_module(
          std::to_string(i), std::make_shared<Block>(config.dim, config.norm_eps, std::move(attention))));
    }
    norm_ = register_module("norm", token_norm(config.dim, config.norm_eps));
    if (config.classes == 0) return;
    head_ = register_module("head", torch::nn::Linear(config.dim, config.classes));
    if (config.distilled) {
      distillation_head_ = register_module("head_dist", torch::nn::Linear(config.dim, config.classes));
    }
  }

  NetworkOutputs forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) override {
    check_input_size(config_, pictures.size(2), pictures.size(3));
    torch::Tensor x = patches_->forward(pictures);
    const std::int64_t n = x.size(0), height = x.size(1), width = x.size(2);
    x = with_prefix(x.flatten(1, 2)) + positions_of(height, width);
    for (int i = 0; i < config_.depth; ++i) {
      const double rate = drop_path_rate_of_block(rates_.drop_path, i, config_.depth);
      x = blocks_[static_cast<std::size_t>(i)]->forward(x, branch_masks(drop_key, i, rate, x));
    }

    const int prefix = config_.prefix_tokens();
    NetworkOutputs outputs;
    outputs.stages.push_back(x.slice(1, prefix).view({n, height, width, config_.dim}).permute({0, 3, 1, 2}));
    x = norm_->forward(x.slice(1, 0, prefix));
    // Of a distilled network both are the mean of the two tokens', in training too: there is no teacher here.
    outputs.pooled = x.mean(1);
    x = keyed_dropout(x, rates_.dropout, drop_key);
    outputs.logits = head_ ? head_->forward(x.select(1, 0)) : outputs.pooled;
    if (distillation_head_) outputs.logits = (outputs.logits + distillation_head_->forward(x.select(1, 1))) / 2;
    return outputs;
  }

 private:
  using Block = TransformerBlock<GlobalAttention>;

  torch::Tensor with_prefix(const torch::Tensor& tokens) const {
    const auto for_each_picture = [&tokens](const torch::Tensor& token) {
      return token.expand({tokens.size(0), -1, -1});
    };
    if (!distillation_token_.defined()) return torch::cat({for_each_picture(class_token_), tokens}, 1);
    return torch::cat({for_each_picture(class_token_), for_each_picture(distillation_token_), tokens}, 1);
  }

  // (1, prefix + height * width, dim): the embeddings of the network's own grid, resized when the input's is another
  // (timm's resample_abs_pos_embed); those of the prefix stay.
  torch::Tensor positions_of(std::int64_t height, std::int64_t width) const {
    if (height == config_.grid_height && width == config_.grid_width) return positions_;
    namespace F = torch::nn::functional;
    const int prefix = config_.prefix_tokens();
    const torch::Tensor grid = positions_.slice(1, prefix)
                                   .view({1, config_.grid_height, config_.grid_width, config_.dim})
                                   .permute({0, 3, 1, 2});
    const auto options = F::InterpolateFuncOptions()
                             .size(std::vector<std::int64_t>{height, width})
                             .mode(torch::kBicubic)
                             .align_corners(false)
                             .antialias(true);
    const torch::Tensor resized = F::interpolate(grid, options).permute({0, 2, 3, 1}).flatten(1, 2);
    return torch::cat({positions_.slice(1, 0, prefix), resized}, 1);
  }

  VisionTransformerConfig config_;
  DropRates rates_;
  torch::Tensor class_token_;         // (1, 1, dim)
  torch::Tensor distillation_token_;  // the same; undefined where there is none
  torch::Tensor positions_;           // (1, prefix + rows * columns, dim)
  std::shared_ptr<PatchEmbedding> patches_;
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
  torch::nn::Linear distillation_head_{nullptr};
};

}  // namespace

std::shared_ptr<Network> make_network(const VisionTransformerConfig& config, DropRates rates) {
  return std::make_shared<VisionTransformerNetwork>(config, rates);
}

}  // namespace convnext
