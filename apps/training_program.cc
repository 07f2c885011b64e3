#include "apps/training_program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "apps/options.h"
#include "apps/terminal.h"

namespace convnext::apps {
namespace {

constexpr const char* kProgram = "convnext-train";
constexpr std::array<std::string_view, 6> kCommands = {"train", "pack", "roadmap", "compare", "detect", "segment"};

}  // namespace

bool is_training_command(std::string_view command) { return std::ranges::find(kCommands, command) != kCommands.end(); }

ExitCode hand_over_to_training_program(char** argv, std::string_view what) {
  std::string beside = (program_folder() / kProgram).string();
  argv[0] = beside.data();
  ::execv(beside.c_str(), argv);
  const int error_beside = errno;
  std::string name = kProgram;
  argv[0] = name.data();
  ::execvp(kProgram, argv);
  const int error = error_beside == ENOENT ? errno : error_beside;
  if (error != ENOENT) {
    report(fmt::format("{} by the program {}, which cannot be started: {}", what, kProgram, std::strerror(error)));
    return kNotInstalled;
  }
  report(
      fmt::format("{} by the program {}, which is neither in '{}' nor in PATH: build it with `make`, or with CMake and "
                  "-DCONVNEXT_TRAIN=ON, and install it beside this program",
                  what, kProgram, program_folder().string()));
  return kNotInstalled;
}

}  // namespace convnext::apps
