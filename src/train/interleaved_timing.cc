#include "train/interleaved_timing.h"

#include <cstddef>

namespace convnext {

std::vector<std::vector<double>> time_in_turns(const std::vector<std::function<void()>>& samples,
                                               const TimingBudget& budget, const std::function<double()>& now,
                                               const std::function<void()>& on_sample) {
  const auto least = static_cast<std::size_t>(budget.least_samples);
  const double turn = budget.seconds / budget.turns;
  std::vector<std::vector<double>> times(samples.size());
  std::vector<double> spent(samples.size(), 0.0);
  bool done = samples.empty();
  while (!done) {
    done = true;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (spent[i] >= budget.seconds && times[i].size() >= least) continue;
      double in_turn = 0.0;
      do {
        const double begin = now();
        samples[i]();
        const double taken = now() - begin;
        times[i].push_back(taken);
        spent[i] += taken;
        in_turn += taken;
        if (on_sample) on_sample();
      } while (in_turn < turn);
      if (spent[i] < budget.seconds || times[i].size() < least) done = false;
    }
  }
  return times;
}

}  // namespace convnext
