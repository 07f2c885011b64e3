// How the programs end.
#pragma once

#include <stdexcept>

namespace convnext::apps {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,        // also when only some of the inputs failed
  kWrongUsage = 2,    // the command line cannot be right, whatever the files hold
  kNotInstalled = 3,  // needs a part that is not on this machine
};

// Thrown by commands for what is wrong with the command line; ends the program with kWrongUsage.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace convnext::apps
