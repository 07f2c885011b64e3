// What `convnext train` and `convnext roadmap` say while they train, and how they are asked to stop.
#pragma once

#include <optional>
#include <string>

#include "apps/terminal.h"
#include "train/trainer.h"

namespace convnext::apps {

// Tells a person, or a log, how the run goes: lines as epochs end, and a bar within each on a terminal.
class TrainReporter {
 public:
  // With `json` standard output is kept free for the document.
  explicit TrainReporter(bool json) : json_(json) {}

  TrainCallbacks callbacks();
  const std::optional<EpochReport>& last() const { return last_; }

 private:
  void say(const std::string& text);
  void advance(const StepReport& step);

  bool json_;
  std::optional<ProgressLine> bar_;
  std::optional<EpochReport> last_;
};

// The first SIGINT or SIGTERM asks the run to save and stop; the second ends the process at once.
class StopSignals {
 public:
  StopSignals();
  bool received() const;
};

}  // namespace convnext::apps
