// Times of several things that are measured together on a machine that others use too: they take turns, so that what
// slows the machine down for a while slows all of them down.
#pragma once

#include <functional>
#include <vector>

namespace convnext {

struct TimingBudget {
  double seconds = 10.0;  // for each, at least
  int turns = 10;         // that this time is spent in
  int least_samples = 3;  // of each, however long they take
};

// Seconds of every sample, in the order of `samples`. In a turn each runs for seconds / turns, once at least; one whose
// seconds are spent is left out from then on. `now` tells the seconds; `on_sample` is called after each one.
std::vector<std::vector<double>> time_in_turns(const std::vector<std::function<void()>>& samples,
                                               const TimingBudget& budget, const std::function<double()>& now,
                                               const std::function<void()>& on_sample = {});

}  // namespace convnext
