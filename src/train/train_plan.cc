#include "train/train_plan.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

namespace convnext {

void plan_schedule(const RunSettings& settings, const std::vector<double>& lr, const Optimizer& optimizer,
                   TrainPlan& plan) {
  plan.batch_size = settings.batch_size;
  plan.accumulate = settings.accumulate;
  plan.steps = plan.steps_an_epoch * settings.epochs;
  plan.warmup_steps = std::min(
      plan.steps, settings.warmup_steps > 0 ? settings.warmup_steps : plan.steps_an_epoch * settings.warmup_epochs);
  for (int epoch = 0; epoch < settings.epochs; ++epoch) {
    plan.lr.push_back(lr.at(static_cast<std::size_t>(epoch * plan.steps_an_epoch)));
  }
  std::int64_t trained = 0;
  for (const ParameterGroup& group : optimizer.groups()) {
    TrainPlan::Group& row = plan.groups.emplace_back();
    row.name = group.name;
    row.weight_decay = group.weight_decay;
    row.lr_scale = group.lr_scale;
    for (const torch::Tensor& parameter : group.parameters) {
      ++row.tensors;
      row.params += parameter.numel();
    }
    trained += row.params;
  }
  plan.frozen_params = plan.params - trained;
  const std::int64_t moments = settings.optimizer == OptimizerKind::kAdamW ? 2 : 1;
  plan.state_bytes = sizeof(float) * static_cast<std::uint64_t>(plan.params * (settings.ema_decay > 0 ? 2 : 1) +
                                                                trained * (1 + moments));
}

void time_steps(const std::function<void()>& step, TrainPlan& plan) {
  constexpr int kMostSteps = 10;
  constexpr double kMostSeconds = 10.0;
  // The first step pays for memory that the next ones find ready.
  step();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  int steps = 0;
  do {
    step();
    ++steps;
  } while (steps < kMostSteps && seconds() < kMostSeconds);
  plan.seconds_a_step = seconds() / steps;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  plan.resident_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace convnext
