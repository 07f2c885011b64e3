#include "train/moving_average.h"

#include <algorithm>
#include <cmath>

namespace convnext {

MovingAverage::MovingAverage(const torch::nn::Module& network, torch::nn::Module& average,
                             const MovingAverageOptions& options)
    : average_(average), options_(options) {
  const auto add = [this](const std::vector<torch::Tensor>& sources, const std::vector<torch::Tensor>& targets) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const bool averaged = sources[i].is_floating_point();
      (averaged ? source_ : copied_source_).push_back(sources[i]);
      (averaged ? target_ : copied_target_).push_back(targets[i]);
    }
  };
  add(network.parameters(), average_.parameters());
  add(network.buffers(), average_.buffers());

  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < source_.size(); ++i) {
    target_[i].requires_grad_(false);
    target_[i].copy_(source_[i]);
  }
  for (std::size_t i = 0; i < copied_source_.size(); ++i) copied_target_[i].copy_(copied_source_[i]);
}

double MovingAverage::decay(std::int64_t n) const {
  if (!options_.warmup) return options_.decay;
  return std::min(options_.decay, 1.0 - std::pow(static_cast<double>(n), -2.0 / 3.0));
}

void MovingAverage::update() {
  torch::NoGradGuard no_grad;
  ++updates_;
  // As an interpolation what is equal stays equal: the average of a frozen parameter does not drift by its rounding.
  at::_foreach_lerp_(target_, source_, 1.0 - decay(updates_));
  for (std::size_t i = 0; i < copied_source_.size(); ++i) copied_target_[i].copy_(copied_source_[i]);
}

}  // namespace convnext
