// AdamW (Loshchilov and Hutter 2019), PyTorch's fused step. The state is ours: libtorch's own optimiser loses the
// options of its groups when it is saved and read back.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "train/parameter_groups.h"

namespace convnext {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

class AdamW {
 public:
  explicit AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options = {});

  // One step along the parameters' gradients, each group at lr * lr_scale.
  void step(double lr);
  void zero_grad();

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  std::int64_t steps() const { return steps_; }

  // Moments by parameter name: "first.<name>" and "second.<name>"; the tensors are the state itself, not copies.
  std::map<std::string, torch::Tensor> state() const;
  // Goes on as if `steps` had been taken with this optimiser.
  void restore(const std::map<std::string, torch::Tensor>& state, std::int64_t steps);

 private:
  struct Moments {
    std::vector<torch::Tensor> first, second;  // as the group's parameters
  };
  std::vector<ParameterGroup> groups_;
  std::vector<Moments> moments_;  // one a group
  AdamWOptions options_;
  std::int64_t steps_ = 0;
};

}  // namespace convnext
