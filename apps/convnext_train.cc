// convnext-train: what needs libtorch. `convnext` hands its training commands over to this program.
#include <fmt/format.h>
#include <malloc.h>

#include <cstdlib>
#include <string_view>

#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"

namespace convnext::apps {
namespace {

constexpr std::string_view kHelp =
    "convnext-train: the commands of ConvNeXt that need libtorch.\n"
    "\n"
    "  train   train a network on folders of pictures\n"
    "  eval    accuracy of a model by the libtorch network\n"
    "  pack    labelled pictures into tar shards\n"
    "\n"
    "Each has its own --help, with an example.\n";

ExitCode main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "train") return run_command([&] { return train_command(argc - 1, argv + 1); });
  if (command == "eval") return run_command([&] { return evaluate_command(argc - 1, argv + 1); });
  if (command == "pack") return run_command([&] { return pack_command(argc - 1, argv + 1); });
  if (command == "--help" || command == "-h") {
    print(kHelp);
    return kDone;
  }
  if (command == "--version") {
    print("convnext-train " CONVNEXT_VERSION "\n");
    return kDone;
  }
  report(command.empty() ? "a command is missing (see convnext-train --help)"
                         : fmt::format("there is no command '{}' here (see convnext-train --help)", command));
  return kWrongUsage;
}

}  // namespace
}  // namespace convnext::apps

int main(int argc, char** argv) {
  // A step makes and drops tensors of many megabytes. Given back to the system each time, their pages are faulted in
  // anew (docs/architecture.md). Who tunes glibc's allocator has the last word.
  if (!std::getenv("GLIBC_TUNABLES")) {
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 2047 << 20);
  }
  return convnext::apps::main(argc, argv);
}
