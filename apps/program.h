// What the two programs share: reading a command line, and turning whatever goes wrong into a message and an exit code.
#pragma once

#include <functional>

#include "apps/exit_code.h"

namespace CLI {
class App;
}

namespace convnext::apps {

using Command = std::function<ExitCode()>;

// Throws UsageError when the line begins with a word that is no command of `parser`: CLI11 would only say that one is
// required.
void require_known_command(CLI::App& parser, int argc, char** argv);

// False when the line only asked for help or the version, which then has been printed. Throws UsageError.
bool parse_command_line(CLI::App& parser, int argc, char** argv);

// Runs it, reports what it throws on standard error, and sees to it that all output was written.
ExitCode run_command(const Command& command);

}  // namespace convnext::apps
