// How much memory this process has had at once.
#pragma once

#include <cstdint>

namespace convnext {

// Bytes: the highest resident size (VmHWM) since the process began, or since the last reset that worked; 0 when the
// system does not tell.
std::uint64_t peak_memory();

// Lets peak_memory() begin again at the present size, without what the heap holds and nobody uses. False when the
// system does not allow it (Linux: "5" to /proc/self/clear_refs).
bool reset_peak_memory();

}  // namespace convnext
