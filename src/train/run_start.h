// Where a training run begins: at its beginning, or after a checkpoint.
#pragma once

#include <functional>
#include <string>

#include "train/run_folder.h"
#include "train/run_settings.h"

namespace convnext {

// What must be the same where a run goes on, as JSON objects.
struct RunIdentity {
  std::string settings;
  std::string card;
};

// With `settings.resume` the checkpoint is taken back into `parts`, and the log cut to it. `say` is told where the run
// goes on, which checkpoint was passed over, and what keeps the end from being that of the unbroken run bit for bit:
// other threads, instruction set, libtorch or device. Throws Error as RunFolder::restore().
RunPosition begin_run(RunFolder& folder, const RunSettings& settings, const RunIdentity& identity, int threads,
                      const RunParts& parts, const std::function<void(const std::string& line)>& say);

}  // namespace convnext
