// Counts what the test program allocates: linking allocations.cc replaces operator new.
#pragma once

namespace convnext {

// Calls of operator new so far, of all threads.
long allocation_count();

}  // namespace convnext
