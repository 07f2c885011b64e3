#include "apps/train_reporter.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>

namespace convnext::apps {
namespace {

// Written by a signal's handler, which can reach nothing else.
volatile std::sig_atomic_t signal_received = 0;

std::string result_text(const char* name, const std::optional<EvaluationResult>& result) {
  return result ? fmt::format("  {} {}", name, format_percent(result->top1)) : std::string();
}

std::string result_text(const char* name, const std::optional<DetectorResult>& result) {
  if (!result) return {};
  return fmt::format("  {} box AP {}, mask AP {}", name, format_percent(100 * result->boxes[0]),
                     format_percent(100 * result->masks[0]));
}

// `results`: what the evaluation gave, as a person reads it; `evaluation_seconds`: of one an epoch.
std::string epoch_line(const EpochProgress& report, const std::string& results, double evaluation_seconds = 0) {
  const double left = (report.seconds + evaluation_seconds) * (report.epochs - report.epoch);
  constexpr double kWorthSaying = 0.02;
  return fmt::format(
      "epoch {:>3}/{}  loss {:.4f}{}  lr {:.2e}  {:.{}f} pictures/s{}  {}{}\n", report.epoch, report.epochs,
      report.train_loss, results, report.lr, report.pictures_per_second, report.pictures_per_second < 10 ? 2 : 0,
      report.waited > kWorthSaying ? fmt::format("  {:.0f} % waiting for data", 100 * report.waited) : "",
      format_duration(report.seconds), left > 0 ? "  " + format_duration(left) + " left" : "");
}

}  // namespace

TrainCallbacks TrainReporter::callbacks() {
  return {.message = [this](const std::string& line) { say(line + "\n"); },
          .step = [this](const StepReport& step) { advance(step); },
          .epoch =
              [this](const EpochReport& report) {
                bar_.reset();
                say(epoch_line(report, result_text("top-1", report.model) + result_text("average", report.average)));
                last_ = report;
              }};
}

DetectionCallbacks TrainReporter::detection_callbacks() {
  return {.message = [this](const std::string& line) { say(line + "\n"); },
          .step = [this](const StepReport& step) { advance(step); },
          .evaluated = [this](std::int64_t pictures, std::int64_t all) { advance_evaluation(pictures, all); },
          .epoch =
              [this](const DetectionEpochReport& report) {
                bar_.reset();
                const std::string results = result_text("model", report.model) + result_text("average", report.average);
                say(epoch_line(report, results, report.evaluation_seconds));
                last_detection_ = report;
              }};
}

void TrainReporter::say(const std::string& text) {
  if (bar_) bar_->clear();
  if (json_) {
    std::fputs(text.c_str(), stderr);
  } else {
    print(text);
    std::fflush(stdout);
  }
}

void TrainReporter::advance(const StepReport& step) {
  // A resumed epoch begins in its middle.
  const std::int64_t left = step.steps - step.step + 1;
  if (!bar_) bar_.emplace(Progress(fmt::format("pictures of epoch {}", step.epoch), left * step.effective_batch));
  bar_->advance(step.effective_batch);
}

void TrainReporter::advance_evaluation(std::int64_t pictures, std::int64_t all) {
  if (pictures <= evaluated_ || evaluated_ == 0) {
    bar_.emplace(Progress("pictures evaluated", all));
    evaluated_ = 0;
  }
  bar_->advance(pictures - evaluated_);
  evaluated_ = pictures == all ? 0 : pictures;
}

StopSignals::StopSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { signal_received = 1; };
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

bool StopSignals::received() const { return signal_received != 0; }

}  // namespace convnext::apps
