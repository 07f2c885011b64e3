// The commands that `convnext-train` alone has, each with a parser of its own: a recipe file belongs to one command.
#pragma once

#include "apps/exit_code.h"

namespace convnext::apps {

// `argv[0]` is the command's name. Throw UsageError or Error.
ExitCode train_command(int argc, char** argv);
ExitCode detect_command(int argc, char** argv);
ExitCode pack_command(int argc, char** argv);
ExitCode roadmap_command(int argc, char** argv);
ExitCode compare_command(int argc, char** argv);

}  // namespace convnext::apps
