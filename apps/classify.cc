#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/picture_runner.h"
#include "apps/terminal.h"
#include "engine/picture_batches.h"

namespace convnext::apps {
namespace {

struct ClassifyOptions {
  std::vector<std::string> inputs;
  ModelOptions model;
  PreprocessingOptions preprocessing;
  std::string labels;
  DeviceOptions device;
  DecodeOptions decode;
  int top_k = 5;
  bool json = false;
};

// A JSON list that is written as its elements come, and is whole however it ends.
class JsonList {
 public:
  JsonList() { print("["); }
  ~JsonList() { print(empty_ ? "]\n" : "\n]\n"); }
  JsonList(const JsonList&) = delete;
  JsonList& operator=(const JsonList&) = delete;

  void add(const nlohmann::ordered_json& element) {
    print((empty_ ? "\n " : ",\n ") + to_document(element, -1));
    empty_ = false;
  }

 private:
  bool empty_ = true;
};

nlohmann::ordered_json to_json(const PictureResult& result, const std::vector<Prediction>& predictions) {
  nlohmann::ordered_json json = {{"file", result.file.string()}};
  if (!result.error.empty()) {
    json["error"] = result.error;
    return json;
  }
  json["predictions"] = nlohmann::ordered_json::array();
  for (const Prediction& prediction : predictions) {
    json["predictions"].push_back(
        {{"index", prediction.index}, {"label", prediction.label}, {"probability", prediction.probability}});
  }
  return json;
}

std::string to_text(const PictureResult& result, const std::vector<Prediction>& predictions) {
  const auto percent = [](const Prediction& prediction) {
    return fmt::format("{:.1f} %", 100 * prediction.probability);
  };
  if (predictions.size() == 1) {
    const Prediction& best = predictions.front();
    return fmt::format("{}  {}  {}\n", result.file.string(), strong(best.label), percent(best));
  }
  constexpr int kBarWidth = 30;
  std::size_t width = 0;
  for (const Prediction& prediction : predictions) width = std::max(width, prediction.label.size());
  std::string text = strong(result.file.string()) + "\n";
  for (const Prediction& prediction : predictions) {
    const std::string line = fmt::format("  {:>7}  {:<{}}  {}", percent(prediction), prediction.label, width,
                                         bar(prediction.probability, kBarWidth));
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

ExitCode classify(const ClassifyOptions& options) {
  const Model model = adjusted(load_model(options.model, options.device), options.preprocessing, options.labels);
  require_classifier(model);
  std::optional<JsonList> list;
  if (options.json) list.emplace();
  PictureRunner runner(model, PictureOutput::kLogits, 0, options.decode, [&](const PictureResult& result) {
    if (!result.error.empty()) report(result.error);
    std::vector<Prediction> predictions;
    if (result.error.empty()) predictions = model.predictions(result.values, options.top_k);
    if (list) {
      list->add(to_json(result, predictions));
    } else if (result.error.empty()) {
      print(to_text(result, predictions));
    }
  });
  add_inputs(options.inputs, runner);
  if (runner.failed() == 0) return kDone;
  if (runner.done() > 1) report(fmt::format("{} of {} pictures were skipped", runner.failed(), runner.done()));
  return kFailed;
}

}  // namespace

void add_classify(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<ClassifyOptions>();
  CLI::App* command = program.add_subcommand("classify", "Say what is in pictures");
  command->add_option("PICTURE", options->inputs, "Picture files, or folders of them")->required();
  add_model_options(*command, options->model);
  add_preprocessing_options(*command, options->preprocessing);
  add_labels_option(*command, options->labels);
  command->add_option("--top-k", options->top_k, "How many classes to show (default: 5)")
      ->check(CLI::Range(1, 1'000'000))
      ->type_name("K");
  add_decode_options(*command, options->decode);
  add_device_options(*command, options->device);
  add_precision_option(*command, options->device);
  add_json_option(*command, options->json);
  command->footer("Example: convnext classify cat.jpg holiday/ --model model.safetensors --top-k 3");
  command->callback([&chosen, options] { chosen = [options] { return classify(*options); }; });
}

}  // namespace convnext::apps
