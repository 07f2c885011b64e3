// Whole networks with weights of a formula, run on a backend.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/backend.h"
#include "model/config.h"
#include "model/formula.h"
#include "tests/tensor_compare.h"

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

// small_network() compiled with formula weights: an output without memory is left out, and no other is another for it.
inline void expect_only_what_is_wanted(const Executable& executable, const TensorBounds& bounds) {
  const ConvNextConfig config = small_network();
  const Tensor input = formula_input("input", {1, 3, 40, 40}, 1);
  const Results expected = run(executable, config, input);
  for (int wanted = 0; wanted < 8; ++wanted) {
    SCOPED_TRACE(wanted);
    Results results(config, input.shape());
    if ((wanted & 1) == 0) results.views.logits.data = nullptr;
    if ((wanted & 2) == 0) results.views.pooled.data = nullptr;
    if ((wanted & 4) == 0) results.views.stages[1].data = nullptr;
    Workspace workspace;
    executable.run(as_input(input), results.views, workspace);
    const auto check = [&bounds](const Tensor& actual, const Tensor& full, bool is_wanted) {
      EXPECT_TRUE(tensors_close(actual, is_wanted ? full : Tensor::zeros(full.shape()), bounds));
    };
    check(results.logits, expected.logits, (wanted & 1) != 0);
    check(results.pooled, expected.pooled, (wanted & 2) != 0);
    check(results.stages[1], expected.stages[1], (wanted & 4) != 0);
    check(results.stages[2], expected.stages[2], true);
  }
}

}  // namespace convnext
