// Things made by worker threads ahead of who needs them, handed out in their order.
//
//   Prefetch<Batch> batches({.first = 0, .end = 100, .workers = 2}, [](std::int64_t number) { return make(number); });
//   while (const auto batch = batches.next()) ...
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace convnext {

struct PrefetchOptions {
  std::int64_t first = 0;  // number of the first thing
  std::int64_t end = 0;    // that of the one after the last
  int workers = 1;
  int ahead = 4;  // things that may lie ready
};

template <typename Item>
class Prefetch {
 public:
  // `make` is called from any of the threads, once a number; what it refers to must outlive this.
  Prefetch(const PrefetchOptions& options, std::function<Item(std::int64_t number)> make)
      : options_(options), make_(std::move(make)), started_(options.first), taken_(options.first) {
    for (int i = 0; i < std::max(1, options_.workers); ++i) workers_.emplace_back([this] { work(); });
  }
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    room_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  // Nothing after the last. Throws what `make` threw.
  std::optional<Item> next() {
    std::unique_lock lock(mutex_);
    if (taken_ >= options_.end) return std::nullopt;
    arrived_.wait(lock, [this] { return error_ || ready_.contains(taken_); });
    if (error_) std::rethrow_exception(error_);
    Item item = std::move(ready_.extract(taken_).mapped());
    ++taken_;
    lock.unlock();
    room_.notify_all();
    return item;
  }

 private:
  void work() {
    while (true) {
      std::int64_t mine;
      {
        std::unique_lock lock(mutex_);
        room_.wait(lock,
                   [this] { return stopping_ || started_ >= options_.end || started_ < taken_ + options_.ahead; });
        if (stopping_ || started_ >= options_.end) return;
        mine = started_++;
      }
      std::optional<Item> item;
      std::exception_ptr failure;
      try {
        item = make_(mine);
      } catch (...) {
        failure = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        if (item) ready_.emplace(mine, std::move(*item));
        if (failure && !error_) error_ = failure;
      }
      arrived_.notify_all();
    }
  }

  const PrefetchOptions options_;
  const std::function<Item(std::int64_t)> make_;
  std::mutex mutex_;
  std::condition_variable room_, arrived_;
  std::int64_t started_;  // things that workers have begun
  std::int64_t taken_;    // things that next() gave away
  std::map<std::int64_t, Item> ready_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace convnext
