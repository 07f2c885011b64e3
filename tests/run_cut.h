// Training runs that are ended before their time, and begun again.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/file.h"

namespace convnext {

struct Cut {
  int after_epoch = 0;  // ends the run there, as a crash would; 0: it is not cut
  int after_steps = 0;  // asks it to stop there, as SIGTERM does
  bool resume = false;
};

// Runs `train`(settings, callbacks) into `folder`, and notes what it tells and how it ends. The result are the bytes of
// the model; empty when there is none yet.
template <typename Callbacks, typename Settings, typename Report, typename End, typename Train>
std::string train_until(const Cut& cut, const std::filesystem::path& folder, Settings& settings, std::string& messages,
                        std::vector<Report>& reports, End& end, const Train& train) {
  settings.output = folder;
  settings.resume = cut.resume;
  struct Crash {};
  int steps = 0;
  Callbacks callbacks;
  callbacks.message = [&messages](const std::string& line) { messages += line + "\n"; };
  callbacks.epoch = [&](const Report& report) {
    reports.push_back(report);
    if (report.epoch == cut.after_epoch) throw Crash();
  };
  callbacks.should_stop = [&] { return ++steps == cut.after_steps; };
  try {
    end = train(settings, callbacks);
  } catch (const Crash&) {
  }
  const std::filesystem::path model = folder / "model.safetensors";
  return std::filesystem::exists(model) ? read_text(model) : std::string();
}

}  // namespace convnext
