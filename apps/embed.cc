#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/picture_runner.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "io/file.h"
#include "io/npy_stream.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

struct EmbedOptions {
  std::vector<std::string> inputs;
  ModelOptions model;
  PreprocessingOptions preprocessing;
  DeviceOptions device;
  DecodeOptions decode;
  std::string output;
  bool l2 = false;
  bool json = false;
};

// Divided by its L2 norm; a row of zeros stays as it is.
std::vector<float> normalized(std::span<const float> row) {
  double sum = 0.0;
  for (const float value : row) sum += static_cast<double>(value) * value;
  const double scale = sum > 0.0 ? 1.0 / std::sqrt(sum) : 1.0;
  std::vector<float> result(row.begin(), row.end());
  for (float& value : result) value = static_cast<float>(value * scale);
  return result;
}

// One name a line, whatever characters it has.
std::string line_of(const fs::path& file) {
  std::string line = file.string();
  std::ranges::replace(line, '\n', '?');
  return line + "\n";
}

ExitCode embed(const EmbedOptions& options) {
  const fs::path output = options.output;
  if (output.extension() != ".npy") {
    throw UsageError(fmt::format("--output is a .npy file, and the list of pictures a .txt file beside it; not '{}'",
                                 options.output));
  }
  const fs::path names = fs::path(output).replace_extension(".txt");
  const Model model = adjusted(load_model(options.model, options.device), options.preprocessing);
  ProgressLine progress(Progress("pictures", ProgressLine::is_shown() ? count_inputs(options.inputs) : 0));
  std::optional<NpyRows> rows;
  std::int64_t channels = 0;
  std::int64_t failed = 0;

  write_file_atomically(names, [&](const ByteSink& sink) {
    PictureRunner runner(model, PictureOutput::kPooled, 0, options.decode, [&](const PictureResult& result) {
      if (!result.error.empty()) {
        progress.clear();
        report(result.error);
      } else {
        if (!rows) rows.emplace(output, channels = static_cast<std::int64_t>(result.values.size()));
        rows->add(options.l2 ? normalized(result.values)
                             : std::vector<float>(result.values.begin(), result.values.end()));
        const std::string line = line_of(result.file);
        sink(std::as_bytes(std::span(line)));
      }
      progress.advance(1);
    });
    add_inputs(options.inputs, runner);
    failed = runner.failed();
    if (!rows) throw Error(ErrorCode::kNotFound, "none of the pictures could be read: nothing was written");
    rows->finish();
  });
  progress.clear();

  if (options.json) {
    print_document(nlohmann::ordered_json({{"output", output.string()},
                                           {"list", names.string()},
                                           {"pictures", rows->rows()},
                                           {"failed", failed},
                                           {"channels", channels}}));
  } else {
    print(fmt::format("{}: {} pictures, {} channels; their names are in {}\n", output.string(),
                      format_count(rows->rows()), channels, names.string()));
  }
  if (failed == 0) return kDone;
  report(fmt::format("{} of {} pictures were skipped", failed, failed + rows->rows()));
  return kFailed;
}

}  // namespace

void add_embed(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<EmbedOptions>();
  CLI::App* command = program.add_subcommand("embed", "Write the features of pictures as a NumPy array");
  command->add_option("PICTURE", options->inputs, "Picture files, or folders of them")->required();
  add_model_options(*command, options->model);
  add_preprocessing_options(*command, options->preprocessing);
  command->add_option("--output", options->output, "The array (pictures, channels); the names go to .txt beside it")
      ->required()
      ->type_name("FILE.npy");
  command->add_flag("--l2", options->l2, "Divide each row by its L2 norm");
  add_decode_options(*command, options->decode);
  add_device_options(*command, options->device);
  add_precision_option(*command, options->device);
  add_json_option(*command, options->json);
  command->footer("Example: convnext embed photos/ --output photos.npy --l2");
  command->callback([&chosen, options] { chosen = [options] { return embed(*options); }; });
}

}  // namespace convnext::apps
