// The exponential moving average of the weights: average = decay * average + (1 - decay) * weights after each step
// (ModelEma of the authors' engine.py: no warm-up).
#pragma once

#include <memory>

#include "nn/network.h"

namespace convnext {

class MovingAverage {
 public:
  // Starts as a copy of `network`; `average` is a network of the same shape that will hold it.
  MovingAverage(const Network& network, std::shared_ptr<Network> average, double decay);

  void update();
  Network& network() { return *average_; }
  const Network& network() const { return *average_; }

 private:
  std::vector<torch::Tensor> source_, target_;  // parameters, in the same order
  std::shared_ptr<Network> average_;
  double decay_;
};

}  // namespace convnext
