#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

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
  std::string output;
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
  const Checkpoint checkpoint = read_model(std::get<std::filesystem::path>(found), options.architecture);
  if (const int channels = input_channels(checkpoint.card.network); channels != 3) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' takes {} channels, and a picture has 3", checkpoint.path.string(), channels));
  }
  return checkpoint.card.preprocessing;
}

ExitCode preprocess(const PreprocessOptions& options) {
  const Preprocessing preprocessing = preprocessing_of(options.model);
  const Image image = Image::open(options.picture);
  const Tensor tensor = convnext::preprocess(image, preprocessing);
  ConstTensorView view = tensor.view();
  view.shape.insert(view.shape.begin(), 1);
  view.strides = contiguous_strides(view.shape);
  write_npy(options.output, view);

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
  command->add_option("--output", options->output, "The array (1, 3, height, width), float32")
      ->required()
      ->type_name("FILE.npy");
  add_json_option(*command, options->json);
  command->footer("Example: convnext preprocess cat.jpg --model convnext_tiny --output cat.npy");
  command->callback([&chosen, options] { chosen = [options] { return preprocess(*options); }; });
}

}  // namespace convnext::apps
