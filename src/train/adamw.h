// AdamW (Loshchilov and Hutter 2019) with PyTorch's arithmetic, in PyTorch's fused step.
#pragma once

#include <vector>

#include "train/optimizer.h"

namespace convnext {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

// Keeps the moments "first" and "second".
class AdamW : public Optimizer {
 public:
  explicit AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options = {});

 private:
  void apply(const Update& update) override;
  AdamWOptions options_;
};

}  // namespace convnext
