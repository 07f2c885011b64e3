#include "core/thread_speeds.h"

#include <gtest/gtest.h>

#include <vector>

namespace convnext {
namespace {

using Lap = ThreadSpeeds::Lap;

std::vector<std::int64_t> parts_of(const ThreadSpeeds& speeds, std::int64_t total) {
  std::vector<std::int64_t> parts;
  for (int t = 0; t < speeds.threads(); ++t) parts.push_back(speeds.begin_of(t + 1, total) - speeds.begin_of(t, total));
  return parts;
}

TEST(ThreadSpeeds, AreEqualAtFirst) {
  ThreadSpeeds speeds;
  speeds.set_threads(3);
  EXPECT_EQ(parts_of(speeds, 300), (std::vector<std::int64_t>{100, 100, 100}));
}

TEST(ThreadSpeeds, ASlowThreadGetsLessUntilAllEndTogether) {
  ThreadSpeeds speeds;
  speeds.set_threads(2);
  for (int layer = 0; layer < 20; ++layer) {
    const std::vector<std::int64_t> parts = parts_of(speeds, 1000);
    const Lap laps[] = {{parts[0], static_cast<double>(parts[0]) * 1e-6},
                        {parts[1], static_cast<double>(parts[1]) * 1.5e-6}};
    speeds.learn(laps);
  }
  EXPECT_EQ(parts_of(speeds, 1000), (std::vector<std::int64_t>{600, 400}));
}

TEST(ThreadSpeeds, SmallDifferencesChangeNothing) {
  ThreadSpeeds speeds;
  speeds.set_threads(2);
  for (int layer = 0; layer < 50; ++layer) {
    const double jitter = layer % 2 == 0 ? 1.05 : 0.95;
    const Lap laps[] = {{500, 500e-6}, {500, jitter * 500e-6}};
    speeds.learn(laps);
    EXPECT_EQ(parts_of(speeds, 1000), (std::vector<std::int64_t>{500, 500}));
  }
}

TEST(ThreadSpeeds, PartsAreOfAllAndNoneIsStarved) {
  ThreadSpeeds speeds;
  speeds.set_threads(5);
  for (int layer = 0; layer < 100; ++layer) {
    std::vector<Lap> laps;
    for (int t = 0; t < 5; ++t) laps.push_back({100, t == layer % 3 ? 1.0 : 1e-5 * (t + 1)});
    speeds.learn(laps);
    for (const std::int64_t total : {40, 41, 1000, 123457}) {
      std::int64_t sum = 0;
      for (const std::int64_t part : parts_of(speeds, total)) {
        EXPECT_GE(part, total / 12);
        sum += part;
      }
      EXPECT_EQ(sum, total);
    }
  }
}

TEST(ThreadSpeeds, NothingIsLearnedOfAThreadThatDidNothing) {
  ThreadSpeeds speeds;
  speeds.set_threads(2);
  for (int layer = 0; layer < 20; ++layer) {
    speeds.learn(std::vector<Lap>{{1000, 1e-3}, {0, 0.0}});
    speeds.learn(std::vector<Lap>{{1000, 0.0}, {10, 1.0}});
  }
  EXPECT_EQ(parts_of(speeds, 10), (std::vector<std::int64_t>{5, 5}));
}

TEST(ThreadSpeeds, AnotherNumberOfThreadsBeginsAnew) {
  ThreadSpeeds speeds;
  speeds.set_threads(2);
  for (int layer = 0; layer < 20; ++layer) speeds.learn(std::vector<Lap>{{100, 1.0}, {100, 2.0}});
  speeds.set_threads(2);
  EXPECT_GT(speeds.begin_of(1, 100), 50);
  speeds.set_threads(4);
  EXPECT_EQ(parts_of(speeds, 40), (std::vector<std::int64_t>{10, 10, 10, 10}));
}

}  // namespace
}  // namespace convnext
