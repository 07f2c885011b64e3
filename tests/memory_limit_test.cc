#include "core/memory_limit.h"

#include <gtest/gtest.h>

#include "tests/pictures.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

constexpr std::uint64_t kMachine = std::uint64_t{16384000} * 1024;

class MemoryLimit : public testing::Test {
 protected:
  void write(std::string_view name, std::string_view text) { write_bytes(root_ / name, text); }
  std::uint64_t limit() const { return memory_limit(root_.path()); }

  TemporaryFolder root_;
};

TEST_F(MemoryLimit, IsTheMachinesWithoutControlGroups) {
  EXPECT_EQ(limit(), 0u) << "when nothing tells";
  write("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n");
  EXPECT_EQ(limit(), kMachine);
}

TEST_F(MemoryLimit, IsTheSmallestOfTheGroupsOnTheWayUp) {
  write("proc/meminfo", "MemTotal:       16384000 kB\n");
  write("proc/self/cgroup", "0::/user/session\n");
  write("sys/fs/cgroup/user/session/memory.max", "max\n");
  EXPECT_EQ(limit(), kMachine);
  write("sys/fs/cgroup/user/memory.max", "1000000\n");
  EXPECT_EQ(limit(), 1000000u);
  write("sys/fs/cgroup/user/session/memory.max", "4000000\n");
  EXPECT_EQ(limit(), 1000000u);
}

TEST_F(MemoryLimit, ReadsVersionOneAndItsWordForNoLimit) {
  write("proc/meminfo", "MemTotal:       16384000 kB\n");
  write("proc/self/cgroup", "5:cpu:/a\n4:memory:/a\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(limit(), kMachine);
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000000\n");
  EXPECT_EQ(limit(), 5000000u);
}

}  // namespace
}  // namespace convnext
