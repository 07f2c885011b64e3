// Where the time of a detector goes, by its parts.
#pragma once

#include <torch/csrc/autograd/engine.h>
#include <torch/torch.h>

#include <array>
#include <chrono>
#include <iterator>
#include <memory>
#include <utility>

#include "model/detector.h"

namespace convnext {

// Seconds by part, in the order of kDetectorParts; each call of what they are of adds its own.
using DetectorSeconds = std::array<double, std::size(kDetectorParts)>;

// Of Detector::losses(), and of the backward() that follows it.
struct LearningSeconds {
  DetectorSeconds forward{}, backward{};
};

// Books the time from one lap to the next; without `seconds` it does nothing. A GPU is waited for.
class PartTimer {
 public:
  PartTimer(DetectorSeconds* seconds, const torch::Device& device) : seconds_(seconds), device_(device) { restart(); }

  void lap(DetectorPart part) {
    if (seconds_ == nullptr) return;
    const Clock::time_point before = last_;
    restart();
    (*seconds_)[static_cast<std::size_t>(part)] += std::chrono::duration<double>(last_ - before).count();
  }

  // What has passed until now is nobody's.
  void restart() {
    if (seconds_ != nullptr && device_.is_cuda()) torch::cuda::synchronize(device_.index());
    last_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;

  DetectorSeconds* seconds_;
  torch::Device device_;
  Clock::time_point last_;
};

// The same of a step of learning. The way back goes through the parts in the opposite order, last computed first, so
// that the gradient that reaches the output of a part ends the time of those behind it.
class LearningTimer {
 public:
  // `seconds` must live until backward() is done.
  LearningTimer(LearningSeconds* seconds, const torch::Device& device)
      : forward_(seconds == nullptr ? nullptr : &seconds->forward, device) {
    if (seconds != nullptr) back_ = std::make_shared<Back>(PartTimer(&seconds->backward, device));
  }

  void lap(DetectorPart part) { forward_.lap(part); }

  // On the way back the time until `output` has its gradient is `behind`'s.
  void watch(const torch::Tensor& output, DetectorPart behind) const {
    if (back_ == nullptr || !output.requires_grad()) return;
    output.register_hook([back = back_, behind](const torch::Tensor&) {
      back->timer.lap(behind);
      if (std::exchange(back->ends, true)) return;
      // What is left when everything is done is the backbone's.
      torch::autograd::Engine::get_default_engine().queue_callback(
          [back] { back->timer.lap(DetectorPart::kBackbone); });
    });
  }

  // The forward pass is done.
  void start_back() {
    if (back_ != nullptr) back_->timer.restart();
  }

 private:
  struct Back {
    PartTimer timer;
    bool ends = false;  // whether its end is asked for
    explicit Back(PartTimer part_timer) : timer(std::move(part_timer)) {}
  };

  PartTimer forward_;
  std::shared_ptr<Back> back_;
};

}  // namespace convnext
