#include "train/trainer.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "engine/verify.h"
#include "io/dataset.h"
#include "io/file.h"
#include "io/picture.h"
#include "model/checkpoint.h"
#include "model/description.h"
#include "nn/libtorch_backend.h"
#include "plot/run_curves.h"
#include "train/device.h"
#include "train/evaluation.h"
#include "train/initialization.h"
#include "train/learner.h"
#include "train/loader.h"
#include "train/reference_log.h"
#include "train/run_folder.h"
#include "train/run_log.h"
#include "train/sample_sheet.h"
#include "train/schedule.h"
#include "train/training_run.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const EvaluationResult& result) {
  return {{"top1", result.top1}, {"top5", result.top5}, {"loss", result.loss}};
}

Json to_json(const EpochReport& report) {
  Json json = Json::parse(progress_to_json(report));
  if (report.model) json["model"] = to_json(*report.model);
  if (report.average) json["average"] = to_json(*report.average);
  return json;
}

class Trainer {
 public:
  Trainer(const TrainSettings& settings, const TrainCallbacks& callbacks)
      : settings_(settings),
        callbacks_(callbacks),
        device_(open_device(settings.device)),
        pool_(settings.threads > 0 ? settings.threads : available_threads()) {
    at::set_num_threads(pool_.threads());
    open_data();
    learner_ = std::make_unique<Learner>(settings_, card_, start_weights_, steps_an_epoch_, device_);
    start_weights_ = {};
  }

  RunEnd run(const std::string& settings_text);
  TrainPlan plan();

  // The parts of a run (train/training_run.h).
  void draw_samples(OpenRun& run);
  bool train_epoch(OpenRun& run, EpochReport& report);
  void evaluate_epoch(EpochReport& report);
  void keep_results(OpenRun& run, const EpochReport& report);
  void draw_curves(const RunFolder& folder);

 private:
  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  void open_data();
  std::unique_ptr<PictureSource> open_source(Dataset dataset, const std::string& name, KeptPicture kept);
  EpochLoader loader_from(const RunPosition& position) const;
  void compare_with_reference();
  EvaluationResult evaluate_network(Network& network);
  void write_model(const std::filesystem::path& path, const EpochReport& report,
                   const std::optional<EvaluationResult>& result);

  const TrainSettings& settings_;
  const TrainCallbacks& callbacks_;
  torch::Device device_;
  ThreadPool pool_;
  Card card_;
  WeightStore start_weights_;
  std::unique_ptr<PictureSource> training_, validation_;
  std::int64_t steps_an_epoch_ = 0;
  std::unique_ptr<Learner> learner_;
  std::optional<RunLog> reference_;
};

void Trainer::open_data() {
  const auto train_split = find_training_split(settings_.data);
  if (!train_split && std::filesystem::is_regular_file(settings_.data)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is a file, and a classifier learns from a folder; with COCO's JSON give a detector, "
                            "--model mask_rcnn_convnext_tiny",
                            settings_.data.string()));
  }
  if (!train_split) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' has neither a folder 'train' nor shards of that name", settings_.data.string()));
  }
  Dataset training = open_dataset(*train_split);
  std::optional<Dataset> held_out;
  std::string held_out_name;
  if (const auto split = held_out_split(settings_)) {
    held_out = open_dataset(*split, training.classes);
    held_out_name = split->name();
  } else if (settings_.hold_out > 0) {
    HeldOut parts = hold_out(std::move(training), settings_.hold_out, settings_.seed);
    training = std::move(parts.training);
    held_out = std::move(parts.held_out);
    held_out_name = "held out of " + train_split->name();
  } else {
    say(
        fmt::format("'{}' has neither val nor test: the run goes on without evaluation (--hold-out 0.1 would keep a "
                    "tenth of train for it)",
                    settings_.data.string()));
  }

  TrainStart start = start_of(settings_, training.classes);
  card_ = std::move(start.card);
  start_weights_ = std::move(start.weights);
  if (!start.note.empty()) say(start.note);
  if (held_out) validation_ = open_source(std::move(*held_out), held_out_name, KeptPicture::kResized);
  const bool crops = settings_.augmentation.crop == TrainCrop::kRandomResized;
  training_ =
      open_source(std::move(training), train_split->name(), crops ? KeptPicture::kOriginal : KeptPicture::kResized);
  steps_an_epoch_ = steps_per_epoch(static_cast<std::int64_t>(training_->samples().size()), settings_.batch_size,
                                    settings_.accumulate);
  if (steps_an_epoch_ == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}' has {} pictures, fewer than one batch of {}: lower --batch-size{}",
                            train_split->name(), training_->samples().size(), settings_.effective_batch(),
                            settings_.accumulate > 1 ? " or --accumulate" : ""));
  }
}

std::unique_ptr<PictureSource> Trainer::open_source(Dataset dataset, const std::string& name, KeptPicture kept) {
  PictureSourceOptions options{.kept = kept};
  if (settings_.cache_gigabytes) options.memory_limit = static_cast<std::size_t>(*settings_.cache_gigabytes * 1e9);
  auto source = std::make_unique<PictureSource>(std::move(dataset), card_.preprocessing, pool_, options);
  for (const std::string& failure : source->failures()) say("left out: " + failure);
  say(fmt::format("{}: {} pictures of {} classes{}", name, source->samples().size(), card_.labels.size(),
                  source->failures().empty() ? "" : fmt::format(", {} left out", source->failures().size())));
  return source;
}

RunEnd Trainer::run(const std::string& settings_text) {
  if (!settings_.reference_log.empty()) compare_with_reference();
  return run_training(settings_, settings_text, pool_.threads(),
                      {.settings = settings_to_json(settings_),
                       .card = card_to_json(card_),
                       .parts = learner_->parts(),
                       .message = callbacks_.message},
                      *this, callbacks_.epoch);
}

EpochLoader Trainer::loader_from(const RunPosition& position) const {
  return {*training_,
          {.batch_size = settings_.batch_size,
           .workers = settings_.workers,
           .seed = settings_.seed,
           .augmentation = augmentation_of(settings_, card_.preprocessing.resolution)},
          position.epochs_done,
          position.steps_of_epoch * settings_.accumulate};
}

void Trainer::compare_with_reference() {
  reference_ = read_run_log(settings_.reference_log);
  const RunPlan plan{
      .epochs = settings_.epochs,
      .steps_an_epoch = steps_an_epoch_,
      .effective_batch = settings_.effective_batch(),
      .ema_decay = settings_.ema_decay,
      .parameters = count_cost(card_.network, card_.preprocessing.resolution, card_.preprocessing.resolution).params,
      .lr = learner_->learning_rates()};
  for (const std::string& line : differences(*reference_, plan)) say("unlike the reference: " + line);
}

// The first batch as the network will see it, mixed and erased.
void Trainer::draw_samples(OpenRun& run) {
  constexpr std::int64_t kMostPictures = 32;
  EpochLoader loader = loader_from({});
  const Batch batch = *loader.next();
  const torch::Tensor pictures =
      learner_->prepared(batch, 0, 0).pictures.to(torch::kCPU).permute({0, 2, 3, 1}).contiguous();
  const std::int64_t count = std::min(kMostPictures, pictures.size(0));
  const std::vector<Image> images =
      denormalize({pictures.const_data_ptr<float>(), static_cast<std::size_t>(count * pictures[0].numel())},
                  static_cast<int>(pictures.size(2)), static_cast<int>(pictures.size(1)), card_.preprocessing);
  const Image sheet = sample_sheet(images, /*columns=*/8);
  write_png(run.folder.samples_file(), sheet);
  run.tensorboard.image("samples", 0, sheet);
  say(fmt::format("{} shows pictures of the first batch as the network sees them", run.folder.samples_file().string()));
}

bool Trainer::train_epoch(OpenRun& run, EpochReport& report) {
  RunPosition& position = run.position;
  EpochLoader loader = loader_from(position);
  learner_->set_training();
  const TrainStep step = [&](StepContext& context) {
    const auto next = [&] { return context.waiting([&] { return loader.next().value(); }); };
    StepResult result = learner_->step(next, position.steps, *training_);
    for (const std::string& failure : training_->new_failures()) say("in its place came another picture: " + failure);
    return result;
  };
  const RunStepsOptions options{.steps_an_epoch = steps_an_epoch_,
                                .parts = learner_->parts(),
                                .taken = callbacks_.step,
                                .should_stop = callbacks_.should_stop};
  return take_steps(settings_, options, step, run.folder, run.tensorboard, position, report);
}

void Trainer::evaluate_epoch(EpochReport& report) {
  if (!validation_) return;
  report.model = evaluate_network(learner_->network());
  if (Network* average = learner_->average_network()) report.average = evaluate_network(*average);
}

EvaluationResult Trainer::evaluate_network(Network& network) {
  // The official loop's validation batch: no gradients are kept, so it may be larger.
  const int batch_size = std::max(1, settings_.batch_size * 3 / 2);
  EvaluationOptions options;
  options.pool = &pool_;
  const ClassificationMetrics metrics =
      evaluate(network, *validation_, class_count(card_.network), batch_size, options);
  return {metrics.top1(), metrics.top5(), metrics.loss()};
}

void Trainer::keep_results(OpenRun& run, const EpochReport& report) {
  RunFolder& folder = run.folder;
  RunPosition& position = run.position;
  const auto& result = learner_->average_network() ? report.average : report.model;
  const bool best = result && result->top1 > position.best_result;
  if (best) position.best_result = result->top1;
  // The checkpoint last: where the run is killed before it, all of this is done again, to the same end.
  folder.append_log(to_json(report).dump());
  write_model(folder.model_file(), report, result);
  if (best) write_model(folder.best_file(), report, result);
  folder.save(position, learner_->parts());

  chart_progress(report, run.tensorboard);
  const auto evaluated = [&](const std::string& name, const std::optional<EvaluationResult>& metrics) {
    if (!metrics) return;
    run.tensorboard.scalar(name + "/top1", report.steps, metrics->top1);
    run.tensorboard.scalar(name + "/top5", report.steps, metrics->top5);
    run.tensorboard.scalar(name + "/loss", report.steps, metrics->loss);
  };
  evaluated("model", report.model);
  evaluated("average", report.average);
  if (!reference_) return;
  if (const auto line = loss_warning(*reference_, report.epoch, report.train_loss))
    say("unlike the reference: " + *line);
}

void Trainer::write_model(const std::filesystem::path& path, const EpochReport& report,
                          const std::optional<EvaluationResult>& result) {
  const WeightStore weights =
      copy_weights(learner_->average_network() ? *learner_->average_network() : learner_->network());
  Json training = Json::parse(settings_to_json(settings_));
  training["train_pictures"] = training_->samples().size();
  training["epochs_done"] = report.epoch;
  if (result) {
    training["result"] = to_json(*result);
    training["result"]["pictures"] = validation_->samples().size();
  }
  Card card = card_;
  card.training = training.dump();
  // By what will run it.
  card.check = std::holds_alternative<ConvNextConfig>(card.network)
                   ? make_check_vector(card, weights)
                   : make_check_vector(card, weights, *make_libtorch_backend());
  write_checkpoint(path, card, weights);
}

// A run without a plot is a whole run: gnuplot may not be installed.
void Trainer::draw_curves(const RunFolder& folder) {
  try {
    write_curves(folder.curves_file(), card_.architecture, curves_of(read_run_log(folder.log_file())));
    say(fmt::format("{} shows the run's curves", folder.curves_file().string()));
  } catch (const Error& error) {
    say(fmt::format("the run's curves were not drawn: {}", error.what()));
  }
}

TrainPlan Trainer::plan() {
  const int resolution = card_.preprocessing.resolution;
  const NetworkCost cost = count_cost(card_.network, resolution, resolution);
  TrainPlan plan;
  plan.architecture = card_.architecture;
  plan.classes = class_count(card_.network);
  plan.input = std::to_string(resolution);
  plan.params = cost.params;
  plan.gmac = cost.gmac;
  plan.train_pictures = static_cast<std::int64_t>(training_->samples().size());
  plan.held_out_pictures = validation_ ? static_cast<std::int64_t>(validation_->samples().size()) : 0;
  plan.steps_an_epoch = steps_an_epoch_;
  plan_schedule(settings_, learner_->learning_rates(), learner_->optimizer(), plan);

  EpochLoader loader = loader_from({});
  const Batch batch = loader.next().value();
  learner_->set_training();
  time_steps([&] { learner_->step([&] { return batch; }, 0, *training_); }, plan);
  return plan;
}

}  // namespace

std::optional<Split> held_out_split(const TrainSettings& settings) {
  if (settings.held_out.empty()) return find_held_out_split(settings.data);
  return find_held_out_split(settings.held_out).value_or(Split{.folder = settings.held_out, .shards = {}});
}

RunEnd train(const TrainSettings& settings, const std::string& settings_text, const TrainCallbacks& callbacks) {
  validate(settings);
  if (settings.output.empty()) throw Error(ErrorCode::kInvalidArgument, "a run needs a folder: settings.output");
  // Before the data is read, which may take a while.
  RunFolder(settings.output, settings.resume, settings.keep_checkpoints);
  return Trainer(settings, callbacks).run(settings_text);
}

TrainPlan plan_training(const TrainSettings& settings, const TrainCallbacks& callbacks) {
  validate(settings);
  return Trainer(settings, callbacks).plan();
}

}  // namespace convnext
