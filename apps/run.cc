#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "io/npy.h"

namespace convnext::apps {
namespace {

struct RunOptions {
  ModelOptions model;
  DeviceOptions device;
  std::string input;
  std::string output;
  std::string features;
  bool json = false;
};

Tensor read_input(const std::string& file) {
  Tensor input = read_npy(file);
  if (input.dtype() != DType::kF32 || input.shape().size() != 4) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("'{}' is {} of shape {}, and a network takes float32 of (N, channels, height, width): save "
                            "array.astype(numpy.float32)",
                            file, name_of(input.dtype()), to_string(input.shape())));
  }
  return input;
}

ExitCode run(const RunOptions& options) {
  const Model model = load_model(options.model, options.device);
  const Tensor input = read_input(options.input);
  Context context(model);
  const bool classifies = model.classes() > 0;
  const Outputs outputs = model.run(input.view(Layout::kNchw), context,
                                    {.logits = classifies, .pooled = !classifies, .stages = !options.features.empty()});
  const Tensor& output = classifies ? outputs.logits : outputs.pooled;

  nlohmann::ordered_json json = {{"output", options.output}, {"shape", output.shape()}};
  std::string text = fmt::format("{}: {} float32\n", options.output, to_string(output.shape()));
  for (std::size_t i = 0; i < outputs.stages.size(); ++i) {
    const std::string file = fmt::format("{}.stage{}.npy", options.features, i);
    const Tensor& stage = outputs.stages[i];
    write_npy(file, stage.view());
    json["features"].push_back({{"output", file}, {"shape", stage.shape()}});
    text += fmt::format("{}: {} float32\n", file, to_string(stage.shape()));
  }
  write_npy(options.output, output.view());
  if (options.json) {
    print_document(json);
  } else {
    print(text);
  }
  return kDone;
}

}  // namespace

void add_run(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = program.add_subcommand("run", "Run a network on tensors: NumPy arrays in and out");
  add_model_options(*command, options->model).required();
  command->add_option("--input", options->input, "The array (N, 3, height, width), float32")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("--output", options->output, "The array (N, classes); of features where there is no classifier")
      ->required()
      ->type_name("FILE.npy");
  command->add_option("--features", options->features, "Write the stages' maps too: PREFIX.stage0.npy, ...")
      ->type_name("PREFIX");
  add_device_options(*command, options->device);
  add_precision_option(*command, options->device);
  add_json_option(*command, options->json);
  command->footer("Example: convnext run --model model.safetensors --input cat.npy --output logits.npy");
  command->callback([&chosen, options] { chosen = [options] { return run(*options); }; });
}

}  // namespace convnext::apps
