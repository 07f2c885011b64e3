// convnext: ConvNeXt on pictures and model files, from a shell.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/detector_eval.h"
#include "apps/program.h"
#include "apps/program_backend.h"
#include "apps/training_program.h"

namespace convnext::apps {

std::unique_ptr<Backend> program_backend(const Card& card) {
  if (std::holds_alternative<ConvNextConfig>(card.network)) return make_cpu_backend();
  throw RunByTrainingProgram(fmt::format("'{}' is run", card.architecture));
}

ExitCode eval_detector(const DetectorEvalOptions& options) {
  throw RunByTrainingProgram(fmt::format("the detector '{}' is run", options.model));
}

namespace {

ExitCode main(int argc, char** argv) {
  if (argc > 1 && is_training_command(argv[1])) {
    return hand_over_to_training_program(argv, fmt::format("'{}' is done", argv[1]));
  }

  CLI::App program{"ConvNeXt on pictures and model files.", "convnext"};
  program.set_version_flag("--version", "convnext " CONVNEXT_VERSION);
  program.require_subcommand(1);
  program.footer(
      "Each command has its own --help, with an example. `convnext train` and `convnext pack` train, `convnext "
      "detect` finds objects, `convnext roadmap` and `convnext compare` show ConvNeXt beside other networks: these, "
      "and "
      "all that runs a network that is no ConvNeXt, are done by the program convnext-train, which takes the place of "
      "this one.");
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
  add_coco_eval(program, chosen);
  add_preprocess(program, chosen);
  add_run(program, chosen);
  add_bench(program, chosen);
  return run_command([&] {
    require_known_command(program, argc, argv);
    try {
      return parse_command_line(program, argc, argv) ? chosen() : kDone;
    } catch (const RunByTrainingProgram& needed) {
      return hand_over_to_training_program(argv, needed.what());
    }
  });
}

}  // namespace
}  // namespace convnext::apps

int main(int argc, char** argv) { return convnext::apps::main(argc, argv); }
