// convnext-train: what needs libtorch. `convnext` hands its training commands over to this program, and every command
// that runs a network which its engine does not run.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>

#include "apps/commands.h"
#include "apps/program.h"
#include "apps/program_backend.h"
#include "apps/train_command.h"
#include "nn/libtorch_backend.h"

namespace convnext::apps {

std::unique_ptr<Backend> program_backend(const Card& /*card*/) { return make_libtorch_backend(); }

namespace {

struct OwnCommand {
  std::string_view name;
  ExitCode (*run)(int argc, char** argv);
  const char* description;
};

constexpr std::array kOwnCommands = {
    OwnCommand{"train", train_command, "Train a network on folders of pictures"},
    OwnCommand{"detect", detect_command, "Find objects in pictures"},
    OwnCommand{"pack", pack_command, "Put labelled pictures into tar shards"},
    OwnCommand{"roadmap", roadmap_command, "The steps from ResNet to ConvNeXt, published and trained here"},
    OwnCommand{"compare", compare_command, "Networks side by side: cost, accuracy, speed"},
};

ExitCode main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  const auto own = std::ranges::find(kOwnCommands, name, &OwnCommand::name);
  if (own != kOwnCommands.end()) return run_command([&] { return own->run(argc - 1, argv + 1); });

  CLI::App program{"What needs libtorch: training, and networks of every family.", "convnext-train"};
  program.set_version_flag("--version", "convnext-train " CONVNEXT_VERSION);
  program.require_subcommand(1);
  program.footer(
      "Each command has its own --help, with an example. Those that `convnext` has too run the network by libtorch: a "
      "ConvNeXt to compare with the engine, all others because the engine does not run them.");
  // For the list of commands; they are chosen above.
  for (const OwnCommand& command : kOwnCommands) program.add_subcommand(std::string(command.name), command.description);
  Command chosen;
  add_init(program, chosen);
  add_verify(program, chosen);
  add_convert(program, chosen);
  add_classify(program, chosen);
  add_embed(program, chosen);
  add_eval(program, chosen);
  add_run(program, chosen);
  add_bench(program, chosen);
  return run_command([&] {
    require_known_command(program, argc, argv);
    return parse_command_line(program, argc, argv) ? chosen() : kDone;
  });
}

}  // namespace
}  // namespace convnext::apps

// A step makes and drops tensors of many megabytes and of ever other sizes. jemalloc, which this program is linked
// with, keeps them apart by size, and is told here to give nothing back to the system: pages would be faulted in anew
// in every step (docs/architecture.md). The environment's MALLOC_CONF has the last word.
extern "C" {
extern const char* const malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1";
}

int main(int argc, char** argv) { return convnext::apps::main(argc, argv); }
