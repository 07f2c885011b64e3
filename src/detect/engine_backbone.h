// A detector's ConvNeXt by the engine, which on a CPU is faster than libtorch.
#pragma once

#include "convnext/thread_pool.h"
#include "detect/detector.h"
#include "model/detector.h"
#include "model/weights.h"

namespace convnext {

// For Detector::detect_with(): the stages' maps of the backbone in `weights`, a detector's, in float32 on the CPU;
// empty for a backbone that the engine does not run. The pool must outlive it, and had better not be one that decodes
// pictures meanwhile: calls of a pool take turns. Its scratch memory is for one call at a time.
StageMaps engine_backbone(const DetectorConfig& config, const WeightStore& weights, ThreadPool& pool);

}  // namespace convnext
