#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "convnext/image.h"
#include "io/npy.h"
#include "model/checkpoint.h"
#include "model/registry.h"

namespace convnext::apps {
namespace {

struct PreprocessOptions {
  std::string picture;
  ModelOptions model;
  PreprocessingOptions preprocessing;
  DecodeOptions decode;
  std::string output;
  std::string decoded;
  std::string resized;
  bool json = false;
};

// What the model's card says of pictures; of a registered name, its default card.
Preprocessing preprocessing_of(const ModelOptions& options) {
  const FileOrArchitecture found = model_file_or_architecture(model_or_shipped(options));
  if (const auto* entry = std::get_if<const RegistryEntry*>(&found)) {
    if (!options.architecture.empty() && &architecture_named(options.architecture) != *entry) {
      throw UsageError("--model names one network and --architecture another");
    }
    return (*entry)->preprocessing;
  }
  const Checkpoint checkpoint =
      read_model(std::get<std::filesystem::path>(found), options.architecture, options.file_options);
  if (const int channels = input_channels(checkpoint.card.network); channels != 3) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' takes {} channels, and a picture has 3", checkpoint.path.string(), channels));
  }
  return checkpoint.card.preprocessing;
}

// (height, width, 3)
ConstTensorView pixels_of(const Image& image) {
  const Shape shape = {image.height, image.width, 3};
  return {.data = reinterpret_cast<const std::byte*>(image.pixels.data()),
          .dtype = DType::kU8,
          .layout = Layout::kRowMajor,
          .shape = shape,
          .strides = contiguous_strides(shape)};
}

// One would overwrite the other.
void require_different_outputs(const PreprocessOptions& options) {
  const auto place = [](const std::string& file) { return std::filesystem::weakly_canonical(file); };
  const std::pair<const std::string&, const std::string&> pairs[] = {
      {options.output, options.decoded}, {options.output, options.resized}, {options.decoded, options.resized}};
  for (const auto& [one, other] : pairs) {
    if (one.empty() || other.empty() || place(one) != place(other)) continue;
    throw UsageError(fmt::format("'{}' is the name of two outputs", other));
  }
}

ExitCode preprocess(const PreprocessOptions& options) {
  require_different_outputs(options);
  const Preprocessing preprocessing = options.preprocessing.applied_to(preprocessing_of(options.model));
  if (!options.resized.empty() && preprocessing.pipeline == PixelPipeline::kDinov3) {
    throw UsageError("--resized: the pipeline dinov3 resizes floats, and 8-bit pixels never lie between");
  }
  const Image image = Image::open(options.picture, options.decode);
  const Tensor tensor = convnext::preprocess(image, preprocessing);
  ConstTensorView view = tensor.view();
  view.shape.insert(view.shape.begin(), 1);
  view.strides = contiguous_strides(view.shape);
  write_npy(options.output, view);
  if (!options.decoded.empty()) write_npy(options.decoded, pixels_of(image));
  if (!options.resized.empty()) {
    const Image resized = resize_and_crop(image, preprocessing);
    write_npy(options.resized, pixels_of(resized));
  }

  if (options.json) {
    print_document(nlohmann::ordered_json({{"output", options.output}, {"shape", view.shape}}));
  } else {
    print(fmt::format("{}: {} float32, from {}x{} pixels\n", options.output, to_string(view.shape), image.width,
                      image.height));
  }
  return kDone;
}

}  // namespace

void add_preprocess(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<PreprocessOptions>();
  CLI::App* command = program.add_subcommand("preprocess", "Write the tensor that a network is given for a picture");
  command->add_option("PICTURE", options->picture, "A picture file")->required();
  add_model_options(*command, options->model).description("A model file, or a registered name");
  add_preprocessing_options(*command, options->preprocessing);
  command->add_option("--output", options->output, "The array (1, 3, height, width), float32")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("--decoded", options->decoded, "Write the decoded picture too: (height, width, 3), uint8")
      ->type_name("FILE.npy");
  command->add_option("--resized", options->resized, "Write what is normalised too: (height, width, 3), uint8")
      ->type_name("FILE.npy");
  add_decode_options(*command, options->decode);
  add_json_option(*command, options->json);
  command->footer("Example: convnext preprocess cat.jpg --model convnext_tiny --output cat.npy");
  command->callback([&chosen, options] { chosen = [options] { return preprocess(*options); }; });
}

}  // namespace convnext::apps
