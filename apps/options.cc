#include "apps/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "apps/terminal.h"
#include "convnext/error.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

constexpr const char* kShippedModel = "convnext_cifar10";
constexpr int kMaxThreads = 4096;
constexpr int kMaxResolution = 16384;

// Where models are installed; in a build tree, the project's own.
fs::path installed_models() {
  std::error_code ignored;
  const fs::path in_build_tree = program_folder() / "../../../models";
  const fs::path installed = program_folder() / "../share/convnext/models";
  const fs::path& folder =
      !fs::is_directory(installed, ignored) && fs::is_directory(in_build_tree, ignored) ? in_build_tree : installed;
  return folder.lexically_normal();
}

std::vector<int> parse_list(const char* option, std::string_view text) {
  std::vector<int> values;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    const bool ends_well = error == std::errc() && (next == end || *next == ',');
    if (!ends_well) {
      throw UsageError(fmt::format("{} takes whole numbers with commas between them, such as 3,3,9,3; not '{}'", option,
                                   text.substr(0, 80)));
    }
    values.push_back(value);
    if (next == end) return values;
    at = next + 1;
  }
}

// A word, not a path: what names of models and architectures look like.
bool looks_like_name(const std::string& text) { return text.find_first_of("/.\\") == std::string::npos; }

// Empty when it is right, as CLI11 wants it.
std::string device_problem(const std::string& device) {
  constexpr std::string_view kCuda = "cuda";
  if (device == "cpu" || device == kCuda) return {};
  if (device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
      device.find_first_not_of("0123456789", 5) == std::string::npos) {
    return {};
  }
  return fmt::format("'{}' is no device: cpu, cuda or cuda:N", device);
}

}  // namespace

fs::path program_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::current_path() : program.parent_path();
}

void add_json_option(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Write one JSON document to standard output");
}

void add_architecture_option(CLI::App& command, std::string& architecture) {
  command.add_option("--architecture", architecture, "Registered name of the network, for weights without a card")
      ->type_name("NAME");
}

CLI::Option& add_model_options(CLI::App& command, ModelOptions& options) {
  CLI::Option* model =
      command
          .add_option("--model", options.model,
                      "A .safetensors file, a run folder, or a name looked for in $CONVNEXT_MODELS and ./models")
          ->type_name("MODEL");
  add_architecture_option(command, options.architecture);
  return *model;
}

void add_threads_option(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads to use (default: all that the process may use)")
      ->check(CLI::Range(1, kMaxThreads))
      ->type_name("N");
}

void add_device_options(CLI::App& command, DeviceOptions& options) {
  command.add_option("--device", options.device, "cpu, cuda or cuda:N (default: cpu)")
      ->check(device_problem)
      ->type_name("DEVICE");
  add_threads_option(command, options.threads);
}

void add_network_options(CLI::App& command, NetworkOptions& options) {
  command.add_option("--depths", options.depths, "Blocks of each stage: 3,3,9,3")->type_name("LIST");
  command.add_option("--dims", options.dims, "Channels of each stage: 96,192,384,768")->type_name("LIST");
  command.add_option("--kernel-size", options.kernel_sizes, "Depthwise kernel, one for all stages or one each")
      ->type_name("LIST");
  command.add_option("--patch-size", options.patch_size, "Kernel and stride of the stem")->type_name("N");
  command.add_option("--classes", options.classes, "Number of classes; 0 for no classifier")->type_name("N");
  command.add_option("--input-channels", options.input_channels, "Channels of the input")->type_name("N");
}

void add_resolution_option(CLI::App& command, std::optional<int>& resolution) {
  command.add_option("--resolution", resolution, "Side of the square input, pixels")
      ->check(CLI::Range(1, kMaxResolution))
      ->type_name("N");
}

NetworkOverrides NetworkOptions::overrides() const {
  NetworkOverrides overrides;
  if (!depths.empty()) overrides.depths = parse_list("--depths", depths);
  if (!dims.empty()) overrides.dims = parse_list("--dims", dims);
  if (!kernel_sizes.empty()) overrides.kernel_sizes = parse_list("--kernel-size", kernel_sizes);
  overrides.patch_size = patch_size;
  overrides.classes = classes;
  overrides.input_channels = input_channels;
  return overrides;
}

const RegistryEntry& architecture_named(const std::string& name) try {
  return architecture(name);
} catch (const Error& error) {
  throw UsageError(error.what());
}

NetworkConfig network_from(const RegistryEntry& entry, const NetworkOptions& options) try {
  return with_overrides(entry.network, options.overrides());
} catch (const Error& error) {
  throw UsageError(error.what());
}

fs::path model_file(const std::string& model) try {
  return find_model_file(model, installed_models());
} catch (const Error& error) {
  if (error.code() == ErrorCode::kNotFound && find_architecture(model)) throw UsageError(error.what());
  if (error.code() != ErrorCode::kNotFound || !looks_like_name(model)) throw;
  try {
    architecture(model);
  } catch (const Error& nearest) {
    throw UsageError(fmt::format("{}; {}", error.what(), nearest.what()));
  }
  throw;
}

FileOrArchitecture model_file_or_architecture(const std::string& model) {
  const RegistryEntry* entry = find_architecture(model);
  if (!entry) return model_file(model);
  try {
    const fs::path file = find_model_file(model, installed_models());
    // A folder of that name may hold anything.
    if (!fs::is_directory(file) || fs::exists(file / "model.safetensors")) return file;
  } catch (const Error&) {
  }
  return entry;
}

std::string model_or_shipped(const ModelOptions& options) {
  if (!options.model.empty()) return options.model;
  if (!options.architecture.empty()) {
    throw UsageError("--architecture says what the file of --model is, and there is no --model");
  }
  report(fmt::format("using the shipped model {}; another with --model", kShippedModel));
  return kShippedModel;
}

Checkpoint read_model(const fs::path& file, const std::string& architecture) {
  if (!architecture.empty()) architecture_named(architecture);
  return read_checkpoint(file, architecture);
}

void require_cpu(const DeviceOptions& options) {
  if (options.device == "cpu") return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("--device {}: this build has no CUDA backend; leave the option out, or "
                          "say --device cpu",
                          options.device));
}

Model load_model(const ModelOptions& options, const DeviceOptions& device) {
  require_cpu(device);
  if (!options.architecture.empty()) architecture_named(options.architecture);
  const fs::path file = model_file(model_or_shipped(options));
  return Model::load(file, {.architecture = options.architecture, .isa = {}});
}

void require_classifier(const Model& model) {
  if (model.classes() > 0) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("this {} has no classifier: 'convnext embed' gives its features", model.architecture()));
}

}  // namespace convnext::apps
