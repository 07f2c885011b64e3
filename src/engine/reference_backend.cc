// The network as a list of loops over whole maps, one picture after the other: what the other backends are judged by.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "convnext/error.h"
#include "engine/backend.h"
#include "engine/network.h"
#include "kernels/activation.h"
#include "kernels/convolution.h"
#include "kernels/depthwise.h"
#include "kernels/grn.h"
#include "kernels/layout.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "model/description.h"

namespace convnext {
namespace {

// NHWC, float32 between the layers.
using Map = std::vector<float>;

std::size_t elements(const MapSize& size, int channels) {
  return static_cast<std::size_t>(size.pixels()) * static_cast<std::size_t>(channels);
}

struct Affine {
  std::vector<float> weight;
  std::vector<float> bias;  // empty where the network has none
};

struct Block {
  Affine depthwise;
  Affine norm;
  Affine expand;
  Affine project;
  std::vector<float> layer_scale;
  Affine grn;
};

struct Stage {
  Affine downsample_norm;
  Affine downsample;
  std::vector<Block> blocks;
};

class ReferenceExecutable : public Executable {
 public:
  ReferenceExecutable(const ConvNextConfig& config, const WeightStore& weights);
  void run(const ConstTensorView& input, const OutputViews& outputs, Workspace& workspace) const override;
  std::uint64_t weight_bytes() const override { return weight_bytes_; }

 private:
  Affine load(const WeightStore& weights, const std::string& name);
  std::vector<float> load_tensor(const WeightStore& weights, const std::string& name);
  Map convolve(const ConvolutionShape& shape, const MapSize& size, const Map& in, const Affine& op) const;
  void normalise(int channels, double eps, const Affine& op, std::span<float> rows) const;
  static Map apply_linear(int inputs, int outputs, const Map& in, const Affine& op);
  Map run_stem(const Geometry& geometry, const float* picture) const;
  void run_block(const Block& block, int stage, const MapSize& size, Map& map) const;
  Map run_head(Map map) const;

  ConvNextConfig config_;
  std::vector<Affine> stem_;
  std::optional<Affine> stem_norm_;
  std::vector<Stage> stages_;
  Affine head_norm_;
  std::optional<Affine> head_hidden_;
  std::optional<Affine> classifier_;
  std::uint64_t weight_bytes_ = 0;
};

std::vector<float> ReferenceExecutable::load_tensor(const WeightStore& weights, const std::string& name) {
  std::vector<float> values = weights.floats(name);
  weight_bytes_ += values.size() * sizeof(float);
  return values;
}

Affine ReferenceExecutable::load(const WeightStore& weights, const std::string& name) {
  Affine op;
  op.weight = load_tensor(weights, name + ".weight");
  if (weights.contains(name + ".bias")) op.bias = load_tensor(weights, name + ".bias");
  return op;
}

ReferenceExecutable::ReferenceExecutable(const ConvNextConfig& config, const WeightStore& weights) : config_(config) {
  const StemNames stem = stem_names(config);
  for (int i = 0; i < stem_shape(config).count; ++i) {
    stem_.push_back(load(weights, stem.convolutions[static_cast<std::size_t>(i)]));
  }
  if (config.stem_norm) stem_norm_ = load(weights, stem.norm);
  for (int i = 0; i < config.stages(); ++i) {
    const std::string prefix = fmt::format("stages.{}.", i);
    Stage stage;
    if (i > 0) {
      stage.downsample_norm = load(weights, prefix + "downsample.0");
      stage.downsample = load(weights, prefix + "downsample.1");
    }
    for (int j = 0; j < config.depths[static_cast<std::size_t>(i)]; ++j) {
      const std::string name = fmt::format("{}blocks.{}.", prefix, j);
      Block block;
      block.depthwise = load(weights, name + "conv_dw");
      block.norm = load(weights, name + "norm");
      block.expand = load(weights, name + "mlp.fc1");
      block.project = load(weights, name + "mlp.fc2");
      if (config.layer_scale) block.layer_scale = load_tensor(weights, name + "gamma");
      if (config.grn) block.grn = load(weights, name + "mlp.grn");
      stage.blocks.push_back(std::move(block));
    }
    stages_.push_back(std::move(stage));
  }
  head_norm_ = load(weights, config.head == Head::kNormPool ? "norm_pre" : "head.norm");
  if (config.head == Head::kMlp) head_hidden_ = load(weights, "head.pre_logits.fc");
  if (config.classes > 0) classifier_ = load(weights, "head.fc");
}

Map ReferenceExecutable::convolve(const ConvolutionShape& shape, const MapSize& size, const Map& in,
                                  const Affine& op) const {
  Map out(elements({shape.out_side(size.height), shape.out_side(size.width)}, shape.out_channels));
  ref::convolution(shape, size.height, size.width, in, op.weight, op.bias, out);
  return out;
}

void ReferenceExecutable::normalise(int channels, double eps, const Affine& op, std::span<float> rows) const {
  ref::norm(config_.norm, eps, channels, rows, op.weight, op.bias, rows);
}

Map ReferenceExecutable::apply_linear(int inputs, int outputs, const Map& in, const Affine& op) {
  Map out(in.size() / static_cast<std::size_t>(inputs) * static_cast<std::size_t>(outputs));
  ref::linear(inputs, outputs, in, op.weight, op.bias, out);
  return out;
}

Map ReferenceExecutable::run_stem(const Geometry& geometry, const float* picture) const {
  const StemShape shape = stem_shape(config_);
  Map map(elements(geometry.input, config_.input_channels));
  nchw_to_nhwc(picture, config_.input_channels, geometry.input.pixels(), map.data(), config_.input_channels);
  map = convolve(shape.convolutions[0], geometry.input, map, stem_[0]);
  if (shape.count == 2) {
    if (config_.stem == Stem::kOverlapAct) ref::activation(config_.activation, map);
    map = convolve(shape.convolutions[1], geometry.stem_middle, map, stem_[1]);
  }
  if (stem_norm_) normalise(config_.dims.front(), config_.norm_eps, *stem_norm_, map);
  return map;
}

void ReferenceExecutable::run_block(const Block& block, int stage, const MapSize& size, Map& map) const {
  const auto i = static_cast<std::size_t>(stage);
  const int channels = config_.dims[i];
  const int hidden_channels = 4 * channels;
  Map branch(map.size());
  ref::depthwise(config_.kernel_sizes[i], size.height, size.width, channels, map, block.depthwise.weight,
                 block.depthwise.bias, branch);
  normalise(channels, config_.norm_eps, block.norm, branch);
  Map hidden = apply_linear(channels, hidden_channels, branch, block.expand);
  ref::activation(config_.activation, hidden);
  if (config_.grn) ref::grn(hidden_channels, block.grn.weight, block.grn.bias, hidden);
  branch = apply_linear(hidden_channels, channels, hidden, block.project);
  for (std::size_t k = 0; k < map.size(); ++k) {
    const float scale = config_.layer_scale ? block.layer_scale[k % static_cast<std::size_t>(channels)] : 1.0f;
    map[k] += scale * branch[k];
  }
}

Map ReferenceExecutable::run_head(Map map) const {
  const int channels = config_.dims.back();
  Map pooled(static_cast<std::size_t>(channels));
  if (config_.head == Head::kNormPool) normalise(channels, config_.head_eps(), head_norm_, map);
  ref::average_pool(channels, map, pooled);
  if (config_.head != Head::kNormPool) normalise(channels, config_.head_eps(), head_norm_, pooled);
  if (config_.head == Head::kMlp) {
    pooled = apply_linear(channels, config_.head_hidden, pooled, *head_hidden_);
    ref::activation(Activation::kGelu, pooled);
  }
  return pooled;
}

void ReferenceExecutable::run(const ConstTensorView& input, const OutputViews& outputs, Workspace&) const {
  const MapSize size = input_size(config_.input_channels, input);
  const Geometry geometry = network_geometry(config_, size.height, size.width);
  const std::int64_t count = check_views(config_, geometry, input, outputs);
  const std::size_t picture_size = elements(size, config_.input_channels);
  for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
    Map map = run_stem(geometry, input.values<float>().data() + n * picture_size);
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      const int channels = config_.dims[i];
      if (i > 0) {
        normalise(config_.dims[i - 1], config_.norm_eps, stages_[i].downsample_norm, map);
        map = convolve(downsample_shape(config_, static_cast<int>(i)), geometry.stages[i - 1], map,
                       stages_[i].downsample);
      }
      for (const Block& block : stages_[i].blocks) run_block(block, static_cast<int>(i), geometry.stages[i], map);
      if (!outputs.stages.empty() && outputs.stages[i].data != nullptr) {
        nhwc_to_nchw(map.data(), channels, 0, channels, geometry.stages[i].pixels(),
                     outputs.stages[i].values<float>().data() + n * map.size());
      }
    }
    const bool wants_logits = outputs.logits.data != nullptr && classifier_;
    if (outputs.pooled.data == nullptr && !wants_logits) continue;
    const Map pooled = run_head(std::move(map));
    if (outputs.pooled.data != nullptr) {
      std::copy(pooled.begin(), pooled.end(), outputs.pooled.values<float>().data() + n * pooled.size());
    }
    if (wants_logits) {
      const Map logits = apply_linear(embedding_channels(config_), config_.classes, pooled, *classifier_);
      std::copy(logits.begin(), logits.end(), outputs.logits.values<float>().data() + n * logits.size());
    }
  }
}

class ReferenceBackend : public Backend {
 public:
  std::string_view name() const override { return "scalar"; }
  bool computes_in(Precision precision) const override { return precision == Precision::kFp32; }

  std::unique_ptr<Executable> compile(const NetworkConfig& config, const WeightStore& weights, Precision precision,
                                      const CompileOptions& /*options*/) const override {
    if (!computes_in(precision)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("the {} backend does not compute in {}: it has fp32", name(), name_of(precision)));
    }
    return std::make_unique<ReferenceExecutable>(check_compile(config, weights), weights);
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace convnext
