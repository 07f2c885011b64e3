// convnext-train detect: what is where on pictures.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "apps/loaded_detector.h"
#include "apps/options.h"
#include "apps/picture_runner.h"
#include "apps/program.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "convnext/error.h"
#include "detect/detector_evaluation.h"
#include "detect/picture_detection.h"
#include "io/file.h"
#include "io/picture.h"
#include "io/quoted.h"
#include "metrics/coco_results.h"
#include "plot/detection_drawing.h"

namespace convnext::apps {
namespace {

namespace fs = std::filesystem;

constexpr double kDefaultScore = 0.5;
constexpr int kMaxBatch = 256;
constexpr std::string_view kStandardOutput = "-";

struct DetectOptions {
  std::vector<std::string> inputs;
  std::string model;
  TensorFileOptions file_options;
  std::optional<double> score;
  std::string json;
  std::string annotations;
  std::string draw;
  std::string labels;
  DetectedSizeOptions size;
  int batch_size = 1;
  bool profile = false;
  DeviceOptions device;
  DecodeOptions decode;

  // What a person is shown.
  double shown_score() const { return score.value_or(kDefaultScore); }
  bool prints_json() const { return json == kStandardOutput; }
};

struct Input {
  fs::path file;
  std::string error{};    // why it is skipped
  fs::path drawing{};     // where it is drawn to, with --draw
  std::int64_t id = 0;    // in the results
  std::string id_name{};  // the picture's name there
};

std::vector<Input> list_inputs(const std::vector<std::string>& names) {
  std::vector<Input> inputs;
  visit_inputs(names, [&inputs](const fs::path& file, const std::string& error) {
    inputs.push_back({.file = file, .error = error});
    inputs.back().id = static_cast<std::int64_t>(inputs.size());
    inputs.back().id_name = file.filename().string();
  });
  return inputs;
}

// The annotations' picture whose name is the file's path, or the longest end of it that is one's.
const CocoPicture* find_picture(const std::map<std::string, const CocoPicture*>& by_name, const fs::path& file) {
  std::string name = file.lexically_normal().generic_string();
  while (true) {
    if (const auto found = by_name.find(name); found != by_name.end()) return found->second;
    const std::size_t slash = name.find('/');
    if (slash == std::string::npos) return nullptr;
    name.erase(0, slash + 1);
  }
}

void take_ids(const CocoDataset& dataset, std::vector<Input>& inputs) {
  std::map<std::string, const CocoPicture*> by_name;
  CocoWarning same_name;
  for (const CocoPicture& picture : dataset.pictures) {
    const auto [known, is_new] = by_name.emplace(picture.file_name, &picture);
    if (is_new || same_name.count++ > 0) continue;
    same_name.text = fmt::format("pictures {} and {} are both called {}: what is found on it gets the id of the first",
                                 known->second->id, picture.id, in_quotes(picture.file_name));
  }
  if (same_name.count > 0) report(describe(same_name, dataset.path));
  for (Input& input : inputs) {
    if (!input.error.empty()) continue;
    const CocoPicture* picture = find_picture(by_name, input.file);
    if (picture == nullptr) {
      input.error = fmt::format("'{}' is no picture of '{}'", input.file.string(), dataset.path.string());
    } else {
      input.id = picture->id;
      input.id_name = picture->file_name;
    }
  }
}

// Each picture's drawing has its name. What has one already gets a number, and a drawing never replaces a picture.
void choose_drawings(const fs::path& folder, std::vector<Input>& inputs) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    throw Error(ErrorCode::kIo, fmt::format("cannot make the folder '{}' for drawings{}", folder.string(),
                                            error ? ": " + error.message() : ""));
  }
  std::set<std::string> taken;
  for (Input& input : inputs) {
    if (!input.error.empty()) continue;
    const fs::path own = input.file.parent_path().empty() ? "." : input.file.parent_path();
    if (fs::equivalent(own, folder, error)) {
      throw UsageError(fmt::format("--draw {} is the folder of '{}': drawings go to another one", folder.string(),
                                   input.file.string()));
    }
    const std::string stem = input.file.stem().string();
    std::string name = stem + ".png";
    for (int number = 2; !taken.insert(name).second; ++number) name = fmt::format("{}-{}.png", stem, number);
    input.drawing = folder / name;
    if (name != stem + ".png") {
      report(fmt::format("'{}' is drawn to '{}': another picture has its name", input.file.string(),
                         input.drawing.string()));
    }
  }
}

std::vector<PictureDetection> scoring(std::span<const PictureDetection> detections, double score) {
  std::vector<PictureDetection> kept;
  std::ranges::copy_if(detections, std::back_inserter(kept),
                       [score](const PictureDetection& found) { return found.score >= score; });
  return kept;
}

void draw(const LoadedDetector& loaded, const Image& picture, std::span<const PictureDetection> detections,
          const fs::path& file) {
  std::vector<DrawnObject> objects;
  for (const PictureDetection& found : detections) {
    objects.push_back({.box = {found.box.x1, found.box.y1, found.box.width(), found.box.height()},
                       .name = loaded.name_of_class(found.class_index),
                       .score = found.score,
                       .class_index = found.class_index,
                       .mask = &found.mask});
  }
  write_png(file, draw_objects(picture, objects));
}

std::string heading(const Input& input, const PictureSize& size, std::size_t objects, double score) {
  const std::string many = objects == 0 ? fmt::format("no object scores {:g} or more", score)
                                        : fmt::format("{} object{}", format_count(static_cast<std::int64_t>(objects)),
                                                      objects > 1 ? "s" : "");
  return fmt::format("{}  {}x{}, {}\n", strong(input.file.string()), size.width, size.height, many);
}

std::string table_of(const LoadedDetector& loaded, std::span<const PictureDetection> detections) {
  if (detections.empty()) return {};
  using enum Table::Align;
  Table table({{"object"},
               {"score", kRight},
               {"left", kRight},
               {"top", kRight},
               {"width", kRight},
               {"height", kRight},
               {"pixels", kRight}});
  const auto whole = [](float value) { return fmt::format("{:.0f}", value); };
  for (const PictureDetection& found : detections) {
    table.add({loaded.name_of_class(found.class_index), fmt::format("{:.2f}", found.score), whole(found.box.x1),
               whole(found.box.y1), whole(found.box.width()), whole(found.box.height()),
               format_count(mask_area(found.mask))});
  }
  return table.text();
}

void print_profile(const DetectionTimes& times, std::int64_t pictures, bool draws) {
  using enum Table::Align;
  Table table({{"part"}, {"ms a picture", kRight}, {""}});
  const auto add = [&](std::string_view part, double seconds, const char* note) {
    table.add({std::string(part), fmt::format("{:.1f}", 1e3 * seconds / static_cast<double>(pictures)), note});
  };
  constexpr const char* kMeanwhile = "of one thread, while the network works";
  double network = 0;
  add("decode, resize", times.opening, kMeanwhile);
  for (const DetectorPart part : kDetectorParts) {
    const double seconds = times.parts[static_cast<std::size_t>(part)];
    network += seconds;
    add(name_of(part), seconds, "");
  }
  add("network", network, "these five together");
  add("paste masks", times.pasting, kMeanwhile);
  if (draws) add("draw", times.with_picture, kMeanwhile);
  print("\n" + table.text());
}

ExitCode detect(const DetectOptions& options) {
  if (options.profile && options.prints_json()) {
    throw UsageError("--json - and --profile both want standard output: write the JSON to a file");
  }
  if (!options.prints_json()) require_folder_of(options.json);
  LoadedDetector loaded = load_detector(options.model, options.device, options.file_options);
  adjust(loaded.card, options.size, options.labels);
  std::vector<Input> inputs = list_inputs(options.inputs);
  std::optional<CocoDataset> dataset;
  if (!options.annotations.empty()) {
    dataset = read_coco_dataset(options.annotations, {.file_names = true});
    check_categories(loaded.card, *dataset);
    if (loaded.card.labels.empty()) loaded.card.labels = names_of(dataset->categories);
    take_ids(*dataset, inputs);
  }
  if (!options.draw.empty()) choose_drawings(options.draw, inputs);
  const auto category_of = [&dataset](int class_index) {
    return dataset ? dataset->categories[static_cast<std::size_t>(class_index)].id : std::int64_t{class_index} + 1;
  };

  CocoResultsWriter results;
  std::int64_t failed = 0;
  ProgressLine progress(Progress("pictures", static_cast<std::int64_t>(inputs.size())));
  const auto take = [&](const DetectedPicture& found) {
    const Input& input = inputs[found.number];
    if (!found.error.empty()) {
      ++failed;
      progress.clear();
      report(found.error);
    } else {
      const std::vector<PictureDetection> shown = scoring(found.detections, options.shown_score());
      if (!options.json.empty()) {
        for (const PictureDetection& one : options.score ? shown : found.detections) {
          const CocoDetection coco = to_coco(one, 0);
          results.add({input.id, input.id_name, category_of(one.class_index)}, coco.box, coco.score, one.mask);
        }
      }
      if (!options.prints_json()) {
        progress.clear();
        std::string text = heading(input, found.size, shown.size(), options.shown_score());
        if (options.json.empty() && options.draw.empty()) text += table_of(loaded, shown) + "\n";
        print(text);
      }
    }
    progress.advance(1);
  };
  DetectionTimes times;
  DetectionRun run{.open =
                       [&](std::size_t number) {
                         const Input& input = inputs[number];
                         if (!input.error.empty()) throw Error(ErrorCode::kNotFound, input.error);
                         return Image::open(input.file, options.decode);
                       },
                   .take = take,
                   .batch_size = options.batch_size,
                   .times = options.profile ? &times : nullptr};
  if (!options.draw.empty()) {
    run.with_picture = [&](const DetectedPicture& found, const Image& picture) {
      draw(loaded, picture, scoring(found.detections, options.shown_score()), inputs[found.number].drawing);
    };
  }
  detect_on_pictures(*loaded.detector, loaded.card, inputs.size(), *loaded.pool, run);
  progress.clear();

  if (options.prints_json()) {
    print(results.text());
  } else if (!options.json.empty()) {
    write_file_atomically(options.json, results.text());
  }
  const auto done = static_cast<std::int64_t>(inputs.size()) - failed;
  if (options.profile && done > 0) print_profile(times, done, !options.draw.empty());
  if (failed == 0) return kDone;
  if (inputs.size() > 1) report(fmt::format("{} of {} pictures were skipped", failed, inputs.size()));
  return kFailed;
}

void add_detect_options(CLI::App& command, DetectOptions& options) {
  command.add_option("PICTURE", options.inputs, "Picture files, or folders of them")->required();
  command
      .add_option("--model", options.model,
                  "A detector: a file of weights, a folder with one, or a name looked for in $CONVNEXT_MODELS and "
                  "./models")
      ->required()
      ->type_name("MODEL");
  add_weight_file_options(command, options.file_options);
  command
      .add_option(
          "--score", options.score,
          fmt::format("Least score of an object (default: {}; with --json all that the model reports)", kDefaultScore))
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X");
  command.add_option("--draw", options.draw, "Draw the objects: a PNG file for each picture in this folder")
      ->type_name("FOLDER");
  command.add_option("--json", options.json, "Write the objects in COCO's format of results; - is standard output")
      ->type_name("FILE");
  command
      .add_option("--annotations", options.annotations,
                  "A JSON file of COCO's that says which ids pictures and categories have in --json")
      ->type_name("FILE");
  add_labels_option(command, options.labels);
  add_detected_size_options(command, options.size);
  command.add_option("--batch-size", options.batch_size, "Pictures at a time, padded to the largest (default: 1)")
      ->check(CLI::Range(1, kMaxBatch))
      ->type_name("N");
  command.add_flag("--profile", options.profile, "Print where the time goes");
  add_decode_options(command, options.decode);
  add_device_options(command, options.device);
}

}  // namespace

ExitCode detect_command(int argc, char** argv) {
  DetectOptions options;
  CLI::App command{"Find objects in pictures: boxes, masks, names.", "convnext detect"};
  add_detect_options(command, options);
  command.footer("Example: convnext detect street.jpg holiday/ --model detector.safetensors --draw drawn");
  if (!parse_command_line(command, argc, argv)) return kDone;
  return detect(options);
}

}  // namespace convnext::apps
