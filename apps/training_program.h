// What `convnext` hands over to `convnext-train`: commands that it does not have, and networks that its engine does not
// run.
#pragma once

#include <string_view>

#include "apps/exit_code.h"

namespace convnext::apps {

bool is_training_command(std::string_view command);

// Becomes `convnext-train`, from the program's own folder or else from PATH, with the same arguments: one process,
// whose signals and exit code are its own. Returns only when there is none, having said how to get it, and what it is
// needed for: "'train' is done".
ExitCode hand_over_to_training_program(char** argv, std::string_view what);

}  // namespace convnext::apps
