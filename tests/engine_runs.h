// Whole networks with weights of a formula, run on a backend.
#pragma once

#include <string>
#include <vector>

#include "engine/backend.h"
#include "model/config.h"

namespace convnext {

// Memory for all outputs.
struct Results {
  Tensor logits;
  Tensor pooled;
  std::vector<Tensor> stages;
  OutputViews views;

  Results(const NetworkConfig& config, const Shape& input) {
    const OutputShapes shapes = output_shapes(config, input[0], input[2], input[3]);
    logits = Tensor::zeros(shapes.logits);
    pooled = Tensor::zeros(shapes.pooled);
    for (const Shape& shape : shapes.stages) stages.push_back(Tensor::zeros(shape));
    views.logits = logits.view();
    views.pooled = pooled.view();
    for (Tensor& stage : stages) views.stages.push_back(stage.view(Layout::kNchw));
  }
};

inline ConstTensorView as_input(const Tensor& tensor) { return tensor.view(Layout::kNchw); }

inline Results run(const Executable& executable, const NetworkConfig& config, const Tensor& input,
                   ThreadPool* pool = nullptr) {
  Results results(config, input.shape());
  Workspace workspace;
  workspace.pool = pool;
  executable.run(as_input(input), results.views, workspace);
  return results;
}

// Those of available_isas() but the reference.
inline std::vector<std::string> fast_isas() {
  std::vector<std::string> isas = available_isas();
  isas.pop_back();
  return isas;
}

inline ConvNextConfig small_network() {
  ConvNextConfig config;
  config.depths = {1, 2, 1};
  config.dims = {20, 36, 52};
  config.kernel_sizes = {7, 5, 3};
  config.classes = 7;
  return config;
}

inline ConvNextConfig with_grn() {
  ConvNextConfig config = small_network();
  config.grn = true;
  config.layer_scale = false;
  return config;
}

// Hidden activations of more than one slice and run of channels, the last of each cut short.
inline ConvNextConfig wide_network() {
  ConvNextConfig config = small_network();
  config.depths = {1, 1, 1};
  config.dims = {100, 212, 400};
  return config;
}

}  // namespace convnext
