// What Model::load() does after it has read a file and chosen a backend, for those who choose another.
#pragma once

#include <memory>

#include "convnext/model.h"
#include "engine/backend.h"
#include "model/checkpoint.h"

namespace convnext {

class ModelLoading {
 public:
  // The model of what was read, compiled by `backend`; `architecture`, `isa` and `file_limits` of the options
  // have had their say. Throws Error as Backend::compile().
  static Model load(Checkpoint checkpoint, const Backend& backend, const LoadOptions& options = {});
  // Model::pool(), to be kept beyond the model.
  static std::shared_ptr<ThreadPool> pool_of(const Model& model);
};

}  // namespace convnext
