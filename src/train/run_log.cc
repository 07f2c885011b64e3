#include "train/run_log.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "convnext/error.h"
#include "io/file.h"

namespace convnext {
namespace {

using Json = nlohmann::json;

// One line of a log.
class LogLine {
 public:
  LogLine(const Json& json, const std::filesystem::path& path, int line) : json_(json), path_(path), line_(line) {}

  [[noreturn]] void fail(std::string_view what) const {
    throw Error(ErrorCode::kDamaged,
                fmt::format("'{}' is no log of a training run: line {} {}", path_.string(), line_, what));
  }

  bool has(const char* name) const { return json_.contains(name); }

  // A number of the object `group` ("": of the line itself); nothing where it is absent or null.
  std::optional<double> number(const char* group, const char* name) const {
    const Json& object = *group == '\0' ? json_ : json_.value(group, Json::object());
    const auto found = object.find(name);
    if (found == object.end() || found->is_null()) return std::nullopt;
    if (!found->is_number()) fail(fmt::format("has a '{}' that is no number", name));
    return found->get<double>();
  }
  std::optional<double> number(const char* name) const { return number("", name); }

  std::optional<std::int64_t> count(const char* name) const {
    const std::optional<double> value = number(name);
    if (!value) return std::nullopt;
    constexpr double kLargest = 1e15;
    if (*value != std::floor(*value) || *value < 0 || *value > kLargest) {
      fail(fmt::format("has '{}' {}, which counts nothing", name, *value));
    }
    return static_cast<std::int64_t>(*value);
  }

  int epoch(int first) const {
    const std::optional<std::int64_t> epoch = count("epoch");
    constexpr std::int64_t kLargest = 1'000'000'000;
    if (!epoch || *epoch < first || *epoch > kLargest) fail("has no epoch");
    return static_cast<int>(*epoch) - first + 1;
  }

 private:
  const Json& json_;
  const std::filesystem::path& path_;
  const int line_;
};

// Keys of main.py and engine.py of the authors, whose epochs begin at 0.
LoggedEpoch read_authors_line(const LogLine& line, RunLog& log) {
  LoggedEpoch epoch;
  epoch.epoch = line.epoch(0);
  epoch.train_loss = line.number("train_loss");
  epoch.mean_lr = line.number("train_lr");
  epoch.model_loss = line.number("test_loss");
  epoch.model_top1 = line.number("test_acc1");
  epoch.average_loss = line.number("test_loss_ema");
  epoch.average_top1 = line.number("test_acc1_ema");
  if (const auto parameters = line.count("n_parameters")) log.parameters = parameters;
  // Without a test there is no telling: the average may have been kept all the same.
  if (epoch.model_top1) log.has_average = epoch.average_top1.has_value();
  return epoch;
}

LoggedEpoch read_our_line(const LogLine& line, RunLog& log) {
  LoggedEpoch epoch;
  epoch.epoch = line.epoch(1);
  epoch.train_loss = line.number("train_loss");
  epoch.lr = line.number("lr");
  epoch.model_loss = line.number("model", "loss");
  epoch.model_top1 = line.number("model", "top1");
  epoch.average_loss = line.number("average", "loss");
  epoch.average_top1 = line.number("average", "top1");
  epoch.seconds = line.number("seconds");
  if (const auto batch = line.count("effective_batch")) log.effective_batch = batch;
  if (const auto parameters = line.count("parameters")) log.parameters = parameters;
  if (const auto steps = line.count("steps_an_epoch")) {
    log.steps_an_epoch = steps;
  } else if (const auto all_steps = line.count("steps"); all_steps && *all_steps % epoch.epoch == 0) {
    log.steps_an_epoch = *all_steps / epoch.epoch;
  }
  if (const auto decay = line.number("ema_decay")) {
    log.ema_decay = decay;
    log.has_average = *decay > 0;
  } else if (epoch.model_top1) {
    log.has_average = epoch.average_top1.has_value();
  }
  return epoch;
}

}  // namespace

RunLog read_run_log(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  RunLog log{.path = path,
             .epochs = {},
             .effective_batch = {},
             .steps_an_epoch = {},
             .parameters = {},
             .has_average = {},
             .ema_decay = {}};
  std::map<int, LoggedEpoch> epochs;
  int number = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    const bool cut_off = end == std::string::npos;
    const std::string_view content = std::string_view(text).substr(start, cut_off ? end : end - start);
    start = cut_off ? text.size() : end + 1;
    ++number;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
    if (cut_off && json.is_discarded()) break;
    const LogLine line(json, path, number);
    if (!json.is_object()) line.fail("is no JSON object");
    for (const char* group : {"model", "average"}) {
      if (json.contains(group) && !json[group].is_object())
        line.fail(fmt::format("has a '{}' that is no object", group));
    }
    const bool authors = line.has("train_lr");
    if (!authors && !line.has("lr")) line.fail("has neither our 'lr' nor the authors' 'train_lr'");
    const LoggedEpoch epoch = authors ? read_authors_line(line, log) : read_our_line(line, log);
    epochs[epoch.epoch] = epoch;
  }
  if (epochs.empty()) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is no log of a training run: it holds no epoch", path.string()));
  }
  for (const auto& [epoch, logged] : epochs) log.epochs.push_back(logged);
  return log;
}

RunCurves curves_of(const RunLog& log) {
  RunCurves curves;
  for (const LoggedEpoch& epoch : log.epochs) {
    const auto add = [x = static_cast<double>(epoch.epoch)](std::vector<Point>& points, std::optional<double> value) {
      if (value) points.push_back({x, *value});
    };
    add(curves.train_loss, epoch.train_loss);
    add(curves.model_loss, epoch.model_loss);
    add(curves.model_top1, epoch.model_top1);
    add(curves.average_loss, epoch.average_loss);
    add(curves.average_top1, epoch.average_top1);
    add(curves.lr, epoch.lr ? epoch.lr : epoch.mean_lr);
  }
  return curves;
}

}  // namespace convnext
