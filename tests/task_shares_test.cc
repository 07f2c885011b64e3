#include "core/task_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "convnext/thread_pool.h"

namespace convnext {
namespace {

std::vector<int> taken_by(int thread, int tasks, int threads) {
  TaskShares shares(tasks, threads);
  std::vector<int> order;
  shares.take(thread, [&](int task) { order.push_back(task); });
  shares.take(thread, [&](int) { ADD_FAILURE() << "a task is left"; });
  return order;
}

TEST(TaskShares, AThreadBeginsWithItsOwnAndThenHelps) {
  EXPECT_EQ(taken_by(0, 5, 2), (std::vector{0, 1, 2, 3, 4}));
  EXPECT_EQ(taken_by(1, 5, 2), (std::vector{2, 3, 4, 0, 1}));
  EXPECT_EQ(taken_by(2, 6, 3), (std::vector{4, 5, 0, 1, 2, 3}));
}

TEST(TaskShares, OneThreadTakesAllWhateverItsNumber) {
  for (const int threads : {1, 2, 7, 64, 65, 1000}) {
    for (const int tasks : {0, 1, 2, 63, 200}) {
      for (const int thread : {0, threads / 2, threads - 1}) {
        std::vector<int> order = taken_by(thread, tasks, threads);
        std::sort(order.begin(), order.end());
        std::vector<int> all(static_cast<std::size_t>(tasks));
        std::iota(all.begin(), all.end(), 0);
        EXPECT_EQ(order, all) << tasks << " tasks, thread " << thread << " of " << threads;
      }
    }
  }
}

TEST(TaskShares, ThreadsTogetherTakeEachTaskOnce) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    const int tasks = round % 23;
    TaskShares shares(tasks, pool.threads());
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(tasks));
    pool.run(pool.threads(),
             [&](int, int thread) { shares.take(thread, [&](int task) { ++calls[static_cast<std::size_t>(task)]; }); });
    for (const auto& count : calls) ASSERT_EQ(count, 1);
  }
}

}  // namespace
}  // namespace convnext
