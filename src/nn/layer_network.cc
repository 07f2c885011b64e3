#include "nn/layer_network.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

#include "nn/depthwise.h"
#include "nn/pointwise.h"

namespace convnext {
namespace {

// The module at a dotted path, made with all those above it where it is not there.
torch::nn::Module& module_at(torch::nn::Module& root, std::string_view path) {
  torch::nn::Module* module = &root;
  while (!path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    const std::string name(path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
    const auto children = module->named_children();
    const auto* found = children.find(name);
    module = found ? found->get() : module->register_module(name, std::make_shared<torch::nn::Module>()).get();
  }
  return *module;
}

std::pair<std::string, std::string> path_and_name(const std::string& dotted) {
  const std::size_t dot = dotted.rfind('.');
  if (dot == std::string::npos) return {"", dotted};
  return {dotted.substr(0, dot), dotted.substr(dot + 1)};
}

// Rows or columns that TensorFlow's padding adds to a side, before and after together.
std::int64_t same_padding_of(std::int64_t side, const LayerSpec& layer) {
  const std::int64_t outputs = (side + layer.stride - 1) / layer.stride;
  return std::max<std::int64_t>((outputs - 1) * layer.stride + layer.kernel - side, 0);
}

bool is_plain_depthwise(const LayerSpec& layer) {
  return layer.groups > 1 && layer.groups == layer.in_channels && layer.in_channels == layer.out_channels &&
         layer.stride == 1 && layer.kernel % 2 == 1 && (layer.same_padding || layer.padding == layer.kernel / 2);
}

torch::Tensor convolved(torch::Tensor x, const LayerSpec& layer, const torch::Tensor& weight,
                        const torch::Tensor& bias) {
  // With stride 1 and an odd kernel both paddings are the same.
  if (is_plain_depthwise(layer)) return depthwise_convolution(x, weight, bias);
  const bool mixes_channels = layer.kernel == 1 && layer.groups == 1 && layer.padding == 0;
  if (mixes_channels) return pointwise_convolution(std::move(x), weight, bias, layer.stride);
  std::array<std::int64_t, 2> padding = {layer.padding, layer.padding};
  if (layer.same_padding) {
    const std::int64_t rows = same_padding_of(x.size(2), layer), columns = same_padding_of(x.size(3), layer);
    padding = {rows / 2, columns / 2};
    if (rows % 2 != 0 || columns % 2 != 0) x = torch::constant_pad_nd(x, {0, columns % 2, 0, rows % 2});
  }
  return at::conv2d(x, weight, bias, layer.stride, padding, /*dilation=*/1, layer.groups);
}

// LayerNorm over the channels of every pixel; (n, c, h, w) to the same.
torch::Tensor channel_norm(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias, double eps) {
  return torch::layer_norm(x.permute({0, 2, 3, 1}), weight.sizes(), weight, bias, eps).permute({0, 3, 1, 2});
}

bool is_gate(const LayerSpec& layer) { return layer.name.ends_with(".gate"); }

}  // namespace

std::vector<double> drop_path_rates(const std::vector<int>& depths, double rate) {
  const int blocks = std::accumulate(depths.begin(), depths.end(), 0);
  std::vector<double> rates;
  for (int i = 0; i < blocks; ++i) rates.push_back(drop_path_rate_of_block(rate, i, blocks));
  return rates;
}

LayerNetwork::LayerNetwork(std::vector<LayerSpec> layers, LayerNetworkOptions options) : options_(std::move(options)) {
  layers_.reserve(layers.size());
  for (LayerSpec& layer : layers) add(std::move(layer));
}

void LayerNetwork::add(LayerSpec spec) {
  Layer layer;
  if (spec.kind == LayerKind::kConvolution || spec.kind == LayerKind::kLinear) {
    torch::nn::Module& module = module_at(*this, spec.name);
    std::vector<std::int64_t> shape = {spec.out_channels, spec.in_channels / spec.groups};
    if (spec.kind == LayerKind::kConvolution) shape.insert(shape.end(), {spec.kernel, spec.kernel});
    layer.weight = module.register_parameter("weight", torch::zeros(shape));
    if (spec.bias) layer.bias = module.register_parameter("bias", torch::zeros({spec.out_channels}));
  } else if (spec.kind == LayerKind::kNorm) {
    torch::nn::Module& module = module_at(*this, spec.name);
    layer.weight = module.register_parameter("weight", torch::ones({spec.out_channels}));
    layer.bias = module.register_parameter("bias", torch::zeros({spec.out_channels}));
  } else if (spec.kind == LayerKind::kBatchNorm) {
    const auto [path, name] = path_and_name(spec.name);
    const auto settings = torch::nn::BatchNormOptions(spec.out_channels).eps(options_.norm_eps);
    layer.norm = module_at(*this, path).register_module(name, torch::nn::BatchNorm2d(settings));
  }
  layer.spec = std::move(spec);
  layers_.push_back(std::move(layer));
}

torch::Tensor& LayerNetwork::Maps::of(LayerBranch branch) {
  if (branch == LayerBranch::kShortcut) return shortcut;
  return branch == LayerBranch::kSqueeze ? squeezed : main;
}

torch::Tensor LayerNetwork::drop_path(std::uint64_t key, int block, const torch::Tensor& x) const {
  const auto index = static_cast<std::size_t>(block);
  const double rate = index < options_.drop_path_rates.size() ? options_.drop_path_rates[index] : 0.0;
  return rate > 0 ? drop_path_mask(key, block, rate, x.size(0), x.options()) : torch::Tensor();
}

void LayerNetwork::compute(Layer& layer, Maps& maps) const {
  const LayerSpec& spec = layer.spec;
  torch::Tensor& x = maps.of(spec.branch);
  switch (spec.kind) {
    case LayerKind::kConvolution:
      x = convolved(x, spec, layer.weight, layer.bias);
      break;
    case LayerKind::kBatchNorm:
      x = layer.norm->forward(x);
      break;
    case LayerKind::kNorm:
      x = channel_norm(x, layer.weight, layer.bias, options_.norm_eps);
      break;
    case LayerKind::kMaxPool:
      x = torch::max_pool2d(x, spec.kernel, spec.stride, spec.padding);
      break;
    case LayerKind::kActivation:
      x = is_gate(spec) ? torch::sigmoid(x) : options_.activation(x);
      break;
    case LayerKind::kPool:
      x = maps.main.mean({2, 3}, /*keepdim=*/spec.branch == LayerBranch::kSqueeze);
      break;
    case LayerKind::kScale:
      x = x * maps.squeezed;
      break;
    case LayerKind::kAdd:
      x = maps.keep.defined() ? torch::addcmul(maps.shortcut, x, maps.keep) : x + maps.shortcut;
      break;
    case LayerKind::kLinear:
      x = torch::linear(x, layer.weight, layer.bias);
      break;
    default:
      TORCH_CHECK(false, "the layer '", spec.name, "' is of a kind that no such network has");
  }
}

NetworkOutputs LayerNetwork::forward(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) {
  NetworkOutputs outputs;
  Maps maps{.main = pictures, .shortcut = {}, .squeezed = {}, .keep = {}};
  const LayerSpec* last = nullptr;
  int blocks = 0;
  for (Layer& layer : layers_) {
    const LayerSpec& spec = layer.spec;
    if (spec.place == LayerPlace::kBlock && (!last || last->stage != spec.stage || last->block != spec.block)) {
      maps.shortcut = maps.main;
      maps.keep = drop_key ? drop_path(*drop_key, blocks, maps.main) : torch::Tensor();
      ++blocks;
    }
    const bool ends_stage =
        last && last->place == LayerPlace::kBlock && (spec.place == LayerPlace::kHead || spec.stage != last->stage);
    if (ends_stage) outputs.stages.push_back(maps.main);
    if (spec.kind == LayerKind::kLinear) {
      outputs.pooled = maps.main;
      maps.main = keyed_dropout(maps.main, options_.dropout, drop_key);
    }
    compute(layer, maps);
    last = &spec;
  }
  if (!last || last->place != LayerPlace::kHead) {
    outputs.stages.push_back(maps.main);
    return outputs;
  }
  outputs.logits = maps.main;
  if (!outputs.pooled.defined()) outputs.pooled = maps.main;
  return outputs;
}

}  // namespace convnext
