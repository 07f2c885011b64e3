// A detector while it learns, and one step of it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "detect/detection_loader.h"
#include "detect/detection_settings.h"
#include "detect/detector.h"
#include "model/card.h"
#include "model/weights.h"
#include "train/moving_average.h"
#include "train/optimizer.h"
#include "train/run_steps.h"

namespace convnext {

// As parameter_groups() of a network. With layer-wise decay the backbone's parameters lie in its own layers, all others
// in the one after its last, as the authors' detection code has it. Throws Error (kUnsupported) for layer-wise decay of
// a backbone that is no ConvNeXt.
std::vector<ParameterGroup> parameter_groups(const Detector& detector, const GroupOptions& options);

struct DetectorStep {
  StepResult result;
  std::map<std::string, double> losses;  // as NamedLosses, means over the step's batches
};

class DetectorLearner {
 public:
  // `weights` are what it begins with; `steps_an_epoch` optimiser steps make an epoch.
  DetectorLearner(const DetectionSettings& settings, const DetectorCard& card, const WeightStore& weights,
                  std::int64_t steps_an_epoch, torch::Device device);

  // Step `number` of the run, 0 for the first: forward and backward of as many batches as are accumulated, each asked
  // of `next` when the one before it is done with, then one step of the optimiser and of the moving average. Throws
  // Error (kInvalidArgument) when loss or gradient are not finite: which loss, and of which pictures of `source`.
  // `seconds` as Detector::losses(), of all the batches.
  DetectorStep step(const std::function<DetectionBatch()>& next, std::int64_t number, const DetectionSource& source,
                    LearningSeconds* seconds = nullptr);

  Detector& detector() { return *detector_; }
  // With the weights' moving average; null where there is none.
  Detector* average_detector() { return average_detector_.get(); }
  Optimizer& optimizer() { return *optimizer_; }
  RunParts parts() { return {*detector_, average_.get(), *optimizer_}; }
  // By step of the run; a group's own is this times its lr_scale.
  const std::vector<double>& learning_rates() const { return lr_; }

 private:
  NamedLosses losses_of(const DetectionBatch& batch, std::uint64_t key, LearningSeconds* seconds);

  const DetectionSettings& settings_;
  torch::Device device_;
  std::shared_ptr<Detector> detector_, average_detector_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<MovingAverage> average_;
  std::vector<double> lr_, weight_decay_;
};

}  // namespace convnext
