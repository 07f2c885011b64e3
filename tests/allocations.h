// Counts what the test program allocates: linking allocations.cc puts itself before malloc(), its relatives and mmap().
#pragma once

namespace convnext {

// Calls so far, of all threads. Under a sanitizer those of operator new only.
long allocation_count();

}  // namespace convnext
