// A detector as commands run it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/options.h"
#include "convnext/thread_pool.h"
#include "detect/detector.h"
#include "model/card.h"

namespace convnext::apps {

struct LoadedDetector {
  std::filesystem::path file;
  DetectorCard card;
  std::unique_ptr<ThreadPool> backbone_threads;  // the engine's; null where libtorch runs all of the network
  std::unique_ptr<Detector> detector;            // in the mode of evaluation
  std::unique_ptr<ThreadPool> pool;              // for pictures and masks

  // Of a class: its label, or its number where there are none.
  std::string name_of_class(int class_index) const;
};

// On that device, with its threads; on the CPU the engine runs the backbone that it can run. What there is to say of
// the file goes to standard error. Throws UsageError and Error as model_file() and read_detector().
LoadedDetector load_detector(const std::string& model, const DeviceOptions& device,
                             const TensorFileOptions& file_options);

}  // namespace convnext::apps
