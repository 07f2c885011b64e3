// Swin Transformer in libtorch; timm/models/swin_transformer.py is the reference.
#include "model/swin.h"

#include <string>
#include <utility>
#include <vector>

#include "nn/network.h"
#include "nn/transformer.h"

namespace convnext {
namespace {

// How a stage's blocks look at a map of one size; the same for all of them.
struct WindowPlan {
  WindowGrid grid;
  torch::Tensor relative_index;  // (tokens * tokens,): rows of the table of relative positions
  torch::Tensor mask;            // (windows, 1, tokens, tokens) of shifted blocks; undefined where nothing is shifted
};

// Row (dy + w - 1) (2w - 1) + dx + w - 1 of the table for the offset of a token from another, w being the window that
// the table is for, of which a smaller map sees the middle.
torch::Tensor relative_index(const WindowGrid& grid, std::int64_t window) {
  const torch::Tensor cell = torch::arange(grid.tokens());
  const torch::Tensor y = cell.div(grid.window_width, "floor");
  const torch::Tensor x = cell.remainder(grid.window_width);
  const auto offsets = [window](const torch::Tensor& at) { return at.unsqueeze(1) - at.unsqueeze(0) + (window - 1); };
  return (offsets(y) * (2 * window - 1) + offsets(x)).flatten();
}

// Numbers of the regions along one side of a shifted map. The last window holds what was shifted out at the other end:
// its two parts are no neighbours.
torch::Tensor regions(std::int64_t side, std::int64_t window, std::int64_t shift) {
  torch::Tensor numbers = torch::zeros({side}, torch::kInt64);
  if (shift == 0) return numbers;
  numbers.slice(0, side - window).fill_(1);
  numbers.slice(0, side - shift).fill_(2);
  return numbers;
}

// -100 where a window joins tokens of different regions.
torch::Tensor shift_mask(const WindowGrid& grid) {
  const torch::Tensor rows = regions(grid.padded_height(), grid.window_height, grid.shift_y);
  const torch::Tensor columns = regions(grid.padded_width(), grid.window_width, grid.shift_x);
  const torch::Tensor numbers = (3 * rows.unsqueeze(1) + columns.unsqueeze(0))
                                    .view({grid.rows, grid.window_height, grid.columns, grid.window_width})
                                    .permute({0, 2, 1, 3})
                                    .reshape({grid.count(), 1, grid.tokens()});
  return (numbers.unsqueeze(-1) != numbers.unsqueeze(-2)).to(torch::kFloat32) * -100;
}

WindowPlan plan_windows(int window, const torch::Tensor& map) {
  WindowPlan plan;
  plan.grid = window_grid(window, map.size(1), map.size(2));
  plan.relative_index = relative_index(plan.grid, window).to(map.device());
  if (plan.grid.shift_y > 0 || plan.grid.shift_x > 0) plan.mask = shift_mask(plan.grid).to(map.device());
  return plan;
}

// `x` (n, h, w, c) made larger at the bottom and on the right with rows and columns of `value` (c,).
torch::Tensor padded(torch::Tensor x, std::int64_t height, std::int64_t width, const torch::Tensor& value) {
  const torch::Tensor pixel = value.to(x.dtype());
  if (width > x.size(2)) x = torch::cat({x, pixel.expand({x.size(0), x.size(1), width - x.size(2), -1})}, 2);
  if (height > x.size(1)) x = torch::cat({x, pixel.expand({x.size(0), height - x.size(1), width, -1})}, 1);
  return x;
}

// Of the tokens of a window to each other; (n, h, w, dim) to the same.
class WindowAttention : public torch::nn::Module {
 public:
  WindowAttention(int dim, int heads, int window) : heads_(heads) {
    const int offsets = 2 * window - 1;
    position_biases_ = register_parameter("relative_position_bias_table", torch::zeros({offsets * offsets, heads}));
    qkv_ = register_module("qkv", torch::nn::Linear(dim, 3 * dim));
    proj_ = register_module("proj", torch::nn::Linear(dim, dim));
  }

  torch::Tensor forward(const torch::Tensor& x, const WindowPlan& plan, bool shifted) {
    const WindowGrid& grid = plan.grid;
    const std::int64_t n = x.size(0), height = x.size(1), width = x.size(2), dim = x.size(3);
    torch::Tensor qkv = qkv_->forward(x);
    if (shifted) qkv = torch::roll(qkv, {-grid.shift_y, -grid.shift_x}, {1, 2});
    // The padding is zeros before this linear layer, so its bias behind it.
    qkv = padded(qkv, grid.padded_height(), grid.padded_width(), qkv_->bias);

    // With the mask of shifts each window has biases of its own. Windows then stand beside the heads, so that one set
    // of biases serves all pictures.
    const torch::Tensor biases = biases_of(plan, shifted).to(qkv.dtype());
    const auto parts =
        qkv.view({n, grid.rows, grid.window_height, grid.columns, grid.window_width, 3, heads_, dim / heads_})
            .permute({5, 0, 1, 3, 6, 2, 4, 7})
            .reshape({3, -1, biases.size(1), grid.tokens(), dim / heads_})
            .unbind(0);
    torch::Tensor seen = torch::scaled_dot_product_attention(parts[0], parts[1], parts[2], biases);

    seen = seen.reshape({n, grid.rows, grid.columns, heads_, grid.window_height, grid.window_width, dim / heads_})
               .permute({0, 1, 4, 2, 5, 3, 6})
               .reshape({n, grid.padded_height(), grid.padded_width(), dim})
               .slice(1, 0, height)
               .slice(2, 0, width);
    if (shifted) seen = torch::roll(seen, {grid.shift_y, grid.shift_x}, {1, 2});
    return proj_->forward(seen);
  }

 private:
  // What is added to the products of q and k: (1, heads, tokens, tokens), or (1, windows * heads, tokens, tokens).
  torch::Tensor biases_of(const WindowPlan& plan, bool shifted) const {
    const std::int64_t tokens = plan.grid.tokens();
    const torch::Tensor biases =
        position_biases_.index_select(0, plan.relative_index).view({1, tokens, tokens, heads_}).permute({0, 3, 1, 2});
    return shifted ? (biases + plan.mask).reshape({1, -1, tokens, tokens}) : biases.contiguous();
  }

  std::int64_t heads_;
  torch::Tensor position_biases_;  // ((2 window - 1)^2, heads)
  torch::nn::Linear qkv_{nullptr}, proj_{nullptr};
};

// 2x2 tokens beside one another in the channels of one, a norm, and a linear layer: (n, h, w, c) to half the sides, an
// odd side filled up with zeros.
class PatchMerging : public torch::nn::Module {
 public:
  PatchMerging(int dim, int out_dim, double norm_eps) {
    norm_ = register_module("norm", token_norm(4 * dim, norm_eps));
    reduction_ =
        register_module("reduction", torch::nn::Linear(torch::nn::LinearOptions(4 * dim, out_dim).bias(false)));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const std::int64_t n = x.size(0), rows = (x.size(1) + 1) / 2, columns = (x.size(2) + 1) / 2, dim = x.size(3);
    // Down the left column, then down the right one.
    const torch::Tensor merged = padded(x, 2 * rows, 2 * columns, torch::zeros({dim}, x.options()))
                                     .reshape({n, rows, 2, columns, 2, dim})
                                     .permute({0, 1, 3, 4, 2, 5})
                                     .flatten(3);
    return reduction_->forward(norm_->forward(merged));
  }

 private:
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear reduction_{nullptr};
};

class SwinNetwork : public Network {
 public:
  SwinNetwork(const SwinConfig& config, DropRates rates, NetworkEnd end = NetworkEnd::kHead)
      : config_(config), rates_(rates) {
    patches_ =
        register_module("patch_embed", std::make_shared<PatchEmbedding>(config.input_channels, config.dims.front(),
                                                                        config.patch_size, config.norm_eps));
    const auto layers = register_module("layers", std::make_shared<torch::nn::Module>());
    for (int i = 0; i < config.stages(); ++i) {
      add_stage(i, *layers->register_module(std::to_string(i), std::make_shared<torch::nn::Module>()));
    }
    if (end == NetworkEnd::kStages) return;
    norm_ = register_module("norm", token_norm(config.dims.back(), config.norm_eps));
    if (config.classes == 0) return;
    const auto head = register_module("head", std::make_shared<torch::nn::Module>());
    classifier_ = head->register_module("fc", torch::nn::Linear(config.dims.back(), config.classes));
  }

  NetworkOutputs forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) override {
    check_input_size(config_, pictures.size(2), pictures.size(3));
    int blocks = 0, number = 0;
    for (const Stage& stage : stages_) blocks += static_cast<int>(stage.blocks.size());
    NetworkOutputs outputs;
    torch::Tensor x = patches_->forward(pictures);
    for (const Stage& stage : stages_) {
      if (stage.downsample) x = stage.downsample->forward(x);
      const WindowPlan plan = plan_windows(stage.window, x);
      bool shifted = false;
      for (const std::shared_ptr<Block>& block : stage.blocks) {
        const double rate = drop_path_rate_of_block(rates_.drop_path, number, blocks);
        x = block->forward(x, branch_masks(drop_key, number, rate, x), plan, shifted && plan.mask.defined());
        shifted = !shifted;
        ++number;
      }
      outputs.stages.push_back(x.permute({0, 3, 1, 2}));
    }
    if (!norm_) return outputs;
    outputs.pooled = norm_->forward(x).mean({1, 2});
    outputs.logits =
        classifier_ ? classifier_->forward(keyed_dropout(outputs.pooled, rates_.dropout, drop_key)) : outputs.pooled;
    return outputs;
  }

 private:
  using Block = TransformerBlock<WindowAttention>;
  struct Stage {
    std::shared_ptr<PatchMerging> downsample;  // null in the first stage
    std::vector<std::shared_ptr<Block>> blocks;
    int window = 0;
  };

  void add_stage(int index, torch::nn::Module& layer) {
    const auto at = static_cast<std::size_t>(index);
    const int dim = config_.dims[at];
    Stage& stage = stages_.emplace_back();
    stage.window = config_.windows[at];
    if (index > 0) {
      stage.downsample = layer.register_module(
          "downsample", std::make_shared<PatchMerging>(config_.dims[at - 1], dim, config_.norm_eps));
    }
    const auto blocks = layer.register_module("blocks", std::make_shared<torch::nn::Module>());
    for (int j = 0; j < config_.depths[at]; ++j) {
      auto attention = std::make_shared<WindowAttention>(dim, config_.heads[at], stage.window);
      stage.blocks.push_back(blocks->register_module(
          std::to_string(j), std::make_shared<Block>(dim, config_.norm_eps, std::move(attention))));
    }
  }

  SwinConfig config_;
  DropRates rates_;
  std::shared_ptr<PatchEmbedding> patches_;
  std::vector<Stage> stages_;
  torch::nn::LayerNorm norm_{nullptr};  // null in a backbone
  torch::nn::Linear classifier_{nullptr};
};

}  // namespace

std::shared_ptr<Network> make_network(const SwinConfig& config, DropRates rates) {
  return std::make_shared<SwinNetwork>(config, rates);
}

std::shared_ptr<Network> make_backbone(const SwinConfig& config, double drop_path_rate) {
  return std::make_shared<SwinNetwork>(config, DropRates{.drop_path = drop_path_rate}, NetworkEnd::kStages);
}

}  // namespace convnext
