#include "detect/detector_trainer.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "convnext/error.h"
#include "convnext/thread_pool.h"
#include "detect/coco_pictures.h"
#include "detect/detection_loader.h"
#include "detect/detection_sheet.h"
#include "detect/detector_evaluation.h"
#include "detect/detector_learner.h"
#include "detect/detector_start.h"
#include "io/file.h"
#include "io/picture.h"
#include "model/detector_checkpoint.h"
#include "plot/run_curves.h"
#include "train/device.h"
#include "train/random.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/training_run.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const DetectorResult& result) { return {{"bbox", result.boxes}, {"segm", result.masks}}; }

Json to_json(const DetectionEpochReport& report) {
  Json json = Json::parse(progress_to_json(report));
  json["losses"] = report.losses;
  json["evaluation_seconds"] = report.evaluation_seconds;
  if (report.model) json["model"] = to_json(*report.model);
  if (report.average) json["average"] = to_json(*report.average);
  return json;
}

class DetectorTrainer {
 public:
  DetectorTrainer(const DetectionSettings& settings, const DetectionCallbacks& callbacks)
      : settings_(settings),
        callbacks_(callbacks),
        device_(open_device(settings.device)),
        pool_(settings.threads > 0 ? settings.threads : available_threads()) {
    at::set_num_threads(pool_.threads());
    open_data();
  }

  RunEnd run(const std::string& settings_text);
  TrainPlan plan();

  // The parts of a run (train/training_run.h).
  void draw_samples(OpenRun& run);
  bool train_epoch(OpenRun& run, DetectionEpochReport& report);
  void evaluate_epoch(DetectionEpochReport& report);
  void keep_results(OpenRun& run, const DetectionEpochReport& report);
  void draw_curves(const RunFolder& folder);

 private:
  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  CocoPictures open_pictures(const std::filesystem::path& annotations, const std::filesystem::path& folder,
                             const CocoPicturesOptions& options) const;
  void open_data();
  DetectionLoader loader_from(const RunPosition& position) const;
  DetectorResult evaluated(Detector& detector);
  void write_model(const std::filesystem::path& path, const DetectionEpochReport& report,
                   const std::optional<DetectorResult>& result);

  const DetectionSettings& settings_;
  const DetectionCallbacks& callbacks_;
  torch::Device device_;
  ThreadPool pool_;
  DetectorCard card_;
  std::unique_ptr<DetectionSource> training_;
  std::optional<CocoPictures> validation_;
  std::int64_t steps_an_epoch_ = 0;
  std::unique_ptr<DetectorLearner> learner_;
};

CocoPictures DetectorTrainer::open_pictures(const std::filesystem::path& annotations,
                                            const std::filesystem::path& folder,
                                            const CocoPicturesOptions& options) const {
  CocoPictures pictures = CocoPictures::open(annotations, folder, options);
  for (const CocoWarning& warning : pictures.warnings()) say(describe(warning, annotations));
  say(fmt::format("{}: {} pictures, {} classes", annotations.string(), pictures.size(), pictures.categories().size()));
  return pictures;
}

void DetectorTrainer::open_data() {
  CocoPictures training = open_pictures(settings_.data, settings_.pictures, {.only_with_objects = true});
  if (settings_.held_out.empty()) {
    say("the run goes on without evaluation (--val instances_val.json would have one)");
  } else {
    const auto& folder = settings_.held_out_pictures.empty() ? settings_.pictures : settings_.held_out_pictures;
    validation_ = open_pictures(settings_.held_out, folder, {.areas = true});
  }
  const auto count = static_cast<std::int64_t>(training.size());
  steps_an_epoch_ = steps_per_epoch(count, settings_.batch_size, settings_.accumulate);
  if (steps_an_epoch_ == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}' has {} pictures, fewer than one step of {}: lower --batch-size or --accumulate",
                            settings_.data.string(), count, settings_.effective_batch()));
  }
  DetectorStart start = start_of(settings_, training.categories());
  card_ = std::move(start.card);
  if (!start.note.empty()) say(start.note);
  if (validation_) check_categories(card_, validation_->dataset());
  training_ = std::make_unique<DetectionSource>(std::move(training));
  learner_ = std::make_unique<DetectorLearner>(settings_, card_, start.weights, steps_an_epoch_, device_);
}

RunEnd DetectorTrainer::run(const std::string& settings_text) {
  return run_training(settings_, settings_text, pool_.threads(),
                      {.settings = settings_to_json(settings_),
                       .card = detector_card_to_json(card_),
                       .parts = learner_->parts(),
                       .message = callbacks_.message},
                      *this, callbacks_.epoch);
}

// The first pictures with their objects as the network will see them.
void DetectorTrainer::draw_samples(OpenRun& run) {
  constexpr std::size_t kMostPictures = 12;
  std::vector<std::size_t> samples = shuffled_samples(training_->pictures().size(), settings_.seed, /*epoch=*/0);
  samples.resize(std::min(samples.size(), kMostPictures));
  std::vector<PreparedPicture> pictures;
  for (std::size_t& sample : samples) {
    pictures.push_back(training_->example(settings_.augmentation, settings_.seed, /*epoch=*/0, sample));
  }
  const Image sheet = detection_sheet(pictures, card_.labels, /*columns=*/4);
  write_png(run.folder.samples_file(), sheet);
  run.tensorboard.image("samples", 0, sheet);
  say(fmt::format("{} shows the first pictures as the network sees them", run.folder.samples_file().string()));
}

DetectionLoader DetectorTrainer::loader_from(const RunPosition& position) const {
  return {*training_,
          card_,
          {.batch_size = settings_.batch_size,
           .workers = settings_.workers,
           .seed = settings_.seed,
           .augmentation = settings_.augmentation},
          position.epochs_done,
          position.steps_of_epoch * settings_.accumulate};
}

bool DetectorTrainer::train_epoch(OpenRun& run, DetectionEpochReport& report) {
  RunPosition& position = run.position;
  DetectionLoader loader = loader_from(position);
  learner_->detector().train();
  const TrainStep step = [&](StepContext& context) {
    const auto next = [&] { return context.waiting([&] { return loader.next().value(); }); };
    const DetectorStep taken = learner_->step(next, position.steps, *training_);
    for (const std::string& failure : training_->new_failures()) say("in its place came another picture: " + failure);
    for (const auto& [name, loss] : taken.losses) {
      position.loss_parts[name] += loss;
      run.tensorboard.scalar("train/" + name, position.steps + 1, loss);
    }
    return taken.result;
  };
  const RunStepsOptions options{.steps_an_epoch = steps_an_epoch_,
                                .parts = learner_->parts(),
                                .taken = callbacks_.step,
                                .should_stop = callbacks_.should_stop};
  if (!take_steps(settings_, options, step, run.folder, run.tensorboard, position, report)) return false;
  for (const auto& [name, sum] : position.loss_parts) report.losses[name] = sum / static_cast<double>(steps_an_epoch_);
  return true;
}

void DetectorTrainer::evaluate_epoch(DetectionEpochReport& report) {
  const bool is_due = report.epoch % settings_.evaluation_epochs == 0 || report.epoch == settings_.epochs;
  if (!validation_ || !is_due) return;
  const auto start = std::chrono::steady_clock::now();
  report.model = evaluated(learner_->detector());
  if (Detector* average = learner_->average_detector()) report.average = evaluated(*average);
  report.evaluation_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

DetectorResult DetectorTrainer::evaluated(Detector& detector) {
  std::int64_t done = 0;
  const auto all = static_cast<std::int64_t>(validation_->size());
  const DetectorScores scores = evaluate_detector(detector, card_, *validation_, pool_, [&](std::int64_t pictures) {
    done += pictures;
    if (callbacks_.evaluated) callbacks_.evaluated(done, all);
  });
  for (const std::string& failure : scores.failures) say("not evaluated: " + failure);
  return {scores.boxes.stats, scores.masks.stats};
}

void DetectorTrainer::keep_results(OpenRun& run, const DetectionEpochReport& report) {
  RunFolder& folder = run.folder;
  RunPosition& position = run.position;
  const auto& result = report.average ? report.average : report.model;
  const bool best = result && result->boxes[0] > position.best_result;
  if (best) position.best_result = result->boxes[0];
  // The checkpoint last: where the run is killed before it, all of this is done again, to the same end.
  folder.append_log(to_json(report).dump());
  write_model(folder.model_file(), report, result);
  if (best) write_model(folder.best_file(), report, result);
  folder.save(position, learner_->parts());

  chart_progress(report, run.tensorboard);
  const auto chart = [&](const std::string& name, const std::optional<DetectorResult>& figures) {
    if (!figures) return;
    for (std::size_t i = 0; i < kCocoStats; ++i) {
      const std::string stat(coco_stat_names()[i]);
      run.tensorboard.scalar(name + "/boxes_" + stat, report.steps, figures->boxes[i]);
      run.tensorboard.scalar(name + "/masks_" + stat, report.steps, figures->masks[i]);
    }
  };
  chart("model", report.model);
  chart("average", report.average);
}

void DetectorTrainer::write_model(const std::filesystem::path& path, const DetectionEpochReport& report,
                                  const std::optional<DetectorResult>& result) {
  const WeightStore weights =
      copy_weights(learner_->average_detector() ? *learner_->average_detector() : learner_->detector());
  Json training = Json::parse(settings_to_json(settings_));
  training["train_pictures"] = training_->pictures().size();
  training["epochs_done"] = report.epoch;
  if (result) {
    training["result"] = to_json(*result);
    training["result"]["pictures"] = validation_->size();
  }
  DetectorCard card = card_;
  card.training = training.dump();
  write_detector(path, card, weights);
}

// A run without a plot is a whole run: gnuplot may not be installed.
void DetectorTrainer::draw_curves(const RunFolder& folder) {
  try {
    Chart loss, precision;
    std::vector<Point> lr;
    loss.title = card_.architecture;
    loss.series = {{"training", {}, Colour::kGrey}};
    precision.y_label = "average precision, %";
    const std::string of = settings_.ema_decay > 0 ? ", average" : "";
    precision.series = {{"boxes" + of, {}, Colour::kBlue}, {"masks" + of, {}, Colour::kOrange}};
    std::istringstream log(read_text(folder.log_file()));
    for (std::string line; std::getline(log, line);) {
      const Json json = Json::parse(line);
      const double epoch = json.at("epoch").get<double>();
      loss.series[0].points.push_back({epoch, json.at("train_loss").get<double>()});
      lr.push_back({epoch, json.at("lr").get<double>()});
      const Json result = json.value("average", json.value("model", Json()));
      if (!result.is_object()) continue;
      precision.series[0].points.push_back({epoch, 100 * result.at("bbox").at(0).get<double>()});
      precision.series[1].points.push_back({epoch, 100 * result.at("segm").at(0).get<double>()});
    }
    write_run_charts(folder.curves_file(), std::move(loss), std::move(precision), lr);
    say(fmt::format("{} shows the run's curves", folder.curves_file().string()));
  } catch (const Error& error) {
    say(fmt::format("the run's curves were not drawn: {}", error.what()));
  }
}

TrainPlan DetectorTrainer::plan() {
  const DetectorCost cost = count_cost(card_.detector, filled_side(card_.short_side), filled_side(card_.long_side));
  TrainPlan plan;
  plan.architecture = card_.architecture;
  plan.classes = card_.detector.classes;
  plan.input = fmt::format("{}x{}", card_.short_side, card_.long_side);
  plan.params = cost.params;
  plan.gmac = cost.gmac;
  plan.train_pictures = static_cast<std::int64_t>(training_->pictures().size());
  plan.held_out_pictures = validation_ ? static_cast<std::int64_t>(validation_->size()) : 0;
  plan.steps_an_epoch = steps_an_epoch_;
  plan_schedule(settings_, learner_->learning_rates(), learner_->optimizer(), plan);
  const auto say_missing = [this](const CocoPictures& pictures) {
    if (const auto missing = pictures.missing()) say(describe(*missing, pictures.dataset().path));
  };
  say_missing(training_->pictures());
  if (validation_) say_missing(*validation_);

  DetectionLoader loader = loader_from({});
  std::vector<DetectionBatch> batches;
  for (int i = 0; i < settings_.accumulate; ++i) batches.push_back(loader.next().value());
  learner_->detector().train();
  std::size_t at = 0;
  const auto next = [&] { return batches[at++ % batches.size()]; };
  time_steps([&] { learner_->step(next, 0, *training_); }, plan);
  LearningSeconds seconds;
  learner_->step(next, 0, *training_, &seconds);
  for (const DetectorPart part : kDetectorParts) {
    const auto i = static_cast<std::size_t>(part);
    plan.parts.push_back({std::string(name_of(part)), seconds.forward[i], seconds.backward[i]});
  }
  return plan;
}

}  // namespace

RunEnd train_detector(const DetectionSettings& settings, const std::string& settings_text,
                      const DetectionCallbacks& callbacks) {
  validate(settings);
  if (settings.output.empty()) throw Error(ErrorCode::kInvalidArgument, "a run needs a folder: settings.output");
  // Before the data is read, which may take a while.
  RunFolder(settings.output, settings.resume, settings.keep_checkpoints);
  return DetectorTrainer(settings, callbacks).run(settings_text);
}

TrainPlan plan_training(const DetectionSettings& settings, const DetectionCallbacks& callbacks) {
  validate(settings);
  return DetectorTrainer(settings, callbacks).plan();
}

}  // namespace convnext
