// What `eval` of both programs has in common: its options, its data, and how the figures are shown.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/answer_comparison.h"
#include "apps/exit_code.h"
#include "apps/options.h"
#include "io/dataset.h"
#include "metrics/classification.h"
#include "model/class_matching.h"

namespace convnext::apps {

struct EvaluationCommand {
  std::string data;
  ModelOptions model;
  PreprocessingOptions preprocessing;
  std::string labels;  // a text file; empty for the model's own
  DeviceOptions device;
  bool by_index = false;
  std::string class_map;
  int batch_size = 0;     // 0: as fits
  std::string confusion;  // a CSV file; empty for none
  bool json = false;
};
void add_evaluation_options(CLI::App& command, EvaluationCommand& options);

// Throws UsageError for options that contradict each other, and Error when --confusion could not be written.
void check_evaluation_options(const EvaluationCommand& options);

// The data that is evaluated on: what val, validation or test of `options.data` holds, or else it itself, its labels
// being classes of the model.
struct EvaluationData {
  std::string name;
  std::vector<Sample> samples;
};
EvaluationData open_evaluation_data(const EvaluationCommand& options, const ModelClasses& classes);

// The same model in another precision.
struct EvaluationAgainst {
  std::string precision;
  ClassificationMetrics metrics;
  AnswerComparison answers{};

  void add(std::span<const float> values, std::span<const float> others, int target) {
    metrics.add(others, target);
    answers.add(values, others);
  }
};

struct EvaluationReport {
  std::string architecture;
  std::string data;
  std::vector<std::string> labels;  // of the model; empty when not known
  const ClassificationMetrics& metrics;
  const EvaluationAgainst* against = nullptr;  // where it was asked for
  std::int64_t failed = 0;                     // pictures
  double seconds = 0.0;
};

// Shows it, as tables or as one JSON document, and writes the confusion matrix where --confusion says. Throws Error
// (kDamaged) when not one picture could be read. kFailed when some could not, which is said.
ExitCode finish_evaluation(const EvaluationCommand& options, const EvaluationReport& result);

}  // namespace convnext::apps
