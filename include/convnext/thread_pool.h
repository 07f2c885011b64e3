// convnext/thread_pool.h: the threads that a call may use.
//
//   convnext::ThreadPool pool(4);
//   pool.run(rows, [&](int row, int thread) { ... });  // returns when every row is done
#pragma once

#include <functional>
#include <memory>

#pragma GCC visibility push(default)
namespace convnext {

// What this process may use: the smallest of the CPU affinity, the cgroup's quota (rounded up) and OMP_NUM_THREADS; at
// least 1.
int available_threads();

// A fixed set of threads; the caller's own is one of them. run() may be called from several threads: the calls then
// take turns. Calling run() from inside a task of the same pool is an error (std::logic_error).
class ThreadPool {
 public:
  // Throws Error unless `threads` is in [1, 4096].
  explicit ThreadPool(int threads = available_threads());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls task(i, thread) once for each i in [0, tasks), in no particular order, with `thread` in [0, threads()).
  // The first exception that a task throws is thrown again here, once the others have ended; tasks that had not begun
  // by then are left out.
  void run(int tasks, const std::function<void(int task, int thread)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace convnext
#pragma GCC visibility pop
