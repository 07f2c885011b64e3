#include "apps/detection_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/program.h"
#include "apps/run_options.h"
#include "convnext/error.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"

namespace convnext::apps {
namespace {

struct Options {
  DetectionSettings settings;
  RunOptions run{settings};
  std::string short_sides = text_of(settings.augmentation.short_sides);
  std::string crop_short_sides = text_of(settings.augmentation.crop_short_sides);
  std::string crop_sizes = text_of({settings.augmentation.least_crop, settings.augmentation.largest_crop});
};

void add_data_options(CLI::App& command, DetectionSettings& s) {
  command.add_option("data", s.data, "COCO's JSON of the pictures to learn from")->required()->configurable(false);
  command.add_option("--pictures", s.pictures, "The folder that they lie in")->required()->configurable(false);
  command.add_option("--val", s.held_out, "COCO's JSON of the pictures to evaluate on")->configurable(false);
  command.add_option("--val-pictures", s.held_out_pictures, "The folder of those (default: --pictures)")
      ->configurable(false);
}

void add_model_settings(CLI::App& command, Options& options) {
  DetectionSettings& s = options.settings;
  command.add_option("--model", s.model,
                     "mask_rcnn_ or cascade_mask_rcnn_ before a network's name (default: the detector of --init)");
  command.add_option("--init", s.init, "Weights to begin from: of a backbone, or of a detector");
  add_file_limit_options(command, s.file_limits);
  command.add_option("--pyramid-channels", s.overrides.pyramid_channels,
                     "Channels of pyramid and heads, in place of 256");
  command.add_option("--box-hidden", s.overrides.box_hidden, "Width of the box heads' linears, in place of 1024");
  command.add_option("--anchor-scale", s.overrides.anchor_scale, "Side of an anchor, in strides, in place of 8");
  command.add_option("--anchor-samples", s.overrides.anchor_samples, "Anchors that a picture is learned from");
  command.add_option("--box-samples", s.overrides.box_samples, "Boxes that the heads learn a picture from");
  command.add_option("--proposals", s.overrides.proposals, "Boxes of a picture that reach the heads");
  command.add_option("--freeze-stages", s.freeze_stages, "Leave the backbone's stem and this many stages as they are")
      ->capture_default_str();
  add_initialisation_options(command, s, options.run);
}

void add_picture_options(CLI::App& command, Options& options) {
  DetectionAugmentation& a = options.settings.augmentation;
  command.add_option("--short-side", options.settings.short_side, "Of evaluation and the card: pixels at most")
      ->capture_default_str();
  command.add_option("--long-side", options.settings.long_side, "The same of the long side")->capture_default_str();
  command.add_option("--flip", a.flip_probability, "Part of the pictures that are mirrored")->capture_default_str();
  command.add_option("--train-short-sides", options.short_sides, "Short sides of which training draws one")
      ->capture_default_str();
  command.add_option("--train-long-side", a.long_side, "Long side in training, at most")->capture_default_str();
  command.add_option("--crop-probability", a.crop_probability, "Part of the pictures of which a part is cut out first")
      ->capture_default_str();
  command
      .add_option("--crop-short-sides", options.crop_short_sides, "Short sides of the picture that it is cut out of")
      ->capture_default_str();
  command.add_option("--crop-sizes", options.crop_sizes, "Sides of the part, least and most")->capture_default_str();
  command
      .add_option("--evaluation-epochs", options.settings.evaluation_epochs, "Epochs from one evaluation to the next")
      ->capture_default_str();
}

// The options as settings. Throws UsageError.
DetectionSettings settings_from(Options& options) {
  DetectionSettings s = options.settings;
  DetectionAugmentation& a = s.augmentation;
  a.short_sides = integers_from(options.short_sides, "--train-short-sides");
  a.crop_short_sides = integers_from(options.crop_short_sides, "--crop-short-sides");
  const std::vector<int> crop = integers_from(options.crop_sizes, "--crop-sizes");
  if (crop.size() != 2) throw UsageError(fmt::format("--crop-sizes is '{}': expected two numbers", options.crop_sizes));
  a.least_crop = crop[0];
  a.largest_crop = crop[1];
  try {
    take_run_options(options.run, s);
    validate(s);
    if (!s.model.empty()) with_overrides(detector_named(s.model).config, s.overrides);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return s;
}

}  // namespace

bool is_about_detector(int argc, char** argv) {
  std::string model, init;
  FileLimits file_limits;
  CLI::App line;
  line.set_help_flag();
  line.allow_extras();
  line.add_option("--model", model);
  line.add_option("--init", init);
  add_file_limit_options(line, file_limits);
  line.set_config("--config");
  line.allow_config_extras(CLI::config_extras_mode::ignore_all);
  try {
    line.parse(argc, argv);
    if (!model.empty()) return model.starts_with("mask_rcnn") || model.starts_with("cascade_mask_rcnn");
    return !init.empty() && holds_detector(init, {.limits = file_limits});
  } catch (const CLI::ParseError&) {
    return false;  // what is wrong with the line is said by who reads it whole
  }
}

std::optional<DetectionRequest> read_detection_request(int argc, char** argv) {
  Options options;
  CLI::App command{"Train a detector on pictures with COCO's annotations.", "convnext train"};
  DetectionSettings& s = options.settings;
  add_data_options(command, s);
  add_run_folder_options(command, s, options.run);
  add_card_options(command, s);
  add_model_settings(command, options);
  add_schedule_options(command, s, options.run);
  add_optimizer_options(command, s, options.run);
  add_picture_options(command, options);
  add_machine_options(command, s, options.run);
  command.footer(
      "Example: convnext train instances_train.json --pictures train --val instances_val.json --val-pictures val \\\n"
      "             --config recipes/mask_rcnn_convnext_tiny.toml --init convnext_tiny.safetensors --output "
      "runs/first\n"
      "Options on the command line win over those of the recipe.");
  if (!parse_command_line(command, argc, argv)) return std::nullopt;
  return DetectionRequest{settings_from(options), recipe_of(command), options.run.dry_run, options.run.json};
}

}  // namespace convnext::apps
