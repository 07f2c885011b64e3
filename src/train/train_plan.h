// What a run would do, told before it does.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/optimizer.h"
#include "train/run_settings.h"

namespace convnext {

struct TrainPlan {
  struct Group {
    std::string name;
    double weight_decay = 0.0;
    double lr_scale = 1.0;
    std::int64_t tensors = 0;
    std::int64_t params = 0;
  };
  // What a detector's parts take of a step, seconds.
  struct Part {
    std::string name;
    double forward = 0.0;
    double backward = 0.0;
  };
  std::string architecture;
  std::int64_t classes = 0;
  std::string input;  // size of a picture: "224"; "800x1333", a detector's short and long side at most
  std::int64_t params = 0;
  std::int64_t frozen_params = 0;
  double gmac = 0.0;  // forward, a picture of that size
  std::int64_t train_pictures = 0;
  std::int64_t held_out_pictures = 0;
  int batch_size = 0;
  int accumulate = 1;
  std::int64_t steps_an_epoch = 0;
  std::int64_t steps = 0;
  std::int64_t warmup_steps = 0;
  std::vector<double> lr;  // at the first step of each epoch
  std::vector<Group> groups;
  std::uint64_t state_bytes = 0;     // weights, gradients, optimiser and moving average
  std::uint64_t resident_bytes = 0;  // the most that this process held after the measured steps
  double seconds_a_step = 0.0;       // measured; without waiting for data and without evaluation
  std::vector<Part> parts;           // measured on one more step; without the optimiser
  double estimated_seconds() const { return seconds_a_step * static_cast<double>(steps); }
};

// Adds to a plan whose network and pictures are told what follows from the settings: schedule, groups and memory.
void plan_schedule(const RunSettings& settings, const std::vector<double>& lr, const Optimizer& optimizer,
                   TrainPlan& plan);

// Takes a few steps, and adds their time and memory to the plan.
void time_steps(const std::function<void()>& step, TrainPlan& plan);

}  // namespace convnext
