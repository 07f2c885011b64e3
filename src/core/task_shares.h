// Which thread does which of a run's tasks.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace convnext {

// Tasks [0, tasks), dealt to the threads of a pool: to each a share of consecutive ones, the same in every run of as
// many, and then what the others have not begun. A thread thus meets in its own caches what it wrote in the run before,
// and none waits while there is something to do.
class TaskShares {
 public:
  TaskShares(int tasks, int threads) : threads_(threads), shares_(std::min(threads, kMostShares)) {
    for (int i = 0; i < shares_; ++i) {
      Share& share = all_[static_cast<std::size_t>(i)];
      share.next.store(bound(tasks, i), std::memory_order_relaxed);
      share.end = bound(tasks, i + 1);
    }
  }

  // Calls task(i) for one after the other until none is left; from any number of threads at once, `thread` below
  // `threads`. Each task is called once.
  template <class Task>
  void take(int thread, const Task& task) {
    const int own = static_cast<int>(std::int64_t{thread} * shares_ / threads_);
    for (int i = 0; i < shares_; ++i) {
      Share& share = all_[static_cast<std::size_t>((own + i) % shares_)];
      int next = 0;
      while ((next = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end) task(next);
    }
  }

 private:
  // No more, so that they fit a stack; beyond them threads have shares in common.
  static constexpr int kMostShares = 64;

  struct alignas(64) Share {  // a cache line each
    std::atomic<int> next;
    int end;
  };

  int bound(int tasks, int share) const { return static_cast<int>(std::int64_t{tasks} * share / shares_); }

  int threads_;
  int shares_;
  std::array<Share, kMostShares> all_;
};

}  // namespace convnext
