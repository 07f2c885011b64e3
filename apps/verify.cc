#include "engine/verify.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "convnext/thread_pool.h"

namespace convnext::apps {
namespace {

struct VerifyOptions {
  std::string model;
  TensorFileOptions file_options;
  int threads = 0;
  bool json = false;
};

ExitCode verify(const VerifyOptions& options) {
  const Checkpoint checkpoint = read_model(model_file(options.model), {}, options.file_options);
  if (!checkpoint.has_card) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' holds no card; convert it to safetensors ('convnext convert'), which adds one with a "
                            "check vector",
                            checkpoint.path.string()));
  }
  const std::unique_ptr<Backend> backend = program_backend(checkpoint.card);
  ThreadPool pool(options.threads == 0 ? available_threads() : options.threads);
  const Verification result = convnext::verify(checkpoint, *backend, &pool);
  if (options.json) {
    nlohmann::ordered_json json = {{"file", checkpoint.path.string()},
                                   {"architecture", checkpoint.card.architecture},
                                   {"relative_error", nullptr},
                                   {"tolerance", kCheckTolerance},
                                   {"passed", result.passed}};
    if (std::isfinite(result.relative_error)) json["relative_error"] = result.relative_error;
    print_document(json);
  } else {
    print(fmt::format("{}: {}, relative error {:.2g} (up to {:.0e} is right): {}\n", checkpoint.path.string(),
                      checkpoint.card.architecture, result.relative_error, kCheckTolerance,
                      strong(result.passed ? "passed" : "failed")));
  }
  if (result.passed) return kDone;
  report(
      fmt::format("'{}' does not give its check vector: its weights or its card were changed, or this program "
                  "computes wrongly on this machine",
                  checkpoint.path.string()));
  return kFailed;
}

}  // namespace

void add_verify(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = program.add_subcommand("verify", "Compute the check vector of a model file again and compare");
  command->add_option("MODEL", options->model, "A model file")->required();
  add_weight_file_options(*command, options->file_options);
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer("Example: convnext verify model.safetensors");
  command->callback([&chosen, options] { chosen = [options] { return verify(*options); }; });
}

}  // namespace convnext::apps
