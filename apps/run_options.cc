#include "apps/run_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <sstream>

#include "apps/program.h"

namespace convnext::apps {

RunOptions::RunOptions(const RunSettings& settings)
    : milestones(text_of(settings.milestones)),
      weight_init(name_of(settings.weight_init)),
      optimizer(name_of(settings.optimizer)),
      schedule(name_of(settings.schedule)),
      layer_decay_grouping(name_of(settings.layer_decay_grouping)),
      precision(name_of(settings.precision)) {}

bool on_command_line(int argc, char** argv, std::string_view option) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == option || (argument.starts_with(option) && argument.substr(option.size()).starts_with('='))) {
      return true;
    }
  }
  return false;
}

// CLI11 writes the options that nobody gave and that have no default as empty texts, which it would not read back.
std::string recipe_of(const CLI::App& command) {
  std::istringstream all(command.config_to_str(/*default_also=*/true, /*write_description=*/false));
  std::string kept;
  for (std::string line; std::getline(all, line);) {
    if (!line.ends_with("=\"\"")) kept += line + '\n';
  }
  return kept;
}

std::vector<int> integers_from(const std::string& text, const std::string& option) {
  std::vector<int> numbers;
  std::istringstream all(text);
  for (std::string part; std::getline(all, part, ',');) {
    int number = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc() || end != part.data() + part.size()) {
      throw UsageError(fmt::format("{} is '{}': expected whole numbers with commas between them", option, text));
    }
    numbers.push_back(number);
  }
  return numbers;
}

std::string text_of(const std::vector<int>& numbers) { return fmt::format("{}", fmt::join(numbers, ",")); }

void add_run_folder_options(CLI::App& command, RunSettings& s, RunOptions& options) {
  command.add_option("--output", s.output, "Folder of the run: model, checkpoints, settings and log")
      ->configurable(false);
  options.resume_option =
      command
          .add_option("--resume", options.resume,
                      "Go on after a checkpoint: a FILE, or the newest whole one in --output (auto, or no value)")
          ->expected(0, 1)
          ->type_name("[FILE|auto]")
          ->configurable(false);
  command.add_flag("--dry-run", options.dry_run, "Say what the run would do, take a few steps to time them, and end")
      ->configurable(false);
  command.add_flag("--json", options.json, "Write the result as one JSON document to standard output")
      ->configurable(false);
  command.set_config("--config", "", "Recipe: a file of these options, without the dashes before them");
  command.allow_config_extras(CLI::config_extras_mode::error);
}

void add_card_options(CLI::App& command, RunSettings& s) {
  command.add_option("--data-note", s.data_note, "Which data this is, for the model's card");
  command.add_option("--license", s.license, "Of the model, as an SPDX name, for its card");
}

void add_initialisation_options(CLI::App& command, RunSettings& s, RunOptions& options) {
  command.add_option("--drop-path", s.drop_path, "Rate at which the last block's branch is dropped")
      ->capture_default_str();
  command
      .add_option("--weight-init", options.weight_init,
                  "Size of random weights: published (0.02) or fan_in (1 / sqrt of it: for short runs)")
      ->capture_default_str();
}

void add_schedule_options(CLI::App& command, RunSettings& s, RunOptions& options) {
  command.add_option("--epochs", s.epochs, "Times that every picture is seen")->capture_default_str();
  command.add_option("--warmup-epochs", s.warmup_epochs, "Epochs in which the learning rate rises")
      ->capture_default_str();
  command.add_option("--warmup-steps", s.warmup_steps, "Steps in which it rises, in place of whole epochs; 0: those")
      ->capture_default_str();
  command.add_option("--batch-size", s.batch_size, "Pictures at a time")->capture_default_str();
  command.add_option("--accumulate", s.accumulate, "Batches a step: the effective batch is this times --batch-size")
      ->capture_default_str();
  command.add_option("--schedule", options.schedule, "cosine or step")->capture_default_str();
  command.add_option("--step-epochs", s.step_epochs, "Epochs after which the learning rate steps down")
      ->capture_default_str();
  command
      .add_option("--milestones", options.milestones,
                  "Epochs after which it steps down, as 27,33, in place of every --step-epochs")
      ->capture_default_str();
  command.add_option("--step-factor", s.step_factor, "What a step down multiplies it by")->capture_default_str();
  command.add_option("--lr", s.lr, "Learning rate after the warm-up")->capture_default_str();
  command.add_option("--warmup-lr", s.warmup_lr, "Learning rate of the first step")->capture_default_str();
  command.add_option("--min-lr", s.min_lr, "Learning rate at the end of the cosine")->capture_default_str();
}

void add_optimizer_options(CLI::App& command, RunSettings& s, RunOptions& options) {
  command.add_option("--optimizer", options.optimizer, "adamw or sgd")->capture_default_str();
  command.add_option("--beta1", s.beta1, "AdamW's decay of the first moment")->capture_default_str();
  command.add_option("--beta2", s.beta2, "AdamW's decay of the second moment")->capture_default_str();
  command.add_option("--epsilon", s.epsilon, "AdamW's guard against a division by zero")->capture_default_str();
  command.add_option("--momentum", s.momentum, "SGD's")->capture_default_str();
  command.add_option("--weight-decay", s.weight_decay, "Of convolutions and linears")->capture_default_str();
  command.add_option("--weight-decay-end", s.weight_decay_end, "At the end of a cosine; otherwise it stays");
  command.add_flag("--decay-everything", s.decay_everything, "Decay biases, norms and layer scale too");
  command.add_option("--layer-decay", s.layer_decay, "Learning rate of a layer by that of the next one")
      ->capture_default_str();
  command
      .add_option("--layer-decay-grouping", options.layer_decay_grouping,
                  "What a layer is there: single (a block), grouped (three blocks of the third stage), tiny")
      ->capture_default_str();
  command.add_option("--clip-norm", s.clip_norm, "Largest norm of the gradient; 0: as it is")->capture_default_str();
  command.add_option("--ema-decay", s.ema_decay, "Decay of the weights' moving average a step; 0: none")
      ->capture_default_str();
  command.add_flag("--ema-warmup", s.ema_warmup, "Smaller decays of the average at first");
  command.add_option("--precision", options.precision, "fp32; bf16: by autocast, weights stay fp32")
      ->capture_default_str();
}

void add_machine_options(CLI::App& command, RunSettings& s, RunOptions& options) {
  command.add_option("--seed", s.seed, "Of weights, order and augmentation")->capture_default_str();
  add_device_options(command, options.device);
  command.add_option("--workers", s.workers, "Threads that prepare pictures")->capture_default_str();
  command.add_option("--checkpoint-minutes", s.checkpoint_minutes, "Time between checkpoints within an epoch")
      ->capture_default_str();
  command.add_option("--keep-checkpoints", s.keep_checkpoints, "The newest that are kept")->capture_default_str();
}

void take_run_options(const RunOptions& options, RunSettings& s) {
  s.device = options.device.device;
  s.threads = options.device.threads;
  s.resume = options.resume_option->count() > 0;
  if (s.resume && !options.resume.empty() && options.resume != "auto") s.resume_from = options.resume;
  if (s.output.empty() && !options.dry_run) throw UsageError("--output is missing: the folder of the run");
  s.milestones = integers_from(options.milestones, "--milestones");
  s.weight_init = weight_init_from_name(options.weight_init);
  s.optimizer = optimizer_from_name(options.optimizer);
  s.schedule = schedule_from_name(options.schedule);
  s.layer_decay_grouping = layer_grouping_from_name(options.layer_decay_grouping);
  s.precision = train_precision_from_name(options.precision);
}

}  // namespace convnext::apps
