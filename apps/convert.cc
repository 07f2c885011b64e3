#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/thread_pool.h"
#include "engine/verify.h"
#include "model/checkpoint.h"
#include "model/class_matching.h"
#include "model/detector_checkpoint.h"

namespace convnext::apps {
namespace {

const std::map<std::string, DType>& storage_types() {
  static const std::map<std::string, DType> types = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}};
  return types;
}

struct ConvertOptions {
  std::string model;
  std::string architecture;
  std::string layout = "own";
  std::string dtype = "f32";
  TensorFileOptions file_options;
  std::string output;
  std::string license;
  PreprocessingOptions preprocessing;
  DetectedSizeOptions size;
  std::string labels;
  int threads = 0;
  bool json = false;
};

void require_place_for_card(const ConvertOptions& options) {
  const bool sets_card =
      !options.labels.empty() || !options.license.empty() || options.preprocessing.any() || options.size.any();
  if (!sets_card || !is_pytorch_output(options.output)) return;
  throw UsageError(
      fmt::format("'{}' is a PyTorch file, which holds no card for --labels, --license and the options of "
                  "preprocessing and of sizes: write safetensors, or leave them out",
                  options.output));
}

// What has been written, as it is said.
struct Written {
  std::string architecture;
  std::string precision;
  std::string_view layout;
  std::uint64_t weight_bytes = 0;
};

void print_written(const ConvertOptions& options, const Written& written) {
  if (options.json) {
    print_document(nlohmann::ordered_json({{"file", options.output},
                                           {"architecture", written.architecture},
                                           {"layout", written.layout},
                                           {"precision", written.precision},
                                           {"weight_bytes", written.weight_bytes}}));
  } else {
    print(fmt::format("{}: {} in {}, layout {}, {}\n", options.output, written.architecture, written.precision,
                      written.layout, format_bytes(written.weight_bytes)));
  }
}

void report_lost_card(const ConvertOptions& options, std::string_view what) {
  if (!is_pytorch_output(options.output)) return;
  report(fmt::format("'{}' is a PyTorch file: labels, {} and the rest of the card stay behind", options.output, what));
}

// A library that loads the folder prepares pictures in its own way, and this program goes on by the card.
void report_other_pipeline(const ConvertOptions& options, WrittenLayout layout, PixelPipeline ours) {
  const bool is_timm = layout == WrittenLayout::kTimm;
  const bool is_dinov3 = ours == PixelPipeline::kDinov3;
  const PixelPipeline theirs = is_timm     ? PixelPipeline::kTimm
                               : is_dinov3 ? PixelPipeline::kDinov3
                                           : PixelPipeline::kTransformers;
  std::error_code ignored;
  if ((!is_timm && layout != WrittenLayout::kHf) || ours == theirs ||
      !std::filesystem::is_directory(options.output, ignored)) {
    return;
  }
  report(
      fmt::format("'{0}': {1} prepares pictures by its own arithmetic, and the card, which this program goes by, "
                  "says {2}: pixels differ by a step of 8 bits, and a crop may lie one aside; with --pipeline "
                  "{1} they are the same",
                  options.output, name_of(theirs), name_of(ours)));
}

WrittenDetectorLayout detector_layout_named(const std::string& name) try {
  return written_detector_layout_from_name(name);
} catch (const Error& error) {
  throw UsageError(fmt::format("--layout: {}", error.what()));
}

ExitCode convert_detector(const ConvertOptions& options, const std::filesystem::path& file) {
  const WrittenDetectorLayout layout = detector_layout_named(options.layout);
  if (options.preprocessing.any()) {
    throw UsageError(
        fmt::format("'{}' is a detector, whose pictures keep their proportions: the options of "
                    "preprocessing go with networks that classify, --short-side and --long-side with it",
                    options.model));
  }
  DetectorCheckpoint checkpoint = read_detector(file, options.file_options);
  for (const std::string& note : checkpoint.notes) report(note);
  report_lost_card(options, "size of pictures");
  const DType dtype = storage_types().at(options.dtype);
  const WeightStore weights = converted(checkpoint.weights, dtype);
  DetectorCard& card = checkpoint.card;
  card.precision = precision_name(dtype);
  if (!options.license.empty()) card.license = options.license;
  adjust(card, options.size, options.labels);
  write_detector(options.output, card, weights, layout);
  print_written(options, {card.architecture, card.precision, name_of(layout), weights.bytes()});
  return kDone;
}

WrittenLayout network_layout_named(const std::string& name) {
  if (name == name_of(WrittenDetectorLayout::kMmdet)) {
    throw UsageError("--layout mmdet goes with a detector, and this is a network: own, timm, fb, torchvision or hf");
  }
  return written_layout_from_name(name);
}

ExitCode convert(const ConvertOptions& options) {
  require_place_for_card(options);
  const std::filesystem::path file = model_file(options.model);
  // A file that is called a network's is one, which may be the backbone of a detector.
  if (options.architecture.empty() && holds_detector(file, options.file_options)) {
    return convert_detector(options, file);
  }
  if (options.size.any()) {
    throw UsageError(
        fmt::format("'{}' is a network that classifies: --short-side and --long-side go with a detector, "
                    "--resolution with it",
                    options.model));
  }
  const WrittenLayout layout = network_layout_named(options.layout);
  Checkpoint checkpoint = read_model(file, options.architecture, options.file_options);
  const bool is_pytorch = is_pytorch_output(options.output);
  std::unique_ptr<Backend> backend;  // for the check vector, which a card has
  if (!is_pytorch) backend = program_backend(checkpoint.card);
  for (const std::string& note : checkpoint.notes) report(note);
  report_lost_card(options, "preprocessing");
  const DType dtype = storage_types().at(options.dtype);
  const WeightStore weights = converted(checkpoint.weights, dtype);
  Card& card = checkpoint.card;
  card.precision = precision_name(dtype);
  if (!options.license.empty()) card.license = options.license;
  adjust(card, options.preprocessing, options.labels);
  if (!is_pytorch) {
    ThreadPool pool(options.threads == 0 ? available_threads() : options.threads);
    card.check = make_check_vector(card, weights, *backend, &pool);
  }
  export_checkpoint(options.output, card, weights, layout);
  report_other_pipeline(options, layout, card.preprocessing.pipeline);
  print_written(options, {card.architecture, card.precision, name_of(layout), weights.bytes()});
  return kDone;
}

}  // namespace

void add_convert(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = program.add_subcommand("convert", "Write a model in another layout or precision, with its card");
  command->add_option("MODEL", options->model, "A file of weights of any kind and layout, or a folder with one")
      ->required();
  command
      ->add_option(
          "OUTPUT", options->output,
          "The file to write (PyTorch's, without a card, for .pth, .pt and .bin, else safetensors), or a folder "
          "(ending in /)")
      ->required();
  add_architecture_option(*command, options->architecture);
  command
      ->add_option("--layout", options->layout,
                   "own (default), timm, fb, torchvision or hf; of a detector own, mmdet or fb")
      ->check(CLI::IsMember({"own", "timm", "fb", "torchvision", "hf", "mmdet"}))
      ->type_name("LAYOUT");
  add_weight_file_options(*command, options->file_options);
  command->add_option("--dtype", options->dtype, "f32 (default), f16 or bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->type_name("TYPE");

  command->add_option("--license", options->license, "Licence of the weights for the card, by its SPDX name")
      ->type_name("NAME");
  add_preprocessing_options(*command, options->preprocessing);
  add_detected_size_options(*command, options->size);
  add_labels_option(*command, options->labels);
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer("Example: convnext convert model.safetensors model-bf16.safetensors --dtype bf16");
  command->callback([&chosen, options] { chosen = [options] { return convert(*options); }; });
}

}  // namespace convnext::apps
