// Rate and time left of long work, worked out here and shown by whoever asked for it: the library prints nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace convnext {

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `total` 0: not known yet. `unit` is what is counted, in the plural: "pictures".
  explicit Progress(std::string unit, std::int64_t total = 0, Clock::time_point start = Clock::now())
      : unit_(std::move(unit)), total_(total), start_(start) {}

  void advance(std::int64_t count) { done_ += count; }
  std::int64_t done() const { return done_; }
  double seconds(Clock::time_point now = Clock::now()) const;
  double per_second(Clock::time_point now = Clock::now()) const;

  // "[#########.....]  61 %  6,100 of 10,000 pictures  1,204/s  3 s left", or without a total "6,100 pictures 1,204/s".
  std::string line(Clock::time_point now = Clock::now()) const;

 private:
  std::string unit_;
  std::int64_t total_ = 0;
  std::int64_t done_ = 0;
  Clock::time_point start_;
};

// "1 min 05 s", "2 h 10 min".
std::string format_duration(double seconds);
// "1,234,567".
std::string format_count(std::int64_t count);
// "118.4 MB" (powers of ten).
std::string format_bytes(std::uint64_t bytes);

}  // namespace convnext
