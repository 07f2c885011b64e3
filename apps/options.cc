#include "apps/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/error.h"
#include "core/progress.h"
#include "engine/installed_models.h"
#include "engine/model_loading.h"
#include "io/file_limits.h"
#include "model/class_matching.h"
#include "model/detector_checkpoint.h"

namespace convnext::apps {
namespace fs = std::filesystem;
namespace {

constexpr const char* kShippedModel = "convnext_cifar10";
constexpr int kMaxThreads = 4096;

// Where models are installed; in a build tree, the project's own.
fs::path models_of_installation() {
  const fs::path installed = installed_models();
  return installed.empty() ? (program_folder() / "../../../models").lexically_normal() : installed;
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

// "0.5" or "0.485,0.456,0.406". Throws Error with what is expected.
std::array<float, 3> colours_from(const std::string& text) {
  std::array<float, 3> values{};
  std::size_t count = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (count < values.size()) {
    const auto [next, error] = std::from_chars(at, end, values[count]);
    if (error != std::errc() || (next != end && *next != ',') || !std::isfinite(values[count])) break;
    ++count;
    if (next == end) {
      if (count == 1) values.fill(values.front());
      if (count == 1 || count == values.size()) return values;
      break;
    }
    at = next + 1;
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("expected one number, or three with commas between them, such as 0.485,0.456,0.406; not '{}'",
                          text.substr(0, 80)));
}

// The same for what is divided by.
std::array<float, 3> deviations_from(const std::string& text) {
  const std::array<float, 3> values = colours_from(text);
  if (std::ranges::all_of(values, [](float value) { return value > 0.0f; })) return values;
  throw Error(ErrorCode::kInvalidArgument, fmt::format("expected numbers above 0, not '{}'", text.substr(0, 80)));
}

// Throws Error with what is expected.
double crop_fraction_from(const std::string& text) {
  double value = 0.0;
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && next == end && value >= kMinCropFraction && value <= kMaxCropFraction) return value;
  throw Error(ErrorCode::kInvalidArgument, fmt::format("expected a fraction of {} to {}, not '{}'", kMinCropFraction,
                                                       kMaxCropFraction, text.substr(0, 80)));
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

// Likewise; CLI11's own check prints the greatest double in full.
std::string pixel_count_problem(const std::string& text) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, count);
  if (error == std::errc() && next == end && count > 0) return {};
  return fmt::format("'{}' is no number of pixels: a whole number above 0", text);
}

// Throws Error with what is expected.
InputSize input_size_from(const std::string& text) {
  const auto side = [&text](std::string_view digits) {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 1 || value > kMaxResolution) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("'{}': expected a side of 1 to {} pixels, or WIDTHxHEIGHT", text, kMaxResolution));
    }
    return value;
  };
  const std::size_t cross = text.find('x');
  if (cross == std::string::npos) return {.width = side(text), .height = side(text)};
  const std::string_view whole = text;
  return {.width = side(whole.substr(0, cross)), .height = side(whole.substr(cross + 1))};
}

// The file of weights that is called as something registered is.
std::optional<fs::path> file_of_that_name(const std::string& registered) {
  try {
    const fs::path file = find_model_file(registered, models_of_installation());
    // A folder of that name may hold anything.
    weights_file(file);
    return file;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Throws Error (kUnsupported) that says what to do with a detector's file. One with our card is refused as it is read.
void refuse_detector(const fs::path& file, const TensorFileOptions& options) {
  if (!holds_detector(file, options)) return;
  const DetectorCheckpoint detector = read_detector(file, options);
  if (detector.has_card) return;
  const DetectorEntry registered = find_detector(detector.card.architecture).value();
  const std::string advice =
      detector.card.detector.backbone == registered.config.backbone
          ? fmt::format("; 'convnext convert FILE OUTPUT --architecture {}' writes its backbone alone",
                        registered.backbone)
          : "";
  throw Error(ErrorCode::kUnsupported,
              fmt::format("'{}' is a detector ({}), and a classifier is wanted here: 'convnext detect' finds objects "
                          "with it{}",
                          detector.path.string(), registered.name, advice));
}

}  // namespace

fs::path program_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::current_path() : program.parent_path();
}

void require_folder_of(const std::string& file) {
  const fs::path folder = fs::path(file).parent_path();
  std::error_code error;
  if (folder.empty() || fs::is_directory(folder, error)) return;
  throw Error(ErrorCode::kNotFound, fmt::format("cannot write '{}': there is no folder '{}'", file, folder.string()));
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
                      "A file of weights, a folder with one, or a name looked for in $CONVNEXT_MODELS and ./models")
          ->type_name("MODEL");
  add_architecture_option(command, options.architecture);
  add_weight_file_options(command, options.file_options);
  return *model;
}

void add_file_limit_options(CLI::App& command, FileLimits& limits) {
  const auto add = [&](FileLimit limit, std::string_view description) {
    const NamedLimit& named = named_limit(limit);
    command
        .add_option(std::string(named.option), limits.*limit,
                    fmt::format("{} (default: {})", description, format_count(FileLimits().*limit)))
        ->check(CLI::Range(std::int64_t{1}, named.most))
        ->type_name("N")
        ->group("Limits of files");
  };
  add(&FileLimits::max_header_bytes, "Bytes of a header, a pickled program, an index of shards or another JSON file");
  add(&FileLimits::max_nesting, "Values inside of values, in a pickled program or JSON");
  add(&FileLimits::max_tensors, "Tensors of a file");
  add(&FileLimits::max_memo, "Values that a pickled program makes, with the entries of its memo, or that JSON holds");
  add(&FileLimits::max_zip_ratio, "Bytes that a zip archive unpacks to, by its own");
}

void add_weight_file_options(CLI::App& command, TensorFileOptions& options) {
  command.add_flag_callback(
      "--no-ema", [&options] { options.prefer_average = false; },
      "Of a training checkpoint that holds both, take the weights and not their moving average");
  add_file_limit_options(command, options.limits);
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

void add_precision_option(CLI::App& command, DeviceOptions& options) {
  command
      .add_option_function<std::string>(
          "--precision", [&options](const std::string& name) { options.precision = precision_from_name(name); },
          "What the network computes in: fp32, bf16 or int8 (default: int8 for a file of integers, else fp32)")
      ->check(problem_of(precision_from_name))
      ->type_name("NAME");
}

void add_decode_options(CLI::App& command, DecodeOptions& options) {
  command.add_flag("--exif-orientation", options.exif_orientation,
                   "Turn pictures upright as their EXIF data say (the published networks were measured without)");
  command.add_option("--max-pixels", options.max_pixels, "Refuse pictures of more pixels (default: Pillow's limit)")
      ->check(pixel_count_problem)
      ->type_name("N");
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

void add_input_size_option(CLI::App& command, std::optional<InputSize>& size) {
  command
      .add_option_function<std::string>(
          "--resolution", [&size](const std::string& text) { size = input_size_from(text); },
          "Pixels of the input: a side, or WIDTHxHEIGHT")
      ->check(problem_of(input_size_from))
      ->type_name("N|WxH");
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

void add_preprocessing_options(CLI::App& command, PreprocessingOptions& options) {
  add_resolution_option(command, options.resolution);
  command
      .add_option_function<std::string>(
          "--crop-fraction", [&options](const std::string& text) { options.crop_fraction = crop_fraction_from(text); },
          fmt::format("Part of the resized side that the crop keeps, {} to {}", kMinCropFraction, kMaxCropFraction))
      ->check(problem_of(crop_fraction_from))
      ->type_name("X");
  command.add_option("--crop-mode", options.crop_mode, "How a picture becomes a square: center, squash, ...")
      ->check(problem_of(crop_mode_from_name))
      ->type_name("MODE");
  command
      .add_option("--pipeline", options.pipeline,
                  "Whose arithmetic prepares pictures: timm (Pillow's resize), torchvision or transformers")
      ->check(problem_of(pixel_pipeline_from_name))
      ->type_name("NAME");
  command.add_option("--interpolation", options.interpolation, "Filter of the resize: bicubic, bilinear, ...")
      ->check(problem_of(interpolation_from_name))
      ->type_name("FILTER");
  command
      .add_option_function<std::string>(
          "--mean", [&options](const std::string& text) { options.mean = colours_from(text); },
          "Mean of the pixels, one value or one each for red, green and blue")
      ->check(problem_of(colours_from))
      ->type_name("LIST");
  command
      .add_option_function<std::string>(
          "--std", [&options](const std::string& text) { options.std = deviations_from(text); },
          "Deviation of the pixels, likewise")
      ->check(problem_of(deviations_from))
      ->type_name("LIST");
}

void add_labels_option(CLI::App& command, std::string& labels) {
  command.add_option("--labels", labels, "A text file with the name of each class, one a line, in their order")
      ->type_name("FILE");
}

void add_detected_size_options(CLI::App& command, DetectedSizeOptions& options) {
  const auto add = [&command](const char* name, std::optional<int>& side, const char* text) {
    command.add_option(name, side, text)->check(CLI::Range(1, kMaxResolution))->type_name("N");
  };
  add("--short-side", options.short_side,
      "A detector sees pictures as large as this and --long-side allow, pixels (default: as its card says)");
  add("--long-side", options.long_side, "The same of the long side");
}

bool PreprocessingOptions::any() const {
  const std::string* texts[] = {&crop_mode, &pipeline, &interpolation};
  return resolution || crop_fraction || mean || std || !std::ranges::all_of(texts, &std::string::empty);
}

Preprocessing PreprocessingOptions::applied_to(Preprocessing preprocessing) const try {
  if (resolution) preprocessing.resolution = *resolution;
  if (crop_fraction) preprocessing.crop_fraction = *crop_fraction;
  if (!crop_mode.empty()) preprocessing.crop_mode = crop_mode_from_name(crop_mode);
  if (!pipeline.empty()) preprocessing.pipeline = pixel_pipeline_from_name(pipeline);
  if (!interpolation.empty()) preprocessing.interpolation = interpolation_from_name(interpolation);
  if (mean) preprocessing.mean = *mean;
  if (std) preprocessing.std = *std;
  validate(preprocessing, "the options of preprocessing");
  return preprocessing;
} catch (const Error& error) {
  throw UsageError(error.what());
}

Model adjusted(const Model& model, const PreprocessingOptions& preprocessing, const std::string& labels) {
  const Model prepared = model.with_preprocessing(preprocessing.applied_to(model.preprocessing()));
  if (labels.empty()) return prepared;
  std::vector<std::string> names = read_labels(labels);
  check_label_count(names, model.classes(), fmt::format("'{}'", labels));
  return prepared.with_labels(std::move(names));
}

void adjust(DetectorCard& card, const DetectedSizeOptions& size, const std::string& labels) {
  card.short_side = size.short_side.value_or(card.short_side);
  card.long_side = size.long_side.value_or(card.long_side);
  if (card.short_side > card.long_side) {
    throw UsageError(
        fmt::format("the short side of pictures would be {} pixels at most, and the long one {}: give "
                    "--short-side and --long-side together",
                    card.short_side, card.long_side));
  }
  if (labels.empty()) return;
  card.labels = read_labels(labels);
  check_label_count(card.labels, card.detector.classes, fmt::format("'{}'", labels));
}

void adjust(Card& card, const PreprocessingOptions& preprocessing, const std::string& labels) {
  card.preprocessing = preprocessing.applied_to(card.preprocessing);
  if (labels.empty()) return;
  card.labels = read_labels(labels);
  check_label_count(card.labels, class_count(card.network), fmt::format("'{}'", labels));
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

DetectorEntry registered_detector(const std::string& name) try {
  return detector_named(name);
} catch (const Error& error) {
  throw UsageError(error.what());
}

DetectorEntry detector_from(DetectorEntry entry, const NetworkOptions& options) try {
  NetworkOverrides overrides = options.overrides();
  if (overrides.classes) entry.config.classes = *overrides.classes;
  overrides.classes.reset();
  if (!overrides.empty()) {
    throw UsageError(
        fmt::format("'{}' is a detector, whose backbone is the registered one: only --classes changes it", entry.name));
  }
  validate(entry.config);
  return entry;
} catch (const Error& error) {
  throw UsageError(error.what());
}

fs::path model_file(const std::string& model) try {
  return find_model_file(model, models_of_installation());
} catch (const Error& error) {
  if (error.code() == ErrorCode::kNotFound && find_architecture(model)) throw UsageError(error.what());
  if (error.code() == ErrorCode::kNotFound && find_detector(model)) {
    throw UsageError(
        fmt::format("'{}' is the name of a detector, and weights are needed here: give a file; 'convnext "
                    "init' writes untrained ones, and 'convnext info' says what it is",
                    model));
  }
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
  if (const std::optional<fs::path> file = file_of_that_name(model)) return *file;
  return entry;
}

FileOrDetector model_file_or_detector(const std::string& model) {
  if (!is_detector_name(model)) return model_file(model);
  if (const std::optional<fs::path> file = file_of_that_name(model)) return *file;
  return registered_detector(model);
}

NetworkSource read_network(const std::string& model, const std::string& architecture, const NetworkOptions& network,
                           const TensorFileOptions& file_options) {
  NetworkSource source;
  const FileOrArchitecture found = model_file_or_architecture(model);
  if (const auto* file = std::get_if<fs::path>(&found)) {
    if (!network.overrides().empty()) {
      throw UsageError(
          fmt::format("'{}' is a file, whose network is what it is: --depths, --dims, --kernel-size, "
                      "--patch-size, --classes and --input-channels go with a registered name",
                      model));
    }
    source.checkpoint = read_model(*file, architecture, file_options);
    source.card = source.checkpoint->card;
    source.entry = &convnext::architecture(source.card.architecture);
    return source;
  }
  source.entry = std::get<const RegistryEntry*>(found);
  if (!architecture.empty() && &architecture_named(architecture) != source.entry) {
    throw UsageError(
        fmt::format("'{}' is the name of a network, and --architecture names another: it goes with a file", model));
  }
  source.card.architecture = source.entry->name;
  source.card.network = network_from(*source.entry, network);
  source.card.preprocessing = source.entry->preprocessing;
  return source;
}

std::string model_or_shipped(const ModelOptions& options) {
  if (!options.model.empty()) return options.model;
  if (!options.architecture.empty()) {
    throw UsageError("--architecture says what the file of --model is, and there is no --model");
  }
  report(fmt::format("using the shipped model {}; another with --model", kShippedModel));
  return kShippedModel;
}

Checkpoint read_model(const fs::path& file, const std::string& architecture, const TensorFileOptions& file_options) {
  if (architecture.empty()) {
    refuse_detector(file, file_options);
  } else {
    architecture_named(architecture);
  }
  return read_checkpoint(file, architecture, file_options);
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
  Checkpoint checkpoint = read_model(model_file(model_or_shipped(options)), options.architecture, options.file_options);
  const std::unique_ptr<Backend> backend = program_backend(checkpoint.card);
  return ModelLoading::load(std::move(checkpoint), *backend,
                            {.precision = device.precision, .threads = device.threads, .log = report});
}

}  // namespace convnext::apps
