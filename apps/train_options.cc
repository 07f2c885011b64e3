#include "apps/train_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <tuple>

#include "apps/options.h"
#include "apps/program.h"
#include "apps/run_options.h"
#include "convnext/error.h"
#include "train/initialization.h"

namespace convnext::apps {
namespace {

struct Options {
  TrainSettings settings;
  NetworkOptions network;
  std::optional<int> resolution;
  RunOptions run{settings};
  std::string crop_mode;
  std::string train_crop{name_of(TrainCrop::kShift)};
  std::string crop_scale = "0.08,1";
  std::string crop_ratio = "0.75,1.3333333333333333";
  std::string train_interpolation = "bicubic";
  std::string crop_fill{name_of(ShiftPadding::kBlack)};
  std::string flip_mode{name_of(FlipMode::kRandom)};
  std::string erasing_mode{name_of(EraseMode::kPixel)};
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

void add_data_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  command
      .add_option("data", s.data,
                  "Folder that holds train, and val or test: a folder of pictures a class in each, or shards")
      ->required()
      ->configurable(false);
  command.add_option("--val", s.held_out, "Folder that holds val or test, or is such a one, where data does not")
      ->configurable(false);
  add_run_folder_options(command, s, options.run);
  add_card_options(command, s);
  command.add_option("--hold-out", s.hold_out, "Part of train that is kept for validation where there is none")
      ->capture_default_str();
}

void add_model_settings(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  s.model.clear();  // unless it is given, that of --init
  command.add_option("--model", s.model,
                     "Registered network to begin from (convnext list; default: convnext_tiny, or that of --init)");
  add_network_options(command, options.network);
  command.add_option("--width-divisor", s.width_divisor, "Train the network with its channels divided by this")
      ->capture_default_str();
  add_resolution_option(command, options.resolution);
  command.add_option("--init", s.init, "Weights to begin from; the classifier is new where the classes are others");
  add_file_limit_options(command, s.file_limits);
  command.add_option("--crop-fraction", s.crop_fraction, "Of evaluation and the card: the part that the crop keeps");
  command.add_option("--crop-mode", options.crop_mode, "Of evaluation and the card: center or squash");
  add_initialisation_options(command, s, options.run);
  command.add_option("--layer-scale-init", s.layer_scale_init, "Layer scale at the start")->capture_default_str();
  command.add_option("--head-init-scale", s.head_init_scale, "Multiplies the classifier at the start")
      ->capture_default_str();
  command.add_option("--dropout", s.dropout, "Rate at which the classifier misses a feature")->capture_default_str();
  command.add_option("--freeze-stages", s.freeze_stages, "Leave the stem and this many stages as they are")
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

void add_options(CLI::App& command, Options& options) {
  TrainSettings& s = options.settings;
  add_data_options(command, options);
  add_model_settings(command, options);
  add_schedule_options(command, s, options.run);
  add_optimizer_options(command, s, options.run);
  add_augmentation_options(command, options);
  add_machine_options(command, s, options.run);
  command.add_option("--cache-gigabytes", s.cache_gigabytes,
                     "Memory for decoded pictures (default: a quarter of the machine's)");
  command.add_option("--reference-log", s.reference_log, "log.jsonl of another run: say where this one differs")
      ->configurable(false);
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
  Augmentation& a = s.augmentation;
  std::tie(a.resized_crop.min_area, a.resized_crop.max_area) = range_from(options.crop_scale, "--crop-scale");
  std::tie(a.resized_crop.min_aspect, a.resized_crop.max_aspect) = range_from(options.crop_ratio, "--crop-ratio");
  try {
    take_run_options(options.run, s);
    if (!options.crop_mode.empty()) s.crop_mode = crop_mode_from_name(options.crop_mode);
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
  return TrainRequest{settings_from(options), recipe_of(command), options.run.dry_run, options.run.json};
}

std::optional<TrainRequest> read_train_request(const std::vector<std::string>& arguments) {
  std::string name = "train";
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv = {name.data()};
  for (std::string& argument : copies) argv.push_back(argument.data());
  return read_train_request(static_cast<int>(argv.size()), argv.data());
}

}  // namespace convnext::apps
