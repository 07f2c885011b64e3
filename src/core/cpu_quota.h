// How many CPUs the control groups of this process allow it, in containers and under systemd.
#pragma once

#include <filesystem>
#include <optional>

namespace convnext {

// The smallest CPU quota on the way from the process's control group to the top, in CPUs (1.5 is possible); none when
// nothing limits it. Reads version 2 (cpu.max) and version 1 (cpu.cfs_quota_us) below `root`/proc/self/cgroup and
// `root`/sys/fs/cgroup; `root` other than "/" is for tests.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& root = "/");

}  // namespace convnext
