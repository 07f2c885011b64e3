#include "apps/train_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <sstream>
#include <string_view>
#include <tuple>

#include "apps/options.h"
#include "apps/program.h"
#include "convnext/error.h"
#include "train/initialization.h"

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

// --model on the command line replaces the recipe's network whole: what the recipe says of its shape goes with it.
void drop_network_of_recipe(int argc, char** argv, Options& options) {
  if (!on_command_line(argc, argv, "--model")) return;
  NetworkOptions& network = options.network;
  if (!on_command_line(argc, argv, "--depths")) network.depths.clear();
  if (!on_command_line(argc, argv, "--dims")) network.dims.clear();
  if (!on_command_line(argc, argv, "--kernel-size")) network.kernel_sizes.clear();
  if (!on_command_line(argc, argv, "--patch-size")) network.patch_size.reset();
  if (!on_command_line(argc, argv, "--classes")) network.classes.reset();
  if (!on_command_line(argc, argv, "--input-channels")) network.input_channels.reset();
  if (!on_command_line(argc, argv, "--width-divisor")) options.settings.width_divisor = 1;
}

void add_run_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command
      .add_option("data", s.data,
                  "Folder that holds train, and val or test: a folder of pictures a class in each, or shards")
      ->required()
      ->configurable(false);
  command.add_option("--val", s.held_out, "Folder that holds val or test, or is such a one, where data does not")
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
  command.add_option("--width-divisor", s.width_divisor, "Train the network with its channels divided by this")
      ->capture_default_str();
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

}  // namespace

std::optional<TrainRequest> read_train_request(int argc, char** argv) {
  Options options;
  CLI::App command{"Train a network on folders of pictures.", "convnext train"};
  add_options(command, options);
  if (!parse_command_line(command, argc, argv)) return std::nullopt;
  drop_network_of_recipe(argc, argv, options);
  return TrainRequest{settings_from(options), settings_text(command), options.dry_run, options.json};
}

std::optional<TrainRequest> read_train_request(const std::vector<std::string>& arguments) {
  std::string name = "train";
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv = {name.data()};
  for (std::string& argument : copies) argv.push_back(argument.data());
  return read_train_request(static_cast<int>(argv.size()), argv.data());
}

}  // namespace convnext::apps
