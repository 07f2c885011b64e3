#include "train/moving_average.h"

namespace convnext {

MovingAverage::MovingAverage(const Network& network, std::shared_ptr<Network> average, double decay)
    : source_(network.parameters()), target_(average->parameters()), average_(std::move(average)), decay_(decay) {
  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < source_.size(); ++i) {
    target_[i].copy_(source_[i]);
    target_[i].requires_grad_(false);
  }
}

void MovingAverage::update() {
  torch::NoGradGuard no_grad;
  at::_foreach_mul_(target_, decay_);
  at::_foreach_add_(target_, source_, 1.0 - decay_);
}

}  // namespace convnext
