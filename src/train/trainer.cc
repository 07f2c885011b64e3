#include "train/trainer.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "convnext/error.h"
#include "engine/verify.h"
#include "io/file.h"
#include "io/image_folder.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "train/adamw.h"
#include "train/evaluation.h"
#include "train/loader.h"
#include "train/loss.h"
#include "train/moving_average.h"
#include "train/random.h"
#include "train/run_folder.h"
#include "train/schedule.h"

namespace convnext {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Json to_json(const EvaluationResult& result) {
  return {{"top1", result.top1}, {"top5", result.top5}, {"loss", result.loss}};
}

Json to_json(const EpochReport& report) {
  Json json = {{"epoch", report.epoch}, {"steps", report.steps}, {"lr", report.lr}, {"train_loss", report.train_loss}};
  if (report.model) json["model"] = to_json(*report.model);
  if (report.average) json["average"] = to_json(*report.average);
  json["seconds"] = report.seconds;
  json["pictures_per_second"] = report.pictures_per_second;
  json["waited"] = report.waited;
  return json;
}

class Trainer {
 public:
  Trainer(const TrainSettings& settings, const TrainCallbacks& callbacks)
      : settings_(settings),
        callbacks_(callbacks),
        pool_(settings.threads > 0 ? settings.threads : available_threads()),
        folder_(settings.output, settings.resume) {
    at::set_num_threads(pool_.threads());
    open_data();
    build_network();
  }

  void run(const std::string& settings_text) {
    folder_.make();
    write_file_atomically(folder_.settings_file(), settings_text);
    RunPosition position = start_position();
    if (position.epochs_done >= settings_.epochs) {
      say(fmt::format("this run has done its {} epochs: nothing is left to do", settings_.epochs));
      return;
    }
    const std::int64_t steps_an_epoch = EpochLoader::batches(training_->samples().size(), settings_.batch_size);
    const auto lr = cosine_schedule(settings_.lr, settings_.min_lr, steps_an_epoch * settings_.epochs,
                                    steps_an_epoch * settings_.warmup_epochs);
    while (position.epochs_done < settings_.epochs) {
      EpochReport report = train_epoch(position, lr, steps_an_epoch);
      evaluate_epoch(report);
      ++position.epochs_done;
      position.steps = report.steps;
      keep_results(report, position);
      if (callbacks_.epoch) callbacks_.epoch(report);
    }
  }

 private:
  void say(const std::string& line) const {
    if (callbacks_.message) callbacks_.message(line);
  }

  void open_data() {
    const std::filesystem::path train_folder = settings_.data / "train";
    Dataset training = read_image_folder(train_folder);
    card_ = card_of(settings_, training.classes);
    const std::filesystem::path held_out = split_folder(settings_.data, {"val", "test"});
    if (held_out != settings_.data) {
      validation_ = open_source(read_image_folder(held_out, training.classes), held_out);
    } else {
      say(fmt::format("'{}' has neither val nor test: the run goes on without evaluation", settings_.data.string()));
    }
    training_ = open_source(std::move(training), train_folder);
    if (training_->samples().size() < static_cast<std::size_t>(settings_.batch_size)) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' has {} pictures, fewer than one batch of {}: lower --batch-size",
                              train_folder.string(), training_->samples().size(), settings_.batch_size));
    }
  }

  std::unique_ptr<PictureSource> open_source(Dataset dataset, const std::filesystem::path& folder) {
    auto source = std::make_unique<PictureSource>(std::move(dataset), card_.preprocessing, pool_);
    for (const std::string& failure : source->failures()) say("left out: " + failure);
    say(fmt::format("{}: {} pictures of {} classes{}", folder.string(), source->samples().size(), card_.labels.size(),
                    source->failures().empty() ? "" : fmt::format(", {} left out", source->failures().size())));
    return source;
  }

  void build_network() {
    network_ = make_network(card_.network, settings_.drop_path);
    load_weights(*network_, random_weights(card_.network, settings_.seed,
                                           {.layer_scale = static_cast<float>(settings_.layer_scale_init),
                                            .head_scale = static_cast<float>(settings_.head_init_scale)}));
    optimizer_ = std::make_unique<AdamW>(parameter_groups(*network_, card_.network, settings_.weight_decay));
    if (settings_.ema_decay > 0) {
      average_ = std::make_unique<MovingAverage>(*network_, make_network(card_.network), settings_.ema_decay);
    }
  }

  RunPosition start_position() {
    RunPosition position{.settings = settings_to_json(settings_), .card = card_to_json(card_)};
    if (!settings_.resume) return position;
    std::string skipped;
    const auto restored = folder_.restore(position, *network_, average_.get(), *optimizer_, skipped);
    if (!skipped.empty()) say("passed over a damaged checkpoint: " + skipped);
    if (!restored) {
      say("no checkpoint yet: the run begins at the beginning");
      folder_.cut_log(0);
      return position;
    }
    say(fmt::format("going on after epoch {}", restored->epochs_done));
    folder_.cut_log(restored->epochs_done);
    return *restored;
  }

  EpochReport train_epoch(const RunPosition& position, const std::vector<double>& lr, std::int64_t steps_an_epoch) {
    const Clock::time_point start = Clock::now();
    EpochReport report;
    report.epoch = position.epochs_done + 1;
    report.epochs = settings_.epochs;
    report.steps = position.steps;
    const LoaderOptions options{
        .batch_size = settings_.batch_size,
        .workers = settings_.workers,
        .seed = settings_.seed,
        .augmentation = {.flip_probability = settings_.flip ? 0.5 : 0.0,
                         .crop_padding = crop_padding_of(settings_, card_.preprocessing.resolution)}};
    EpochLoader loader(*training_, options, position.epochs_done);
    network_->train();
    double waited = 0.0;
    for (std::int64_t step = 1; step <= steps_an_epoch; ++step) {
      const Clock::time_point asked = Clock::now();
      const Batch batch = *loader.next();
      waited += seconds_since(asked);
      report.lr = lr[static_cast<std::size_t>(report.steps)];
      const double loss = train_step(batch, report.lr, report.steps);
      ++report.steps;
      report.train_loss += loss;
      if (callbacks_.step) callbacks_.step({report.epoch, step, steps_an_epoch, loss, report.lr});
    }
    report.train_loss /= static_cast<double>(steps_an_epoch);
    report.seconds = seconds_since(start);
    report.pictures_per_second = static_cast<double>(steps_an_epoch * settings_.batch_size) / report.seconds;
    report.waited = waited / report.seconds;
    return report;
  }

  double train_step(const Batch& batch, double lr, std::int64_t step) {
    const std::uint64_t drop_path_key = mix(settings_.seed + static_cast<std::uint64_t>(step));
    const torch::Tensor logits = network_->forward(batch.pictures, drop_path_key).logits;
    const torch::Tensor loss = smoothed_cross_entropy(logits, batch.targets, settings_.label_smoothing);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("the loss is {} at step {} with a learning rate of {:.3g}: lower --lr or lengthen "
                              "--warmup-epochs; the last checkpoint is intact",
                              value, step + 1, lr));
    }
    optimizer_->zero_grad();
    loss.backward();
    optimizer_->step(lr);
    if (average_) average_->update();
    return value;
  }

  void evaluate_epoch(EpochReport& report) {
    if (!validation_) return;
    report.model = evaluate_network(*network_);
    if (average_) report.average = evaluate_network(average_->network());
  }

  EvaluationResult evaluate_network(Network& network) {
    constexpr int kBatch = 250;
    const ClassificationMetrics metrics = evaluate(network, *validation_, class_count(card_.network), kBatch);
    return {metrics.top1(), metrics.top5(), metrics.loss()};
  }

  void keep_results(const EpochReport& report, RunPosition& position) {
    const auto& result = average_ ? report.average : report.model;
    const bool best = result && result->top1 > position.best_top1;
    if (best) position.best_top1 = result->top1;
    folder_.append_log(to_json(report).dump());
    folder_.save(position, *network_, average_.get(), *optimizer_);
    write_model(folder_.model_file(), report, result);
    if (best) write_model(folder_.best_file(), report, result);
  }

  void write_model(const std::filesystem::path& path, const EpochReport& report,
                   const std::optional<EvaluationResult>& result) {
    const WeightStore weights = copy_weights(average_ ? average_->network() : *network_);
    Json training = Json::parse(settings_to_json(settings_));
    training["train_pictures"] = training_->samples().size();
    training["epochs_done"] = report.epoch;
    if (result) {
      training["result"] = to_json(*result);
      training["result"]["pictures"] = validation_->samples().size();
    }
    Card card = card_;
    card.training = training.dump();
    card.check = make_check_vector(card, weights);
    write_checkpoint(path, card, weights);
  }

  const TrainSettings& settings_;
  const TrainCallbacks& callbacks_;
  ThreadPool pool_;
  RunFolder folder_;
  Card card_;
  std::unique_ptr<PictureSource> training_, validation_;
  std::shared_ptr<Network> network_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<MovingAverage> average_;
};

}  // namespace

void train(const TrainSettings& settings, const std::string& settings_text, const TrainCallbacks& callbacks) {
  validate(settings);
  Trainer(settings, callbacks).run(settings_text);
}

}  // namespace convnext
