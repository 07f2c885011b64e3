// convnext: ConvNeXt on pictures and model files, from a shell.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/program.h"
#include "apps/training_program.h"

namespace convnext::apps {
namespace {

ExitCode main(int argc, char** argv) {
  if (argc > 1 && is_training_command(argv[1])) return hand_over_to_training_program(argv);

  CLI::App program{"ConvNeXt on pictures and model files.", "convnext"};
  program.set_version_flag("--version", "convnext " CONVNEXT_VERSION);
  program.require_subcommand(1);
  program.footer(
      "Each command has its own --help, with an example. `convnext train` trains (done by the program "
      "convnext-train).");
  Command chosen;
  add_list(program, chosen);
  add_info(program, chosen);
  add_inspect(program, chosen);
  add_init(program, chosen);
  add_verify(program, chosen);
  add_convert(program, chosen);
  add_quantize(program, chosen);
  add_classify(program, chosen);
  add_embed(program, chosen);
  add_eval(program, chosen);
  add_preprocess(program, chosen);
  add_run(program, chosen);
  add_bench(program, chosen);
  return run_command([&] {
    // CLI11 would only say that a subcommand is required.
    const auto is_named = [argv](const CLI::App* command) { return command->get_name() == argv[1]; };
    if (argc > 1 && argv[1][0] != '-' && program.get_subcommands(is_named).empty()) {
      throw UsageError(fmt::format("there is no command '{}' (see convnext --help)", argv[1]));
    }
    return parse_command_line(program, argc, argv) ? chosen() : kDone;
  });
}

}  // namespace
}  // namespace convnext::apps

int main(int argc, char** argv) { return convnext::apps::main(argc, argv); }
