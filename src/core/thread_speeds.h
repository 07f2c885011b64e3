// How fast the threads of a pool have been of late, and the division of work that follows from it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace convnext {

// A core whose other half is at work for somebody else, or that is of a smaller kind, would keep the others waiting at
// the end of every layer: it gets less of the next one. Speeds are followed over the last few layers, and used in steps
// of a tenth, so that threads of one speed have even parts, and the same from layer to layer.
class ThreadSpeeds {
 public:
  static constexpr int kMostThreads = 64;

  // What a thread did of a layer.
  struct Lap {
    std::int64_t items = 0;
    double seconds = 0.0;
  };

  // For a pool of so many, 1 to kMostThreads; of another number than before they are equal again.
  void set_threads(int threads) {
    if (threads == threads_) return;
    threads_ = threads;
    speeds_.fill(1.0);
    add_up();
  }
  int threads() const { return threads_; }

  // Where the part of `thread` in [0, total) begins; for threads(), total.
  std::int64_t begin_of(int thread, std::int64_t total) const {
    if (thread == threads_) return total;
    return std::llround(static_cast<double>(total) * before_[static_cast<std::size_t>(thread)] / before_.back());
  }

  // One lap a thread. Nothing is learned where one of them did nothing.
  void learn(std::span<const Lap> laps) {
    double all = 0.0;
    for (const Lap& lap : laps) {
      if (lap.items <= 0 || lap.seconds <= 0.0) return;
      all += rate_of(lap);
    }
    for (std::size_t t = 0; t < laps.size(); ++t) {
      const double now = rate_of(laps[t]) * static_cast<double>(laps.size()) / all;
      speeds_[t] = std::clamp(speeds_[t] + kGain * (now - speeds_[t]), kLeast, kMost);
    }
    add_up();
  }

 private:
  static constexpr double kGain = 0.3;
  static constexpr double kStep = 0.1;
  static constexpr double kLeast = 0.6, kMost = 1.4;  // of the mean

  static double rate_of(const Lap& lap) { return static_cast<double>(lap.items) / lap.seconds; }
  static double in_steps(double speed) { return 1.0 + std::round((speed - 1.0) / kStep) * kStep; }

  // A layer asks for the begin of each part, of each piece again: with many threads that is no time to add.
  void add_up() {
    double sum = 0.0;
    for (int t = 0; t < threads_; ++t) {
      before_[static_cast<std::size_t>(t)] = sum;
      sum += in_steps(speeds_[static_cast<std::size_t>(t)]);
    }
    before_.back() = sum;
  }

  int threads_ = 0;
  std::array<double, kMostThreads> speeds_{};
  std::array<double, kMostThreads + 1> before_{};  // the speeds of the threads before each in steps; last, of all
};

}  // namespace convnext
