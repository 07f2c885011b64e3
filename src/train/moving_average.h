// The exponential moving average of a network, updated after each step of the optimiser:
//   average = decay * average + (1 - decay) * network
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace convnext {

struct MovingAverageOptions {
  double decay = 0.9999;
  // Smaller decays at first, so that the start is forgotten sooner: min(decay, 1 - n^(-2/3)) in update n, which is what
  // timm's ModelEmaV3 does when it is asked to. The authors have none.
  bool warmup = false;
};

// Of every parameter and every buffer; buffers of integers are copied.
class MovingAverage {
 public:
  // Starts as a copy of `network`; `average` is a network of the same shape that will hold it, and outlive this.
  MovingAverage(const torch::nn::Module& network, torch::nn::Module& average, const MovingAverageOptions& options);

  void update();
  // The decay of update n, 1 for the first.
  double decay(std::int64_t n) const;

  std::int64_t updates() const { return updates_; }
  // Goes on as if so many updates had been made; network() is restored by who knows its tensors.
  void restore(std::int64_t updates) { updates_ = updates; }

  torch::nn::Module& network() { return average_; }
  const torch::nn::Module& network() const { return average_; }

 private:
  std::vector<torch::Tensor> source_, target_;                // floating point, in the same order
  std::vector<torch::Tensor> copied_source_, copied_target_;  // all others
  torch::nn::Module& average_;
  MovingAverageOptions options_;
  std::int64_t updates_ = 0;
};

}  // namespace convnext
