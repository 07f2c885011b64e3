#include "apps/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "apps/terminal.h"
#include "convnext/error.h"

namespace convnext::apps {
namespace {

// What was written may still wait in a buffer: a full disk shows here.
ExitCode with_output_written(ExitCode code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  report("cannot write to standard output");
  return kFailed;
}

}  // namespace

void require_known_command(CLI::App& parser, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  const auto is_named = [argv](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (!parser.get_subcommands(is_named).empty()) return;
  throw UsageError(fmt::format("there is no command '{0}' (see {1} --help)", argv[1], parser.get_name()));
}

bool parse_command_line(CLI::App& parser, int argc, char** argv) {
  try {
    parser.parse(argc, argv);
    return true;
  } catch (const CLI::Success& asked) {  // --help, --version
    parser.exit(asked);
    return false;
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{} (see {} --help)", error.what(), parser.get_name()));
  }
}

ExitCode run_command(const Command& command) {
  try {
    return with_output_written(command());
  } catch (const UsageError& error) {
    report(error.what());
    return kWrongUsage;
  } catch (const Error& error) {
    report(error.what());
    return error.code() == ErrorCode::kNotInstalled ? kNotInstalled : kFailed;
  } catch (const std::bad_alloc&) {
    report("there is not enough memory");
    return kFailed;
  } catch (const std::exception& error) {
    report(error.what());
    return kFailed;
  }
}

}  // namespace convnext::apps
