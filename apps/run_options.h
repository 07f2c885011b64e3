// The options of a training run that do not depend on what is learned.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/options.h"
#include "train/run_settings.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace convnext::apps {

// What CLI11 reads as text, and what is not a setting.
struct RunOptions {
  DeviceOptions device;
  std::string milestones;
  std::string weight_init, optimizer, schedule, layer_decay_grouping, precision;
  std::string resume;
  CLI::Option* resume_option = nullptr;
  bool dry_run = false;
  bool json = false;

  // Begins with the settings' own values.
  explicit RunOptions(const RunSettings& settings);
};

// --output, --resume, --dry-run, --json and --config.
void add_run_folder_options(CLI::App& command, RunSettings& settings, RunOptions& options);
// --data-note and --license.
void add_card_options(CLI::App& command, RunSettings& settings);
void add_initialisation_options(CLI::App& command, RunSettings& settings, RunOptions& options);
void add_schedule_options(CLI::App& command, RunSettings& settings, RunOptions& options);
void add_optimizer_options(CLI::App& command, RunSettings& settings, RunOptions& options);
void add_machine_options(CLI::App& command, RunSettings& settings, RunOptions& options);

// What was read as text becomes settings. Throws UsageError without --output where a run needs one, and Error for names
// that are none.
void take_run_options(const RunOptions& options, RunSettings& settings);

// The options in effect as a recipe, which `--config` takes back.
std::string recipe_of(const CLI::App& command);

bool on_command_line(int argc, char** argv, std::string_view option);

// "480,512" as whole numbers. Throws UsageError, naming the option.
std::vector<int> integers_from(const std::string& text, const std::string& option);
std::string text_of(const std::vector<int>& numbers);

}  // namespace convnext::apps
