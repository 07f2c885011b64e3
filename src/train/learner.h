// The network while it learns, and one step of it: FB's engine.py train_one_epoch, a step at a time.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/card.h"
#include "model/weights.h"
#include "train/loader.h"
#include "train/moving_average.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/run_steps.h"
#include "train/settings.h"

namespace convnext {

class Learner {
 public:
  // `weights` are what it begins with; `steps_an_epoch` optimiser steps make an epoch.
  Learner(const TrainSettings& settings, const Card& card, const WeightStore& weights, std::int64_t steps_an_epoch,
          torch::Device device);

  // Step `number` of the run, 0 for the first: forward and backward of as many batches as are accumulated, each asked
  // of `next` when the one before it is done with, then one step of the optimiser and of the moving average. Throws
  // Error (kInvalidArgument) when loss or gradient are not finite: where that came from.
  StepResult step(const std::function<Batch()>& next, std::int64_t number, const PictureSource& source);

  // The pictures and targets as the network gets them in micro-batch `micro` of step `number`: on the device, mixed
  // when the settings ask for it, which on a CPU changes the batch's own pictures. Targets are (n,) int64, or
  // (n, classes) float32 when they are mixed.
  struct NetworkBatch {
    torch::Tensor pictures;
    torch::Tensor targets;
  };
  NetworkBatch prepared(Batch batch, std::int64_t number, int micro) const;

  // Before steps: evaluation leaves the network in its other mode.
  void set_training();
  Network& network() { return *network_; }
  // With the weights' moving average; null where there is none.
  Network* average_network() { return average_network_.get(); }
  Optimizer& optimizer() { return *optimizer_; }
  RunParts parts() { return {*network_, average_.get(), *optimizer_}; }
  // By step of the run; a group's own is this times its lr_scale.
  const std::vector<double>& learning_rates() const { return lr_; }

 private:
  torch::Tensor loss_of(const NetworkBatch& batch, std::uint64_t drop_key);

  const TrainSettings& settings_;
  NetworkConfig config_;
  int classes_;
  torch::Device device_;
  std::shared_ptr<Network> network_, average_network_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<MovingAverage> average_;
  std::vector<double> lr_, weight_decay_;
};

}  // namespace convnext
