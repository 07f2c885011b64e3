#include "train/run_start.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include "kernels/isa.h"

namespace convnext {
namespace {

// What may make the last bits differ from those of the unbroken run; empty when nothing does.
std::string environment_change(const TrainEnvironment& before, const TrainEnvironment& now) {
  std::string changes;
  const auto compare = [&](const char* what, const std::string& old, const std::string& current) {
    if (old == current) return;
    changes += fmt::format("{}{} {} in place of {}", changes.empty() ? "" : ", ", what, current, old);
  };
  compare("threads:", std::to_string(before.threads), std::to_string(now.threads));
  compare("instruction set", before.isa, now.isa);
  compare("libtorch", before.libtorch, now.libtorch);
  compare("device", before.device, now.device);
  return changes;
}

}  // namespace

RunPosition begin_run(RunFolder& folder, const RunSettings& settings, const RunIdentity& identity, int threads,
                      const RunParts& parts, const std::function<void(const std::string& line)>& say) {
  const auto tell = [&say](const std::string& line) {
    if (say) say(line);
  };
  RunPosition position;
  position.settings = identity.settings;
  position.card = identity.card;
  position.environment = {.threads = threads,
                          .isa = std::string(name_of(supported_isas().front())),
                          .libtorch = TORCH_VERSION,
                          .device = settings.device};
  if (!settings.resume) return position;
  std::string skipped;
  const auto restored = folder.restore(settings.resume_from, position, parts, skipped);
  if (!skipped.empty()) tell("passed over a damaged checkpoint: " + skipped);
  if (!restored) {
    tell("no checkpoint yet: the run begins at the beginning");
    folder.cut_log(0);
    return position;
  }
  folder.cut_log(restored->steps);
  if (restored->epochs_done < settings.epochs) {
    tell(restored->steps_of_epoch == 0
             ? fmt::format("going on after epoch {}", restored->epochs_done)
             : fmt::format("going on after step {} of epoch {}", restored->steps_of_epoch, restored->epochs_done + 1));
  }
  const std::string change = environment_change(restored->environment, position.environment);
  if (!change.empty()) tell("the run will not end bit for bit as it would have: it goes on with " + change);
  RunPosition result = *restored;
  result.environment = position.environment;
  return result;
}

}  // namespace convnext
