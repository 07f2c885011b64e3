#include "convnext/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "convnext/error.h"
#include "core/cpu_quota.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

class ThreadPoolOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolOf, testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolOf, EveryTaskRunsOnceOnAThreadInRange) {
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.threads(), GetParam());
  for (const int tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
    pool.run(tasks, [&](int task, int thread) {
      EXPECT_GE(thread, 0);
      EXPECT_LT(thread, pool.threads());
      ++runs[static_cast<std::size_t>(task)];
    });
    for (const auto& count : runs) ASSERT_EQ(count, 1) << tasks;
  }
}

// The results are read without atomics: run() has to order them, which the thread sanitizer checks as well.
TEST_P(ThreadPoolOf, ManyShortRunsSeeEachOthersResults) {
  ThreadPool pool(GetParam());
  std::vector<int> values(5, 0);
  for (int round = 0; round < 3000; ++round) {
    pool.run(5, [&](int task, int) { ++values[static_cast<std::size_t>(task)]; });
    for (const int value : values) ASSERT_EQ(value, round + 1);
  }
}

TEST_P(ThreadPoolOf, AnExceptionComesBackAndThePoolGoesOn) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ended = 0;
    std::atomic<int> begun = 0;
    try {
      pool.run(20, [&](int task, int) {
        ++begun;
        if (task == round % 20) throw Error(ErrorCode::kDamaged, "task " + std::to_string(task));
        ++ended;
      });
      FAIL() << "no exception";
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), "task " + std::to_string(round % 20));
    }
    EXPECT_EQ(begun, ended + 1);  // nobody is still inside
    std::atomic<int> again = 0;
    pool.run(20, [&](int, int) { ++again; });
    EXPECT_EQ(again, 20);
  }
}

TEST_P(ThreadPoolOf, NoThreadNumberIsInUseTwice) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<bool>> busy(static_cast<std::size_t>(pool.threads()));
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        pool.run(9, [&](int, int thread) {
          auto& flag = busy[static_cast<std::size_t>(thread)];
          EXPECT_FALSE(flag.exchange(true));
          std::this_thread::yield();
          flag = false;
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_P(ThreadPoolOf, CallingItFromItsOwnTaskIsALogicError) {
  ThreadPool pool(GetParam());
  ThreadPool other(2);
  EXPECT_THROW(pool.run(4, [&](int, int) { pool.run(1, [](int, int) {}); }), std::logic_error);
  EXPECT_THROW(pool.run(1, [&](int, int) { other.run(1, [&](int, int) { pool.run(1, [](int, int) {}); }); }),
               std::logic_error);
  std::atomic<int> runs = 0;
  pool.run(2, [&](int, int) { other.run(3, [&](int, int) { ++runs; }); });
  EXPECT_EQ(runs, 6);
}

// The other pool's worker is not the thread that holds this pool, which would wait for it for ever.
TEST_P(ThreadPoolOf, CallingItFromAnotherPoolsWorkerIsALogicErrorToo) {
  ThreadPool pool(GetParam());
  ThreadPool other(2);
  pool.run(1, [&](int, int) {
    std::atomic<int> begun = 0;
    other.run(2, [&](int, int) {
      ++begun;
      while (begun < 2) std::this_thread::yield();  // a task on either thread
      EXPECT_THROW(pool.run(1, [](int, int) {}), std::logic_error);
    });
  });
  std::atomic<int> runs = 0;
  other.run(2, [&](int, int) { ++runs; });
  pool.run(1, [&](int, int) { other.run(2, [&](int, int) { ++runs; }); });  // nobody was left inside
  EXPECT_EQ(runs, 4);
}

TEST(ThreadPool, UsesItsThreads) {
  ThreadPool pool(3);
  std::atomic<int> inside = 0;
  // Each task waits until the others have begun: fewer than three threads would wait for ever.
  pool.run(3, [&](int, int) {
    ++inside;
    while (inside < 3) std::this_thread::yield();
  });
  EXPECT_EQ(inside, 3);
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> inside = 0;
    pool.run(2, [&](int, int) {
      ++inside;
      while (inside < 2) std::this_thread::yield();
    });
  }
}

TEST(ThreadPool, RefusesImpossibleSizes) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-3), Error);
  EXPECT_THROW(ThreadPool(1'000'000), Error);
}

// Sets OMP_NUM_THREADS for a scope.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(const char* value) {
    if (const char* before = std::getenv("OMP_NUM_THREADS")) before_ = before, was_set_ = true;
    setenv("OMP_NUM_THREADS", value, 1);
  }
  ~OpenMpThreads() {
    if (was_set_) {
      setenv("OMP_NUM_THREADS", before_.c_str(), 1);
    } else {
      unsetenv("OMP_NUM_THREADS");
    }
  }

 private:
  std::string before_;
  bool was_set_ = false;
};

TEST(AvailableThreads, FollowsOpenMpDownwardsOnly) {
  int without = 0;
  {
    const OpenMpThreads unset("");
    without = available_threads();
    EXPECT_GE(without, 1);
  }
  for (const char* const value : {"1", " 1", "1,8"}) {
    const OpenMpThreads one(value);
    EXPECT_EQ(available_threads(), 1) << value;
  }
  for (const char* const value : {"100000", "0", "-4", "many", ""}) {
    const OpenMpThreads other(value);
    EXPECT_EQ(available_threads(), without) << value;
  }
}

TEST(AvailableThreads, FollowsTheAffinity) {
  std::thread([] {  // an affinity is one thread's
    cpu_set_t all;
    ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
      break;
    }
    EXPECT_EQ(available_threads(), 1);
  })
      .join();
}

class CpuQuota : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::optional<double> quota() const { return cgroup_cpu_quota(root_.path()); }

  TemporaryFolder root_;
};

TEST_F(CpuQuota, NothingLimitsWithoutControlGroups) { EXPECT_FALSE(quota()); }

TEST_F(CpuQuota, Version2TakesTheSmallestOnTheWayUp) {
  write("proc/self/cgroup", "0::/user.slice/job.scope\n");
  write("sys/fs/cgroup/user.slice/cpu.max", "300000 100000\n");
  write("sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 3.0);
  write("sys/fs/cgroup/user.slice/job.scope/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
}

// In a container the path is the host's and is not there; the mount point is the container's own group.
TEST_F(CpuQuota, Version2InAContainerReadsTheMountPoint) {
  write("proc/self/cgroup", "0::/../../kubepods/pod1\n");
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, Version1IsFoundUnderItsControllersNames) {
  write("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(quota());
  write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "200000\n");
  write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(CpuQuota, NonsenseLimitsNothing) {
  write("proc/self/cgroup", "nonsense\n0::/a\n:\n");
  write("sys/fs/cgroup/cpu.max", "many 0\n");
  write("sys/fs/cgroup/a/cpu.max", "100000 0\n");
  EXPECT_FALSE(quota());
}

}  // namespace
}  // namespace convnext
