// convnext-train train: from a folder of pictures to a model file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <tuple>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "train/initialization.h"
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
  std::string crop_mode;
  std::string weight_init{name_of(WeightInit::kPublished)};
  std::string optimizer{name_of(OptimizerKind::kAdamW)};
  std::string schedule{name_of(ScheduleKind::kCosine)};
  std::string layer_decay_grouping{name_of(LayerGrouping::kGrouped)};
  std::string precision{name_of(TrainPrecision::kFp32)};
  std::string train_crop{name_of(TrainCrop::kShift)};
  std::string crop_scale = "0.08,1";
  std::string crop_ratio = "0.75,1.3333333333333333";
  std::string train_interpolation = "bicubic";
  std::string crop_fill{name_of(ShiftPadding::kBlack)};
  std::string flip_mode{name_of(FlipMode::kRandom)};
  std::string erasing_mode{name_of(EraseMode::kPixel)};
  std::string resume;
  CLI::Option* resume_option = nullptr;
  bool dry_run = false;
  bool json = false;
};

void add_run_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command
      .add_option("data", s.data,
                  "Folder that holds train, and val or test: a folder of pictures a class in each, or shards")
      ->required()
      ->configurable(false);
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
  command.add_option("--data-note", s.data_note, "Which data this is, for the model's card");
  command.add_option("--license", s.license, "Of the model, as an SPDX name, for its card");
  command.add_option("--hold-out", s.hold_out, "Part of train that is kept for validation where there is none")
      ->capture_default_str();
}

void add_model_settings(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command.add_option("--model", s.model,
                     "Registered network to begin from (convnext list; default: convnext_tiny, or that of --init)");
  add_network_options(command, options.network);
  add_resolution_option(command, options.resolution);
  command.add_option("--init", s.init, "Weights to begin from; the classifier is new where the classes are others");
  command.add_option("--crop-fraction", s.crop_fraction, "Of evaluation and the card: the part that the crop keeps");
  command.add_option("--crop-mode", options.crop_mode, "Of evaluation and the card: center or squash");
  command.add_option("--drop-path", s.drop_path, "Rate at which the last block's branch is dropped")
      ->capture_default_str();
  command
      .add_option("--weight-init", options.weight_init,
                  "Size of random weights: published (0.02) or fan_in (1 / sqrt of it: for short runs)")
      ->capture_default_str();
  command.add_option("--layer-scale-init", s.layer_scale_init, "Layer scale at the start")->capture_default_str();
  command.add_option("--head-init-scale", s.head_init_scale, "Multiplies the classifier at the start")
      ->capture_default_str();
  command.add_option("--freeze-stages", s.freeze_stages, "Leave the stem and this many stages as they are")
      ->capture_default_str();
}

void add_schedule_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command.add_option("--epochs", s.epochs, "Times that every picture is seen")->capture_default_str();
  command.add_option("--warmup-epochs", s.warmup_epochs, "Epochs in which the learning rate rises")
      ->capture_default_str();
  command.add_option("--batch-size", s.batch_size, "Pictures at a time")->capture_default_str();
  command.add_option("--accumulate", s.accumulate, "Batches a step: the effective batch is this times --batch-size")
      ->capture_default_str();
  command.add_option("--schedule", options.schedule, "cosine or step")->capture_default_str();
  command.add_option("--step-epochs", s.step_epochs, "Epochs after which the learning rate steps down")
      ->capture_default_str();
  command.add_option("--step-factor", s.step_factor, "What a step down multiplies it by")->capture_default_str();
  command.add_option("--lr", s.lr, "Learning rate after the warm-up")->capture_default_str();
  command.add_option("--warmup-lr", s.warmup_lr, "Learning rate of the first step")->capture_default_str();
  command.add_option("--min-lr", s.min_lr, "Learning rate at the end of the cosine")->capture_default_str();
}

void add_optimizer_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
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

void add_augmentation_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command.add_option("--label-smoothing", s.label_smoothing, "Part of the target spread over all classes")
      ->capture_default_str();
  command.add_option("--mixup", s.mixup, "Alpha of mixup; 0: none")->capture_default_str();
  command.add_option("--cutmix", s.cutmix, "Alpha of cutmix; 0: none")->capture_default_str();
  command.add_option("--mix-probability", s.mix_probability, "Part of the batches that are mixed")
      ->capture_default_str();
  command
      .add_option("--mix-switch-probability", s.mix_switch_probability, "Part of these by cutmix, where both are on")
      ->capture_default_str();
  command.add_option("--auto-augment", s.auto_augment, "RandAugment as timm writes it, rand-m9-mstd0.5-inc1; or none");
  command
      .add_option("--train-crop", options.train_crop,
                  "none: as in evaluation; shift: by --crop-padding at most; random_resized: by scale and ratio")
      ->capture_default_str();
  command.add_option("--crop-padding", s.crop_padding, "Pixels that shift moves at most; -1: resolution / 8")
      ->capture_default_str();
  command.add_option("--crop-fill", options.crop_fill, "What shift brings in: black or reflection")
      ->capture_default_str();
  command.add_option("--crop-scale", options.crop_scale, "random_resized: part of the area, least and most")
      ->capture_default_str();
  command.add_option("--crop-ratio", options.crop_ratio, "random_resized: width by height, least and most")
      ->capture_default_str();
  command
      .add_option("--train-interpolation", options.train_interpolation,
                  "random_resized and RandAugment: bicubic, bilinear or random")
      ->capture_default_str();
  command.add_option("--flip", s.augmentation.flip_probability, "Part of the pictures that are mirrored")
      ->capture_default_str();
  command.add_option("--flip-mode", options.flip_mode, "random; alternating: each picture every second epoch")
      ->capture_default_str();
  command
      .add_option("--color-jitter", s.augmentation.color_jitter,
                  "Change of brightness, contrast and saturation; not beside RandAugment")
      ->capture_default_str();
  command.add_option("--erasing", s.augmentation.erasing.probability, "Part of the pictures with an erased box")
      ->capture_default_str();
  command.add_option("--erasing-mode", options.erasing_mode, "What it holds: pixel (noise), rand (a colour), const")
      ->capture_default_str();
}

void add_machine_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command.add_option("--seed", s.seed, "Of weights, order and augmentation")->capture_default_str();
  add_device_options(command, options.device);
  command.add_option("--workers", s.workers, "Threads that prepare pictures")->capture_default_str();
  command.add_option("--cache-gigabytes", s.cache_gigabytes,
                     "Memory for decoded pictures (default: a quarter of the machine's)");
  command.add_option("--checkpoint-minutes", s.checkpoint_minutes, "Time between checkpoints within an epoch")
      ->capture_default_str();
  command.add_option("--keep-checkpoints", s.keep_checkpoints, "The newest that are kept")->capture_default_str();
  command.add_option("--reference-log", s.reference_log, "log.jsonl of another run: say where this one differs")
      ->configurable(false);
}

void add_options(CLI::App& command, Options& options) {
  add_run_options(command, options);
  add_model_settings(command, options);
  add_schedule_options(command, options);
  add_optimizer_options(command, options);
  add_augmentation_options(command, options);
  add_machine_options(command, options);
  command.footer(
      "Example: convnext train pictures --config recipes/cifar10.toml --output runs/first\n"
      "Options on the command line win over those of the recipe.");
}

// "0.08,1" as two numbers.
std::pair<double, double> range_from(const std::string& text, const std::string& option) {
  double low = 0, high = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lf,%lf%c", &low, &high, &rest) != 2) {
    throw UsageError(fmt::format("{} is '{}': expected two numbers with a comma between them", option, text));
  }
  return {low, high};
}

// The options as settings. Throws UsageError.
TrainSettings settings_from(Options& options) {
  TrainSettings s = options.settings;
  if (!s.model.empty()) architecture_named(s.model);
  s.overrides = options.network.overrides();
  s.resolution = options.resolution.value_or(0);
  s.device = options.device.device;
  s.threads = options.device.threads;
  s.resume = options.resume_option->count() > 0;
  if (s.resume && !options.resume.empty() && options.resume != "auto") s.resume_from = options.resume;
  if (s.output.empty() && !options.dry_run) throw UsageError("--output is missing: the folder of the run");
  Augmentation& a = s.augmentation;
  std::tie(a.resized_crop.min_area, a.resized_crop.max_area) = range_from(options.crop_scale, "--crop-scale");
  std::tie(a.resized_crop.min_aspect, a.resized_crop.max_aspect) = range_from(options.crop_ratio, "--crop-ratio");
  try {
    if (!options.crop_mode.empty()) s.crop_mode = crop_mode_from_name(options.crop_mode);
    s.weight_init = weight_init_from_name(options.weight_init);
    s.optimizer = optimizer_from_name(options.optimizer);
    s.schedule = schedule_from_name(options.schedule);
    s.layer_decay_grouping = layer_grouping_from_name(options.layer_decay_grouping);
    s.precision = train_precision_from_name(options.precision);
    a.crop = train_crop_from_name(options.train_crop);
    a.padding = shift_padding_from_name(options.crop_fill);
    a.flip_mode = flip_mode_from_name(options.flip_mode);
    a.erasing.mode = erase_mode_from_name(options.erasing_mode);
    a.interpolation = train_interpolation_from_name(options.train_interpolation);
    if (s.auto_augment == "none") s.auto_augment.clear();
    validate(s);
    if (s.init.empty()) card_of(s, {"a class"});
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return s;
}

std::string result_text(const char* name, const std::optional<EvaluationResult>& result) {
  return result ? fmt::format("  {} {}", name, format_percent(result->top1)) : std::string();
}

std::string epoch_line(const EpochReport& report) {
  const double left = report.seconds * (report.epochs - report.epoch);
  constexpr double kWorthSaying = 0.02;
  return fmt::format(
      "epoch {:>3}/{}  loss {:.4f}{}{}  lr {:.2e}  {:.0f} pictures/s{}  {}{}\n", report.epoch, report.epochs,
      report.train_loss, result_text("top-1", report.model), result_text("average", report.average), report.lr,
      report.pictures_per_second,
      report.waited > kWorthSaying ? fmt::format("  {:.0f} % waiting for data", 100 * report.waited) : "",
      format_duration(report.seconds), left > 0 ? "  " + format_duration(left) + " left" : "");
}

// Tells a person, or a log, how the run goes: lines as epochs end, and a bar within each on a terminal.
class Reporter {
 public:
  Reporter(const TrainSettings& settings, bool json) : batch_size_(settings.effective_batch()), json_(json) {}

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
    // A resumed epoch begins in its middle.
    const std::int64_t left = step.steps - step.step + 1;
    if (!bar_) bar_.emplace(Progress(fmt::format("pictures of epoch {}", step.epoch), left * batch_size_));
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

// Written by a signal's handler, which can reach nothing else.
volatile std::sig_atomic_t signal_received = 0;

// The first SIGINT or SIGTERM asks the run to save and stop; the second ends the process at once.
class StopSignals {
 public:
  StopSignals() {
    struct sigaction action {};
    action.sa_handler = [](int) { signal_received = 1; };
    action.sa_flags = SA_RESTART | SA_RESETHAND;
    for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  }
  bool received() const { return signal_received != 0; }
};

std::string gigabytes(std::uint64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

void print_plan(const TrainPlan& plan, const TrainSettings& settings) {
  using enum Table::Align;
  print(fmt::format("{} at {}: {} parameters{}, {:.3f} GMAC forward, {} classes\n", strong(plan.architecture),
                    plan.resolution, format_count(plan.params),
                    plan.frozen_params > 0 ? fmt::format(" ({} frozen)", format_count(plan.frozen_params)) : "",
                    plan.gmac, plan.classes));
  print(fmt::format("pictures         {} to learn from, {} held out\n", format_count(plan.train_pictures),
                    format_count(plan.held_out_pictures)));
  print(fmt::format("effective batch  {} = {} pictures x {} accumulated\n", plan.batch_size * plan.accumulate,
                    plan.batch_size, plan.accumulate));
  print(fmt::format("steps            {} = {} epochs x {}, {} of them warm-up\n", format_count(plan.steps),
                    settings.epochs, format_count(plan.steps_an_epoch),
                    format_count(plan.steps_an_epoch * settings.warmup_epochs)));
  print(fmt::format("memory           {} of state; {} in all after the steps that were timed\n",
                    gigabytes(plan.state_bytes), gigabytes(plan.resident_bytes)));
  print(fmt::format("time             {:.3f} s a step, {:.1f} pictures/s: {} for the run, without evaluation\n\n",
                    plan.seconds_a_step, plan.batch_size * plan.accumulate / plan.seconds_a_step,
                    format_duration(plan.estimated_seconds())));

  Table groups({{"parameter group"},
                {"weight decay", kRight},
                {"lr scale", kRight},
                {"tensors", kRight},
                {"parameters", kRight}});
  for (const TrainPlan::Group& group : plan.groups) {
    groups.add({group.name, fmt::format("{:g}", group.weight_decay), fmt::format("{:.4g}", group.lr_scale),
                format_count(group.tensors), format_count(group.params)});
  }
  print(groups.text() + "\n");

  constexpr int kBarWidth = 40;
  Table rates({{"epoch", kRight}, {"lr at its start", kRight}, {""}});
  // Every epoch of a short run; of a long one some thirty.
  const std::size_t stride = std::max<std::size_t>(1, plan.lr.size() / 30);
  for (std::size_t epoch = 0; epoch < plan.lr.size(); epoch += stride) {
    rates.add({std::to_string(epoch + 1), fmt::format("{:.3e}", plan.lr[epoch]),
               bar(plan.lr[epoch] / settings.lr, kBarWidth)});
  }
  print(rates.text());
}

nlohmann::ordered_json to_json(const TrainPlan& plan) {
  nlohmann::ordered_json json = {{"architecture", plan.architecture},
                                 {"resolution", plan.resolution},
                                 {"classes", plan.classes},
                                 {"params", plan.params},
                                 {"frozen_params", plan.frozen_params},
                                 {"gmac", plan.gmac},
                                 {"train_pictures", plan.train_pictures},
                                 {"held_out_pictures", plan.held_out_pictures},
                                 {"batch_size", plan.batch_size},
                                 {"accumulate", plan.accumulate},
                                 {"effective_batch", plan.batch_size * plan.accumulate},
                                 {"steps_an_epoch", plan.steps_an_epoch},
                                 {"steps", plan.steps},
                                 {"state_bytes", plan.state_bytes},
                                 {"resident_bytes", plan.resident_bytes},
                                 {"seconds_a_step", plan.seconds_a_step},
                                 {"estimated_seconds", plan.estimated_seconds()},
                                 {"lr", plan.lr},
                                 {"groups", nlohmann::ordered_json::array()}};
  for (const TrainPlan::Group& group : plan.groups) {
    json["groups"].push_back({{"name", group.name},
                              {"weight_decay", group.weight_decay},
                              {"lr_scale", group.lr_scale},
                              {"tensors", group.tensors},
                              {"params", group.params}});
  }
  return json;
}

ExitCode show_plan(const TrainSettings& settings, bool json) {
  const TrainCallbacks callbacks{.message = [](const std::string& line) { report(line); }};
  const TrainPlan plan = plan_training(settings, callbacks);
  if (json) {
    print_document(to_json(plan));
  } else {
    print_plan(plan, settings);
  }
  return kDone;
}

}  // namespace

ExitCode train_command(int argc, char** argv) {
  Options options;
  CLI::App command{"Train a network on folders of pictures.", "convnext train"};
  add_options(command, options);
  if (!parse_command_line(command, argc, argv)) return kDone;

  drop_network_of_recipe(argc, argv, options.network);
  const TrainSettings settings = settings_from(options);
  if (options.dry_run) return show_plan(settings, options.json);

  Reporter reporter(settings, options.json);
  const StopSignals signals;
  TrainCallbacks callbacks = reporter.callbacks();
  callbacks.should_stop = [&signals] { return signals.received(); };
  const RunEnd end = train(settings, settings_text(command), callbacks);
  const bool finished = end == RunEnd::kFinished;
  if (options.json) {
    nlohmann::ordered_json document = {
        {"output", settings.output.string()}, {"epochs", settings.epochs}, {"finished", finished}};
    if (const auto& last = reporter.last()) {
      document["train_loss"] = last->train_loss;
      document["model"] = to_json(last->model);
      document["average"] = to_json(last->average);
    }
    print_document(document);
  } else if (finished) {
    print(fmt::format("{} is the trained model\n", (settings.output / "model.safetensors").string()));
  }
  return finished ? kDone : kFailed;
}

}  // namespace convnext::apps
