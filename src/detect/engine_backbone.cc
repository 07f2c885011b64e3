#include "detect/engine_backbone.h"

#include <memory>
#include <string_view>

#include "engine/backend.h"
#include "model/tensors.h"

namespace convnext {
namespace {

constexpr std::string_view kPrefix = "backbone.";

// The backbone's by their names in a network of their own. The engine wants the norm of a head too, which nothing is
// asked of.
WeightStore weights_of_backbone(const NetworkConfig& config, const WeightStore& weights) {
  WeightStore own;
  for (const TensorSpec& spec : tensor_specs(config)) {
    const std::string name = std::string(kPrefix) + spec.name;
    if (weights.contains(name)) {
      own.add(spec.name, weights.at(name), nullptr);
    } else {
      own.add(spec.name, Tensor::zeros(spec.shape));
    }
  }
  return own;
}

ConstTensorView view_of(const torch::Tensor& tensor) {
  const Shape shape(tensor.sizes().begin(), tensor.sizes().end());
  const auto* data = reinterpret_cast<const std::byte*>(tensor.const_data_ptr<float>());
  return {data, DType::kF32, Layout::kNchw, shape, contiguous_strides(shape)};
}

}  // namespace

StageMaps engine_backbone(const DetectorConfig& config, const WeightStore& weights, ThreadPool& pool) {
  if (!std::holds_alternative<ConvNextConfig>(config.backbone)) return {};
  const std::shared_ptr<const Executable> network = make_cpu_backend()->compile(
      config.backbone, weights_of_backbone(config.backbone, weights), Precision::kFp32, {.pool = &pool});
  const auto workspace = std::make_shared<Workspace>();
  workspace->pool = &pool;
  return [network, workspace, backbone = config.backbone](const torch::Tensor& pictures) {
    const torch::Tensor input = pictures.to(torch::kCPU, torch::kFloat32).contiguous();
    OutputViews views;
    std::vector<torch::Tensor> maps;
    for (const Shape& shape : output_shapes(backbone, input.size(0), input.size(2), input.size(3)).stages) {
      maps.push_back(torch::empty(shape, torch::kFloat32));
      auto* data = reinterpret_cast<std::byte*>(maps.back().data_ptr<float>());
      views.stages.push_back({data, DType::kF32, Layout::kNchw, shape, contiguous_strides(shape)});
    }
    network->run(view_of(input), views, *workspace);
    for (torch::Tensor& map : maps) map = map.contiguous(torch::MemoryFormat::ChannelsLast);
    return maps;
  };
}

}  // namespace convnext
