// Stochastic gradient descent with momentum, as torch.optim.SGD without dampening and Nesterov: what the paper's
// starting point, the ResNets, were trained with.
//
//   velocity = momentum * velocity + gradient + weight_decay * parameter;   parameter -= lr * velocity
#pragma once

#include <vector>

#include "train/optimizer.h"

namespace convnext {

struct SgdOptions {
  double momentum = 0.9;  // 0: plain descent
};

// Keeps the velocity, "momentum", where there is any.
class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options = {});

 private:
  void apply(const Update& update) override;
  SgdOptions options_;
};

}  // namespace convnext
