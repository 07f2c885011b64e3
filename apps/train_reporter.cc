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

std::string epoch_line(const EpochReport& report) {
  const double left = report.seconds * (report.epochs - report.epoch);
  constexpr double kWorthSaying = 0.02;
  return fmt::format(
      "epoch {:>3}/{}  loss {:.4f}{}{}  lr {:.2e}  {:.0f} pictures/s{}  {}{}\n", report.epoch, report.epochs,
      report.train_loss, result_text("top-1", report.model), result_text("average", report.average), report.lr,
      report.pictures_per_second,
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
                say(epoch_line(report));
                last_ = report;
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

StopSignals::StopSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { signal_received = 1; };
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

bool StopSignals::received() const { return signal_received != 0; }

}  // namespace convnext::apps
