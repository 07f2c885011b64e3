// convnext-train train: from a folder of pictures, or pictures with objects, to a model file.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "apps/detection_options.h"
#include "apps/terminal.h"
#include "apps/train_command.h"
#include "apps/train_options.h"
#include "apps/train_reporter.h"
#include "detect/detector_trainer.h"
#include "train/trainer.h"

namespace convnext::apps {
namespace {

nlohmann::ordered_json to_json(const std::optional<EvaluationResult>& result) {
  if (!result) return nullptr;
  return {{"top1", result->top1}, {"top5", result->top5}, {"loss", result->loss}};
}

std::string gigabytes(std::uint64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

void print_plan(const TrainPlan& plan, const RunSettings& settings) {
  using enum Table::Align;
  print(fmt::format("{} at {}: {} parameters{}, {:.3f} GMAC forward, {} classes\n", strong(plan.architecture),
                    plan.input, format_count(plan.params),
                    plan.frozen_params > 0 ? fmt::format(" ({} frozen)", format_count(plan.frozen_params)) : "",
                    plan.gmac, plan.classes));
  print(fmt::format("pictures         {} to learn from, {} held out\n", format_count(plan.train_pictures),
                    format_count(plan.held_out_pictures)));
  print(fmt::format("effective batch  {} = {} pictures x {} accumulated\n", plan.batch_size * plan.accumulate,
                    plan.batch_size, plan.accumulate));
  print(fmt::format("steps            {} = {} epochs x {}, {} of them warm-up\n", format_count(plan.steps),
                    settings.epochs, format_count(plan.steps_an_epoch), format_count(plan.warmup_steps)));
  print(fmt::format("memory           {} of state; {} in all after the steps that were timed\n",
                    gigabytes(plan.state_bytes), gigabytes(plan.resident_bytes)));
  print(fmt::format("time             {:.3f} s a step, {:.1f} pictures/s: {} for the run, without evaluation\n\n",
                    plan.seconds_a_step, plan.batch_size * plan.accumulate / plan.seconds_a_step,
                    format_duration(plan.estimated_seconds())));

  if (!plan.parts.empty()) {
    Table parts({{"part"}, {"forward", kRight}, {"backward, ms a step", kRight}});
    const auto milliseconds = [](double seconds) { return fmt::format("{:.1f}", 1e3 * seconds); };
    for (const TrainPlan::Part& part : plan.parts) {
      parts.add({part.name, milliseconds(part.forward), milliseconds(part.backward)});
    }
    print(parts.text() + "\n");
  }

  Table groups({{"parameter group"},
                {"weight decay", kRight},
                {"lr scale", kRight},
                {"tensors", kRight},
                {"parameters", kRight}});
  for (const TrainPlan::Group& group : plan.groups) {
    groups.add({group.name, fmt::format("{:g}", group.weight_decay), fmt::format("{:.4g}", group.lr_scale),
                format_count(group.tensors), format_count(group.params)});
  }
  print(groups.text() + "\n");

  constexpr int kBarWidth = 40;
  Table rates({{"epoch", kRight}, {"lr at its start", kRight}, {""}});
  // Every epoch of a short run; of a long one some thirty.
  const std::size_t stride = std::max<std::size_t>(1, plan.lr.size() / 30);
  for (std::size_t epoch = 0; epoch < plan.lr.size(); epoch += stride) {
    rates.add({std::to_string(epoch + 1), fmt::format("{:.3e}", plan.lr[epoch]),
               bar(plan.lr[epoch] / settings.lr, kBarWidth)});
  }
  print(rates.text());
}

nlohmann::ordered_json to_json(const TrainPlan& plan) {
  nlohmann::ordered_json json = {{"architecture", plan.architecture},
                                 {"input", plan.input},
                                 {"classes", plan.classes},
                                 {"params", plan.params},
                                 {"frozen_params", plan.frozen_params},
                                 {"gmac", plan.gmac},
                                 {"train_pictures", plan.train_pictures},
                                 {"held_out_pictures", plan.held_out_pictures},
                                 {"batch_size", plan.batch_size},
                                 {"accumulate", plan.accumulate},
                                 {"effective_batch", plan.batch_size * plan.accumulate},
                                 {"steps_an_epoch", plan.steps_an_epoch},
                                 {"steps", plan.steps},
                                 {"state_bytes", plan.state_bytes},
                                 {"resident_bytes", plan.resident_bytes},
                                 {"seconds_a_step", plan.seconds_a_step},
                                 {"estimated_seconds", plan.estimated_seconds()},
                                 {"lr", plan.lr},
                                 {"groups", nlohmann::ordered_json::array()}};
  for (const TrainPlan::Part& part : plan.parts) {
    json["parts"].push_back(
        {{"name", part.name}, {"forward_seconds", part.forward}, {"backward_seconds", part.backward}});
  }
  for (const TrainPlan::Group& group : plan.groups) {
    json["groups"].push_back({{"name", group.name},
                              {"weight_decay", group.weight_decay},
                              {"lr_scale", group.lr_scale},
                              {"tensors", group.tensors},
                              {"params", group.params}});
  }
  return json;
}

ExitCode show_plan(const TrainPlan& plan, const RunSettings& settings, bool json) {
  if (json) {
    print_document(to_json(plan));
  } else {
    print_plan(plan, settings);
  }
  return kDone;
}

// `last`: what the last epoch gave, an empty object where there was none.
ExitCode show_end(RunEnd end, const RunSettings& settings, bool json, const nlohmann::ordered_json& last) {
  const bool finished = end == RunEnd::kFinished;
  if (json) {
    nlohmann::ordered_json document = {
        {"output", settings.output.string()}, {"epochs", settings.epochs}, {"finished", finished}};
    document.update(last);
    print_document(document);
  } else if (finished) {
    print(fmt::format("{} is the trained model\n", (settings.output / "model.safetensors").string()));
  }
  return finished ? kDone : kFailed;
}

nlohmann::ordered_json to_json(const std::optional<DetectorResult>& result) {
  if (!result) return nullptr;
  return {{"bbox", result->boxes}, {"segm", result->masks}};
}

ExitCode train_detector_command(int argc, char** argv) {
  const std::optional<DetectionRequest> request = read_detection_request(argc, argv);
  if (!request) return kDone;
  const DetectionSettings& settings = request->settings;
  if (request->dry_run) {
    const DetectionCallbacks callbacks{.message = [](const std::string& line) { report(line); }};
    return show_plan(plan_training(settings, callbacks), settings, request->json);
  }
  TrainReporter reporter(request->json);
  const StopSignals signals;
  DetectionCallbacks callbacks = reporter.detection_callbacks();
  callbacks.should_stop = [&signals] { return signals.received(); };
  const RunEnd end = train_detector(settings, request->recipe, callbacks);
  nlohmann::ordered_json document = nlohmann::ordered_json::object();
  if (const auto& last = reporter.last_detection()) {
    document["train_loss"] = last->train_loss;
    document["losses"] = last->losses;
    document["model"] = to_json(last->model);
    document["average"] = to_json(last->average);
  }
  return show_end(end, settings, request->json, document);
}

ExitCode train_classifier_command(int argc, char** argv) {
  const std::optional<TrainRequest> request = read_train_request(argc, argv);
  if (!request) return kDone;
  const TrainSettings& settings = request->settings;
  if (request->dry_run) {
    const TrainCallbacks callbacks{.message = [](const std::string& line) { report(line); }};
    return show_plan(plan_training(settings, callbacks), settings, request->json);
  }
  TrainReporter reporter(request->json);
  const StopSignals signals;
  TrainCallbacks callbacks = reporter.callbacks();
  callbacks.should_stop = [&signals] { return signals.received(); };
  const RunEnd end = train(settings, request->recipe, callbacks);
  nlohmann::ordered_json document = nlohmann::ordered_json::object();
  if (const auto& last = reporter.last()) {
    document["train_loss"] = last->train_loss;
    document["model"] = to_json(last->model);
    document["average"] = to_json(last->average);
  }
  return show_end(end, settings, request->json, document);
}

}  // namespace

ExitCode train_command(int argc, char** argv) {
  return is_about_detector(argc, argv) ? train_detector_command(argc, argv) : train_classifier_command(argc, argv);
}

}  // namespace convnext::apps
