// convnext-train train: from a folder of pictures to a model file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "train/trainer.h"

namespace convnext::apps {
namespace {

bool on_command_line(int argc, char** argv, std::string_view option) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == option || (argument.starts_with(option) && argument.substr(option.size()).starts_with('='))) {
      return true;
    }
  }
  return false;
}

// --model on the command line replaces the recipe's network whole: what the recipe says of its shape goes with it.
void drop_network_of_recipe(int argc, char** argv, NetworkOptions& network) {
  if (!on_command_line(argc, argv, "--model")) return;
  if (!on_command_line(argc, argv, "--depths")) network.depths.clear();
  if (!on_command_line(argc, argv, "--dims")) network.dims.clear();
  if (!on_command_line(argc, argv, "--kernel-size")) network.kernel_sizes.clear();
  if (!on_command_line(argc, argv, "--patch-size")) network.patch_size.reset();
  if (!on_command_line(argc, argv, "--classes")) network.classes.reset();
  if (!on_command_line(argc, argv, "--input-channels")) network.input_channels.reset();
}

// The options in effect as a recipe. CLI11 writes those that nobody gave and that have no default as empty texts, which
// it would not read back.
std::string settings_text(const CLI::App& command) {
  std::istringstream all(command.config_to_str(/*default_also=*/true, /*write_description=*/false));
  std::string kept;
  for (std::string line; std::getline(all, line);) {
    if (!line.ends_with("=\"\"")) kept += line + '\n';
  }
  return kept;
}

struct Options {
  TrainSettings settings;
  NetworkOptions network;
  std::optional<int> resolution;
  DeviceOptions device;
  bool no_flip = false;
  bool json = false;
};

void add_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command.add_option("data", s.data, "Folder that holds train, and val or test: a folder of pictures a class in each")
      ->required()
      ->configurable(false);
  command.add_option("--output", s.output, "Folder of the run: model, checkpoints, settings and log")
      ->required()
      ->configurable(false);
  command.add_flag("--resume", s.resume, "Go on after the newest checkpoint in --output")->configurable(false);
  command.add_flag("--json", options.json, "Write the result as one JSON document to standard output")
      ->configurable(false);
  command.set_config("--config", "", "Recipe: a file of these options, without the dashes before them");
  command.allow_config_extras(CLI::config_extras_mode::error);

  command.add_option("--model", s.model, "Registered network to begin from (convnext list)")->capture_default_str();
  add_network_options(command, options.network);
  add_resolution_option(command, options.resolution);
  command.add_option("--data-note", s.data_note, "Which data this is, for the model's card");

  command.add_option("--epochs", s.epochs, "Times that every picture is seen")->capture_default_str();
  command.add_option("--warmup-epochs", s.warmup_epochs, "Epochs in which the learning rate rises")
      ->capture_default_str();
  command.add_option("--batch-size", s.batch_size, "Pictures a step")->capture_default_str();
  command.add_option("--lr", s.lr, "Learning rate after the warm-up")->capture_default_str();
  command.add_option("--min-lr", s.min_lr, "Learning rate at the end")->capture_default_str();
  command.add_option("--weight-decay", s.weight_decay, "Of convolutions and linears")->capture_default_str();
  command.add_option("--label-smoothing", s.label_smoothing, "Part of the target spread over all classes")
      ->capture_default_str();
  command.add_option("--drop-path", s.drop_path, "Rate at which the last block's branch is dropped")
      ->capture_default_str();
  command.add_option("--layer-scale-init", s.layer_scale_init, "Layer scale at the start")->capture_default_str();
  command.add_option("--head-init-scale", s.head_init_scale, "Multiplies the classifier at the start")
      ->capture_default_str();
  command.add_option("--ema-decay", s.ema_decay, "Decay of the weights' moving average a step; 0: none")
      ->capture_default_str();
  command.add_flag("--no-flip", options.no_flip, "Leave pictures as they are; otherwise every second one is mirrored");
  command.add_option("--crop-padding", s.crop_padding, "Pixels that a picture is moved at most; -1: resolution / 8")
      ->capture_default_str();

  command.add_option("--seed", s.seed, "Of weights, order and augmentation")->capture_default_str();
  add_device_options(command, options.device);
  command.add_option("--workers", s.workers, "Threads that prepare pictures")->capture_default_str();
  command.footer(
      "Example: convnext train pictures --config recipes/cifar10.toml --output runs/first\n"
      "Options on the command line win over those of the recipe.");
}

std::string result_text(const char* name, const std::optional<EvaluationResult>& result) {
  return result ? fmt::format("  {} {}", name, format_percent(result->top1)) : std::string();
}

std::string epoch_line(const EpochReport& report) {
  const double left = report.seconds * (report.epochs - report.epoch);
  return fmt::format("epoch {:>3}/{}  loss {:.4f}{}{}  lr {:.2e}  {:.0f} pictures/s  {}{}\n", report.epoch,
                     report.epochs, report.train_loss, result_text("top-1", report.model),
                     result_text("average", report.average), report.lr, report.pictures_per_second,
                     format_duration(report.seconds), left > 0 ? "  " + format_duration(left) + " left" : "");
}

// Tells a person, or a log, how the run goes: lines as epochs end, and a bar within each on a terminal.
class Reporter {
 public:
  Reporter(const TrainSettings& settings, bool json) : batch_size_(settings.batch_size), json_(json) {}

  TrainCallbacks callbacks() {
    return {.message = [this](const std::string& line) { say(line + "\n"); },
            .step = [this](const StepReport& step) { advance(step); },
            .epoch =
                [this](const EpochReport& report) {
                  bar_.reset();
                  say(epoch_line(report));
                  last_ = report;
                }};
  }

  const std::optional<EpochReport>& last() const { return last_; }

 private:
  void say(const std::string& text) {
    if (bar_) bar_->clear();
    if (json_) {
      std::fputs(text.c_str(), stderr);
    } else {
      print(text);
      std::fflush(stdout);
    }
  }

  void advance(const StepReport& step) {
    if (!bar_) bar_.emplace(Progress(fmt::format("pictures of epoch {}", step.epoch), step.steps * batch_size_));
    bar_->advance(batch_size_);
  }

  std::int64_t batch_size_;
  bool json_;
  std::optional<ProgressLine> bar_;
  std::optional<EpochReport> last_;
};

nlohmann::ordered_json to_json(const std::optional<EvaluationResult>& result) {
  if (!result) return nullptr;
  return {{"top1", result->top1}, {"top5", result->top5}, {"loss", result->loss}};
}

}  // namespace

ExitCode train_command(int argc, char** argv) {
  Options options;
  CLI::App command{"Train a network on folders of pictures.", "convnext train"};
  add_options(command, options);
  if (!parse_command_line(command, argc, argv)) return kDone;

  drop_network_of_recipe(argc, argv, options.network);
  TrainSettings& settings = options.settings;
  architecture_named(settings.model);
  settings.overrides = options.network.overrides();
  settings.resolution = options.resolution.value_or(0);
  require_cpu(options.device);
  settings.threads = options.device.threads;
  settings.flip = !options.no_flip;

  try {
    validate(settings);
    card_of(settings, {"a class"});
  } catch (const Error& error) {
    throw UsageError(error.what());
  }

  Reporter reporter(settings, options.json);
  train(settings, settings_text(command), reporter.callbacks());
  if (options.json) {
    nlohmann::ordered_json document = {{"output", settings.output.string()}, {"epochs", settings.epochs}};
    if (const auto& last = reporter.last()) {
      document["train_loss"] = last->train_loss;
      document["model"] = to_json(last->model);
      document["average"] = to_json(last->average);
    }
    print_document(document);
  } else {
    print(fmt::format("{} is the trained model\n", (settings.output / "model.safetensors").string()));
  }
  return kDone;
}

}  // namespace convnext::apps
