// infer_network(): a network from the names and shapes of its tensors.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>
#include <type_traits>
#include <variant>

#include "convnext/error.h"
#include "model/layouts.h"
#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {
namespace {

constexpr std::int64_t kMaxWidth = 16384;

// What most tensors say, so that one with a wrong shape does not mislead.
class Votes {
 public:
  void add(const Shape& shape, std::size_t axis) {
    if (axis < shape.size() && shape[axis] >= 1 && shape[axis] <= kMaxWidth) ++counts_[static_cast<int>(shape[axis])];
  }
  bool empty() const { return counts_.empty(); }
  int winner() const {
    return std::ranges::max_element(counts_, {}, [](const auto& entry) { return entry.second; })->first;
  }

 private:
  std::map<int, int> counts_;
};

struct StageVotes {
  int depth = 0;
  Votes width;
  Votes kernel;
};

// The part of a block's tensor's name after "stages.S.blocks.B.".
std::string_view part_of_block(std::string_view own) {
  for (int dots = 0; dots < 4; ++dots) own.remove_prefix(own.find('.') + 1);
  return own;
}

class Inference {
 public:
  Inference(const RecognizedWeights& weights, std::string_view source) : weights_(weights), source_(source) {}

  ConvNextConfig network() {
    stages();
    stem();
    head();
    try {
      validate(config_);
    } catch (const Error& error) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}': its tensors make no network: {}", source_, error.what()));
    }
    return config_;
  }
  bool has_norm_bias() const { return has_norm_bias_; }

 private:
  // Null when the file has no such tensor.
  const Shape* shape_of(std::string_view own) const {
    const auto found = weights_.tensors.find(own);
    return found == weights_.tensors.end() ? nullptr : &found->second.shape;
  }
  bool has(std::string_view own) const { return shape_of(own) != nullptr; }
  std::size_t rank_of(std::string_view own) const { return has(own) ? shape_of(own)->size() : 0; }

  void block_tensor(const RecognizedTensor& tensor, StageVotes& stage) {
    stage.depth = std::max(stage.depth, tensor.name.block + 1);
    const std::string_view part = part_of_block(tensor.name.name);
    if (part == "conv_dw.weight") stage.kernel.add(tensor.shape, 2);
    if (part == "mlp.fc1.weight") {
      stage.width.add(tensor.shape, 1);
      convolutions_ += tensor.shape.size() == 4 ? 1 : -1;
    }
    if (part == "gamma") config_.layer_scale = true;
    if (part.starts_with("mlp.grn.")) config_.grn = true;
    if (part == "norm.bias") has_norm_bias_ = true;
    if (part == "conv_dw.weight" || part == "conv_dw.bias" || part == "norm.weight" || part == "norm.bias" ||
        part == "mlp.fc2.weight" || part == "mlp.fc2.bias" || part == "gamma") {
      stage.width.add(tensor.shape, 0);
    }
  }

  void stages() {
    config_.layer_scale = config_.grn = false;
    std::map<int, StageVotes> stages;
    for (const auto& [own, tensor] : weights_.tensors) {
      if (tensor.name.block >= 0) block_tensor(tensor, stages[tensor.name.stage]);
    }
    if (stages.empty()) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' holds no block of a network that is known", source_));
    }
    config_.depths.clear();
    config_.dims.clear();
    config_.kernel_sizes.clear();
    for (int i = 0; i <= stages.rbegin()->first; ++i) {
      const auto found = stages.find(i);
      if (found == stages.end() || found->second.width.empty() || found->second.kernel.empty()) {
        throw Error(ErrorCode::kMismatch,
                    fmt::format("'{}' holds no whole block of stage {} of {}", source_, i, stages.rbegin()->first + 1));
      }
      config_.depths.push_back(found->second.depth);
      config_.dims.push_back(found->second.width.winner());
      config_.kernel_sizes.push_back(found->second.kernel.winner());
    }
    config_.conv_mlp = convolutions_ > 0;
    // Which of the two without bias it is, names do not tell.
    config_.norm = has_norm_bias_ ? Norm::kLayerNorm : Norm::kRmsNorm;
  }

  void stem() {
    if (rank_of("stem.0.weight") == 4) {
      const Shape& shape = *shape_of("stem.0.weight");
      config_.input_channels = static_cast<int>(std::clamp<std::int64_t>(shape[1], 0, 1000));
      config_.patch_size = static_cast<int>(std::clamp<std::int64_t>(shape[2], 0, 1000));
      if (rank_of("stem.1.weight") == 4) {
        config_.stem = shape[0] == config_.dims[0] ? Stem::kOverlap : Stem::kOverlapTiered;
      } else if (rank_of("stem.2.weight") == 4) {
        config_.stem = Stem::kOverlapAct;
      }
      // Not used by the others, which reduce by 4.
      if (config_.stem != Stem::kPatch) config_.patch_size = ConvNextConfig{}.patch_size;
    }
    // With several stages a norm that is not there is missing; the isotropic networks never had one.
    config_.stem_norm = config_.stages() > 1 || has("stem.1.weight") || has("stem.1.bias");
  }

  void head() {
    if (has("norm_pre.weight")) config_.head = Head::kNormPool;
    if (rank_of("head.pre_logits.fc.weight") > 0) {
      config_.head = Head::kMlp;
      config_.head_hidden =
          static_cast<int>(std::clamp<std::int64_t>(shape_of("head.pre_logits.fc.weight")->at(0), 0, kMaxWidth + 1));
    }
    const char* classifier = has("head.fc.weight") ? "head.fc.weight" : "head.fc.bias";
    config_.classes = rank_of(classifier) == 0
                          ? 0
                          : static_cast<int>(std::clamp<std::int64_t>(shape_of(classifier)->at(0), 0, 1'000'001));
  }

  const RecognizedWeights& weights_;
  std::string_view source_;
  ConvNextConfig config_;
  bool has_norm_bias_ = false;
  int convolutions_ = 0;  // linears stored as convolutions, less those that are not
};

// The registered network whose tensors these are, but for classes and input channels; null when there is none.
const ConvNextConfig* registered_with_tensors_of(const ConvNextConfig& config, bool compare_conv_mlp) {
  for (const RegistryEntry& entry : registry()) {
    const auto* network = std::get_if<ConvNextConfig>(&entry.network);
    if (!network || (compare_conv_mlp && network->conv_mlp != config.conv_mlp)) continue;
    if (have_same_tensors(*network, config)) return network;
  }
  return nullptr;
}

ConvNextConfig infer_convnext(const RecognizedWeights& weights, std::string_view source,
                              std::vector<std::string>& notes) {
  Inference inference(weights, source);
  ConvNextConfig config = inference.network();
  // Only timm keeps linears as convolutions or not by a network's own setting; elsewhere it is the library's choice.
  const bool rank_tells = weights.layout == WeightLayout::kTimm || weights.layout == WeightLayout::kOpenClip;
  if (const ConvNextConfig* like = registered_with_tensors_of(config, rank_tells)) {
    config.norm = like->norm;
    config.norm_eps = like->norm_eps;
    config.head_norm_eps = like->head_norm_eps;
    config.activation = like->activation;
    config.conv_mlp = like->conv_mlp;
  } else if (!inference.has_norm_bias()) {
    notes.push_back("its norms have no bias, and no registered network has these tensors: took them for RMSNorm");
  }
  return config;
}

// Side of the square of that area; 0 when there is none.
int side_of(std::int64_t area) {
  constexpr std::int64_t kMaxSide = 1 << 15;
  if (area < 1 || area > kMaxSide * kMaxSide) return 0;
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(area))));
  return side * side == area ? static_cast<int>(side) : 0;
}

// A size of a tensor of the file; 0 when it has no such tensor or axis.
std::int64_t size_in(const RecognizedWeights& weights, std::string_view own, std::size_t axis) {
  const auto found = weights.tensors.find(own);
  return found == weights.tensors.end() || axis >= found->second.shape.size() ? 0 : found->second.shape[axis];
}

// A registered network with what the file has of its own; one that cannot be is left as registered.
NetworkConfig as_in_file(const NetworkConfig& registered, const RecognizedWeights& weights) {
  constexpr std::int64_t kMaxClasses = 1'000'000;
  NetworkConfig network = registered;
  std::int64_t channels = 0, classes = 0;
  bool is_stem = true;  // the first weight is the stem's
  for (const TensorSpec& spec : tensor_specs(registered)) {
    if (spec.role == TensorRole::kWeight && is_stem) {
      channels = size_in(weights, spec.name, 1);
      is_stem = false;
    }
    if (spec.is_classifier) classes = std::max(classes, size_in(weights, spec.name, 0));
  }
  std::visit(
      [&]<typename Config>(Config& config) {
        config.classes = static_cast<int>(std::min(classes, kMaxClasses + 1));
        if (channels > 0) config.input_channels = static_cast<int>(std::min(channels, kMaxWidth));
        if constexpr (std::is_same_v<Config, VisionTransformerConfig>) {
          const int side = side_of(size_in(weights, "pos_embed", 1) - config.prefix_tokens());
          if (side > 0) config.grid_height = config.grid_width = side;
        }
        if constexpr (std::is_same_v<Config, SwinConfig>) {
          for (std::size_t i = 0; i < config.windows.size(); ++i) {
            const std::string table = fmt::format("layers.{}.blocks.0.attn.relative_position_bias_table", i);
            const int side = side_of(size_in(weights, table, 0));
            if (side % 2 == 1) config.windows[i] = (side + 1) / 2;
          }
        }
      },
      network);
  try {
    validate(network);
  } catch (const Error&) {
    return registered;
  }
  return network;
}

struct Fit {
  NetworkConfig network;
  // The less the better, and the first that differs decides.
  std::size_t misfits = 0;
  bool is_unpublished = false;
  bool is_of_another_library = false;  // torchvision's own and the others are told apart by their names
  bool is_not_as_named = false;        // another grid or window than the registered network's
  auto order() const { return std::tuple(misfits, is_unpublished, is_of_another_library, is_not_as_named); }
};

NetworkConfig infer_registered(const RecognizedWeights& weights) {
  const bool is_torchvision = name_of(weights.layout) == "torchvision";
  std::optional<Fit> best;
  for (const RegistryEntry& entry : registry()) {
    if (family_of(entry.network) != family_of(weights.layout)) continue;
    Fit fit{.network = as_in_file(entry.network, weights)};
    fit.misfits = find_misfits(weights, fit.network).size();
    // A step of the roadmap is nobody's nearest: only its own files are it, and those have a card.
    if (entry.family == Family::kRoadmap && fit.misfits > 0) continue;
    fit.is_unpublished = entry.published_weights.empty();
    fit.is_of_another_library = is_torchvision != entry.published_weights.starts_with("tv");
    fit.is_not_as_named = as_named(entry.network, fit.network) != fit.network;
    if (!best || fit.order() < best->order()) best = std::move(fit);
  }
  return best.value().network;
}

}  // namespace

NetworkConfig infer_network(const RecognizedWeights& weights, std::string_view source,
                            std::vector<std::string>& notes) {
  if (family_of(weights.layout) == Family::kConvNext) return infer_convnext(weights, source, notes);
  if (!weights.has_blocks()) {
    throw Error(ErrorCode::kMismatch, fmt::format("'{}' holds no block of a network that is known", source));
  }
  return infer_registered(weights);
}

NetworkConfig fitted(NetworkConfig registered, const NetworkConfig& found) {
  std::visit(
      [&found]<typename Config>(Config& config) {
        const auto* other = std::get_if<Config>(&found);
        if (!other) return;
        config.classes = other->classes;
        config.input_channels = other->input_channels;
        if constexpr (std::is_same_v<Config, VisionTransformerConfig>) {
          config.grid_height = other->grid_height;
          config.grid_width = other->grid_width;
        }
        if constexpr (std::is_same_v<Config, SwinConfig>) config.windows = other->windows;
      },
      registered);
  return registered;
}

NetworkConfig as_named(NetworkConfig registered, const NetworkConfig& found) {
  set_class_count(registered, class_count(found));
  std::visit([&found](auto& config) { config.input_channels = input_channels(found); }, registered);
  auto* swin = std::get_if<SwinConfig>(&registered);
  const auto* other = std::get_if<SwinConfig>(&found);
  if (swin && other && swin->largest_window() == other->largest_window()) swin->windows = other->windows;
  return registered;
}

bool have_same_tensors(const NetworkConfig& a, const NetworkConfig& b) {
  if (a.index() != b.index()) return false;
  if (const auto* convnext = std::get_if<ConvNextConfig>(&a)) {
    return have_same_tensors(*convnext, std::get<ConvNextConfig>(b));
  }
  return std::ranges::equal(tensor_specs(fitted(a, b)), tensor_specs(b), [](const TensorSpec& x, const TensorSpec& y) {
    return x.name == y.name && x.shape == y.shape;
  });
}

}  // namespace convnext
