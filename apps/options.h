// Options that several commands share: each is read here and nowhere else.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>

#include "apps/exit_code.h"
#include "convnext/error.h"
#include "convnext/file_limits.h"
#include "convnext/image.h"
#include "convnext/model.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/detector_registry.h"
#include "model/registry.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace convnext::apps {

// What CLI11 asks of a check: the message when `read` throws, else nothing.
template <typename Read>
auto problem_of(Read read) {
  return [read](const std::string& text) -> std::string {
    try {
      read(text);
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  };
}

// The folder that this program lies in.
std::filesystem::path program_folder();

// For a file that is written in the end, when it would be too late. Throws Error (kNotFound) when the folder that it is
// to lie in is not there; nothing for an empty name.
void require_folder_of(const std::string& file);

// --json
void add_json_option(CLI::App& command, bool& json);

// --max-header-bytes --max-nesting --max-tensors --max-memo --max-zip-ratio.
void add_file_limit_options(CLI::App& command, FileLimits& limits);
// The same and --no-ema, for commands that read files of weights: of a training checkpoint that holds both, the weights
// and not their moving average.
void add_weight_file_options(CLI::App& command, TensorFileOptions& options);

// --model and --architecture, and how its file is read. Without --model it is the shipped model.
struct ModelOptions {
  std::string model;
  std::string architecture;
  TensorFileOptions file_options;
};
// Gives back --model, for commands that cannot do without.
CLI::Option& add_model_options(CLI::App& command, ModelOptions& options);
void add_architecture_option(CLI::App& command, std::string& architecture);

// --device and --threads, and for commands that run the engine --precision.
struct DeviceOptions {
  std::string device = "cpu";
  int threads = 0;                     // 0: as many as the process may use
  std::optional<Precision> precision;  // empty: as the model's card says
};
void add_device_options(CLI::App& command, DeviceOptions& options);
void add_precision_option(CLI::App& command, DeviceOptions& options);
void add_threads_option(CLI::App& command, int& threads);
// Throws Error (kUnsupported) for any other device: there is no silent fall back.
void require_cpu(const DeviceOptions& options);

// --exif-orientation and --max-pixels, for commands that read pictures.
void add_decode_options(CLI::App& command, DecodeOptions& options);

// --depths --dims --kernel-size --patch-size --classes --input-channels: a network between the registered ones.
struct NetworkOptions {
  std::string depths;
  std::string dims;
  std::string kernel_sizes;
  std::optional<int> patch_size;
  std::optional<int> classes;
  std::optional<int> input_channels;

  // Throws UsageError.
  NetworkOverrides overrides() const;
};
void add_network_options(CLI::App& command, NetworkOptions& options);

// --resolution, in the range that a card may hold.
void add_resolution_option(CLI::App& command, std::optional<int>& resolution);

// Pixels of an input that need not be square.
struct InputSize {
  int width = 0;
  int height = 0;

  bool is_square() const { return width == height; }
  bool operator==(const InputSize&) const = default;
};
// --resolution as "224" or "1280x800", width first.
void add_input_size_option(CLI::App& command, std::optional<InputSize>& size);

// --resolution --crop-fraction --crop-mode --pipeline --interpolation --mean --std: what a card says of pictures, said
// otherwise.
struct PreprocessingOptions {
  std::optional<int> resolution;
  std::optional<double> crop_fraction;
  std::string crop_mode;
  std::string pipeline;
  std::string interpolation;
  std::optional<std::array<float, 3>> mean;  // of "0.5", or of one value for each colour: "0.485,0.456,0.406"
  std::optional<std::array<float, 3>> std;

  // Whether one of them was given.
  bool any() const;
  // `preprocessing` with these in place. Throws UsageError.
  Preprocessing applied_to(Preprocessing preprocessing) const;
};
void add_preprocessing_options(CLI::App& command, PreprocessingOptions& options);

// --labels: a text file with a label a line.
void add_labels_option(CLI::App& command, std::string& labels);

// The model for pictures prepared so, with the labels of that file where there is one. Throws UsageError, and Error for
// a file that does not have a label for each class.
Model adjusted(const Model& model, const PreprocessingOptions& preprocessing, const std::string& labels = {});
// The same for a card.
void adjust(Card& card, const PreprocessingOptions& preprocessing, const std::string& labels = {});

// --short-side --long-side: how large a detector sees pictures, in place of what its card says.
struct DetectedSizeOptions {
  std::optional<int> short_side;
  std::optional<int> long_side;

  bool any() const { return short_side || long_side; }
};
void add_detected_size_options(CLI::App& command, DetectedSizeOptions& options);
// A detector's card with these, and the labels of that file where there is one, in place. Throws UsageError for a short
// side that is the longer one, and Error for a file that does not have a label for each class.
void adjust(DetectorCard& card, const DetectedSizeOptions& size, const std::string& labels = {});

// The registered network of that name. Throws UsageError with the nearest names.
const RegistryEntry& architecture_named(const std::string& name);

// `entry`'s network with the options in place. Throws UsageError when there can be no such network.
NetworkConfig network_from(const RegistryEntry& entry, const NetworkOptions& options);

// The file that a model's name stands for. Throws UsageError for a word that is no model (with the nearest names) or
// only an architecture, Error for a path that leads nowhere.
std::filesystem::path model_file(const std::string& model);

// The same for commands that need no weights: a file, or else a registered network.
using FileOrArchitecture = std::variant<std::filesystem::path, const RegistryEntry*>;
FileOrArchitecture model_file_or_architecture(const std::string& model);

// The same of detectors.
using FileOrDetector = std::variant<std::filesystem::path, DetectorEntry>;
FileOrDetector model_file_or_detector(const std::string& model);

// What a file of weights or a registered name stands for.
struct NetworkSource {
  const RegistryEntry* entry = nullptr;
  Card card;
  std::optional<Checkpoint> checkpoint;  // of a file
};
// `network` goes with a registered name. Throws UsageError when it is given with a file, or when `architecture` names
// another network than `model` does.
NetworkSource read_network(const std::string& model, const std::string& architecture, const NetworkOptions& network,
                           const TensorFileOptions& file_options);

// The model that --model names, or the shipped one, which is then said on standard error.
std::string model_or_shipped(const ModelOptions& options);

// The detector of that name. Throws UsageError that says why there is none.
DetectorEntry registered_detector(const std::string& name);

// A registered detector with --classes in place. Throws UsageError for the other options: its backbone is the
// registered one.
DetectorEntry detector_from(DetectorEntry entry, const NetworkOptions& options);

// read_checkpoint(), with --architecture checked first. Without it a detector's file is refused, which would be read as
// the network that its backbone is.
Checkpoint read_model(const std::filesystem::path& file, const std::string& architecture,
                      const TensorFileOptions& file_options);

// A model ready to run on the chosen device, with its threads. What there is to say of the file goes to standard error.
Model load_model(const ModelOptions& options, const DeviceOptions& device);

}  // namespace convnext::apps
