// What optimisers have in common: groups with their own learning rate and decay, and a state that is kept by name, so
// that a run goes on from a file as it would have gone on without.
//
//   AdamW optimizer(parameter_groups(*network, config, {.weight_decay = 0.05}));
//   loss.backward();
//   optimizer.step(lr[step], weight_decay[step]);
//   optimizer.zero_grad();
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/parameter_groups.h"
#include "train/run_settings.h"

namespace convnext {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One step along the parameters' gradients, each group at lr * lr_scale. `weight_decay`: the value of this step for
  // the groups that are decayed at all; without it each keeps its own. Parameters without a gradient stay.
  void step(double lr, std::optional<double> weight_decay = std::nullopt);
  void zero_grad();

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  std::int64_t steps() const { return steps_; }

  // What is kept a parameter, "<what>.<name>": "first.stem.0.weight". The tensors are the state itself, not copies.
  std::map<std::string, torch::Tensor> state() const;
  // Goes on as if so many steps had been taken; the tensors of state() are restored by who has them in a file.
  void restore(std::int64_t steps) { steps_ = steps; }

 protected:
  // A group's part in one step. `kept[i]` are the tensors of kind i, as the parameters.
  struct Update {
    std::vector<torch::Tensor> parameters, gradients;
    std::vector<std::vector<torch::Tensor>> kept;
    double lr = 0.0;
    double weight_decay = 0.0;
  };

  // `kinds`: the names of the tensors kept a parameter; they start at zero.
  Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> kinds);
  virtual void apply(const Update& update) = 0;

 private:
  std::vector<ParameterGroup> groups_;
  std::vector<std::string> kinds_;
  std::vector<std::vector<std::vector<torch::Tensor>>> kept_;  // by group, kind and parameter
  std::int64_t steps_ = 0;
};

// The optimiser that a run has settled for.
std::unique_ptr<Optimizer> make_optimizer(const RunSettings& settings, std::vector<ParameterGroup> groups);

}  // namespace convnext
