#include "convnext/thread_pool.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

#include "convnext/error.h"
#include "core/cpu_quota.h"

namespace convnext {
namespace {

constexpr int kMostThreads = 4096;

// About 30 microseconds: longer than the pause between two layers of a network, much shorter than a time slice.
constexpr int kSpins = 1500;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CPUs that the scheduler may put this thread on; 0 when the system does not tell.
int affinity_count() {
  // The kernel refuses a set that is smaller than its own; machines may have more CPUs than a cpu_set_t.
  for (std::size_t cpus = CPU_SETSIZE; cpus <= (std::size_t{1} << 20); cpus *= 2) {
    std::vector<cpu_set_t> set(cpus / CPU_SETSIZE);
    const std::size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
  }
  return 0;
}

// The first number of OMP_NUM_THREADS ("4" or "4,2"); 0 when it is unset or not a positive number.
int openmp_threads() {
  const char* const value = std::getenv("OMP_NUM_THREADS");
  if (value == nullptr) return 0;
  std::string_view text = value;
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  int threads = 0;
  std::from_chars(text.data(), text.data() + text.size(), threads);
  return std::max(threads, 0);
}

// The pools whose tasks this thread is inside of, innermost first; a worker is also inside of those of its caller, who
// waits for it.
struct Inside {
  const void* pool;
  const Inside* outer;
};
thread_local const Inside* inside = nullptr;

bool is_inside(const void* pool) {
  for (const Inside* at = inside; at != nullptr; at = at->outer) {
    if (at->pool == pool) return true;
  }
  return false;
}

}  // namespace

int available_threads() {
  int threads = affinity_count();
  if (threads < 1) threads = static_cast<int>(std::thread::hardware_concurrency());
  if (const auto quota = cgroup_cpu_quota()) threads = static_cast<int>(std::min(std::ceil(*quota), 1.0 * threads));
  if (const int wanted = openmp_threads(); wanted > 0) threads = std::min(threads, wanted);
  return std::clamp(threads, 1, kMostThreads);
}

// `remaining` hands out the tasks: whoever lowers it from n to n - 1 owns one, and until that one is counted in `done`
// the run cannot end, so the job's other fields may be read. Workers that come late find 0 and are not waited for.
struct ThreadPool::State {
  std::mutex turn;  // held through a whole run()

  // The job. Written before `remaining` is raised.
  const std::function<void(int, int)>* task = nullptr;
  int tasks = 0;
  const Inside* caller = nullptr;  // what the caller of run() is inside of

  alignas(64) std::atomic<int> remaining{0};
  alignas(64) std::atomic<int> done{0};
  alignas(64) std::atomic<bool> failed{false};

  std::mutex mutex;                  // for what follows, and for raising `remaining`
  std::condition_variable work;      // remaining > 0, or stopping
  std::condition_variable finished;  // done == tasks
  std::exception_ptr failure;
  std::atomic<bool> stopping{false};

  int spins = 0;
  std::vector<std::thread> workers;

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    work.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  // Takes tasks until there are none left.
  void take_part(int thread) {
    int left = remaining.load(std::memory_order_relaxed);
    int taken = 0;
    int all = 0;
    Inside frame{this, nullptr};
    const Inside* const before = inside;
    while (left > 0) {
      if (!remaining.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed)) {
        continue;
      }
      if (taken++ == 0) {  // what follows is of the same run, which cannot end before this is counted
        all = tasks;
        frame.outer = caller;
        inside = &frame;
      }
      if (!failed.load(std::memory_order_relaxed)) {
        try {
          (*task)(all - left, thread);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
        }
      }
      if (left == 1) break;  // the last one is taken: nothing to look for
      left = remaining.load(std::memory_order_relaxed);
    }
    inside = before;
    // From the moment they are counted the job may be another one, so nothing of it is read below.
    if (taken > 0 && done.fetch_add(taken, std::memory_order_acq_rel) + taken == all && thread != 0) {
      const std::lock_guard lock(mutex);
      finished.notify_one();
    }
  }

  // True once `ready()`, having watched it for a short while.
  template <typename Ready>
  bool spin(const Ready& ready) const {
    for (int i = 0; i < spins; ++i) {
      if (ready()) return true;
      pause();
    }
    return ready();
  }

  void work_until_stopped(int thread) {
    const auto ready = [this] {
      return remaining.load(std::memory_order_relaxed) > 0 || stopping.load(std::memory_order_relaxed);
    };
    while (true) {
      if (!spin(ready)) {
        std::unique_lock lock(mutex);
        work.wait(lock, ready);
      }
      if (stopping.load(std::memory_order_relaxed)) return;
      take_part(thread);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > kMostThreads) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("threads is {}: expected 1 to {}", threads, kMostThreads));
  }
  // With more threads than CPUs, one that spins keeps another from working.
  state_->spins = threads <= available_threads() ? kSpins : 0;
  state_->workers.reserve(static_cast<std::size_t>(threads - 1));
  for (int thread = 1; thread < threads; ++thread) {
    state_->workers.emplace_back([state = state_.get(), thread] { state->work_until_stopped(thread); });
  }
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int tasks, const std::function<void(int, int)>& task) {
  State& state = *state_;
  if (is_inside(&state)) throw std::logic_error("ThreadPool::run: called from a task of the same pool");
  if (tasks <= 0) return;

  const std::lock_guard turn(state.turn);
  state.task = &task;
  state.tasks = tasks;
  state.caller = inside;
  state.done.store(0, std::memory_order_relaxed);
  state.failed.store(false, std::memory_order_relaxed);
  {
    const std::lock_guard lock(state.mutex);  // a worker about to sleep must not miss this
    state.remaining.store(tasks, std::memory_order_release);
  }
  const auto helpers = std::min<std::size_t>(state.workers.size(), static_cast<std::size_t>(tasks - 1));
  if (helpers == state.workers.size()) {
    state.work.notify_all();
  } else {
    for (std::size_t i = 0; i < helpers; ++i) state.work.notify_one();
  }

  state.take_part(0);
  const auto all_done = [&] { return state.done.load(std::memory_order_acquire) == tasks; };
  if (!state.spin(all_done)) {
    std::unique_lock lock(state.mutex);
    state.finished.wait(lock, all_done);
  }
  if (state.failed.load(std::memory_order_relaxed)) {
    std::exception_ptr failure;
    {
      const std::lock_guard lock(state.mutex);
      failure.swap(state.failure);
    }
    std::rethrow_exception(failure);
  }
}

}  // namespace convnext
