// `eval` of a detector: COCO's figures on the pictures of a COCO file.
#pragma once

#include <string>

#include "apps/exit_code.h"
#include "apps/options.h"
#include "convnext/image.h"

namespace convnext::apps {

struct DetectorEvalOptions {
  std::string annotations;
  std::string pictures;  // folder
  std::string model;
  TensorFileOptions file_options;
  DeviceOptions device;
  DecodeOptions decode;
  DetectedSizeOptions size;
  int batch_size = 1;
  bool per_category = false;
  std::string results;  // file for the detections; empty for none
  bool json = false;
};

// Each program defines it; `convnext` throws RunByTrainingProgram.
ExitCode eval_detector(const DetectorEvalOptions& options);

}  // namespace convnext::apps
