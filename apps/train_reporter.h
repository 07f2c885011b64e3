// What `convnext train` and `convnext roadmap` say while they train, and how they are asked to stop.
#pragma once

#include <optional>
#include <string>

#include "apps/terminal.h"
#include "detect/detector_trainer.h"
#include "train/trainer.h"

namespace convnext::apps {

// Tells a person, or a log, how the run goes: lines as epochs end, and a bar within each on a terminal.
class TrainReporter {
 public:
  // With `json` standard output is kept free for the document.
  explicit TrainReporter(bool json) : json_(json) {}

  TrainCallbacks callbacks();
  DetectionCallbacks detection_callbacks();
  const std::optional<EpochReport>& last() const { return last_; }
  const std::optional<DetectionEpochReport>& last_detection() const { return last_detection_; }

 private:
  void say(const std::string& text);
  void advance(const StepReport& step);
  void advance_evaluation(std::int64_t pictures, std::int64_t all);

  bool json_;
  std::optional<ProgressLine> bar_;
  std::int64_t evaluated_ = 0;  // pictures that the bar of an evaluation shows
  std::optional<EpochReport> last_;
  std::optional<DetectionEpochReport> last_detection_;
};

// The first SIGINT or SIGTERM asks the run to save and stop; the second ends the process at once.
class StopSignals {
 public:
  StopSignals();
  bool received() const;
};

}  // namespace convnext::apps
